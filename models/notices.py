"""The plain Chinese draft a citizen would get for a recommendation; `models/policy.py` calls it."""

from __future__ import annotations

from data.records import Disposition
from data.taxonomy import Taxonomy

_APPEAL = (
    "如果您不认同这一意见，或者有新的情况和材料，可以随时拨打12345提出复核，"
    "我们会安排另一位工作人员重新办理。"
)
_ASK_AGAIN = (
    "您好，您的来件我们已经收到。为了尽快转给对口部门，还想请您补充一点：事情发生在哪里、什么时间、"
    "您希望帮您解决什么？补充后我们会马上办理。"
)


def notice(recommended: Disposition, ground: str | None, taxonomy: Taxonomy) -> str | None:
    """A draft for a person to check before it is sent; None where nothing is to be explained.

    It gives the ground, its basis, the lawful route and the appeal, and never blames the caller.
    Policies whose text has not been verified are left out: a citizen must be able to look them up.
    """
    if recommended == "ask_again":
        return _ASK_AGAIN
    if recommended != "explain" or ground is None:
        return None
    reason = taxonomy.ground(ground)
    policies = [taxonomy.policy(policy) for policy in reason.policies]
    cited = "、".join(policy.citation for policy in policies if policy.verified and policy.until is None)
    basis = f"依据{cited}，" if cited else ""
    return (
        f"您好，您的来件我们认真看过了。{basis}您反映的事项属于“{reason.zh}”（{reason.meaning.rstrip('。')}），"
        f"12345热线不能代为作出决定。{reason.route}{_APPEAL}"
    )
