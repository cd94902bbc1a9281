"""A judgement as someone fills it in on a page: kept over a refusal, turned into a message when whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, cast

from fastapi import Form
from pydantic import ValidationError

from data.errors import BadInput
from data.records import Judgement, Verdict
from serving.review_messages import JudgementMessage, PersonDisposition

_Code = Annotated[str, Form(max_length=64)]
_Words = Annotated[str, Form(max_length=4000)]
_NAMES: Final = {
    "verdict": "结论",
    "ground": "不合理的理由",
    "kind": "诉求性质",
    "subject": "内容分类",
    "disposition": "处理方式",
    "reason": "判断理由",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """What the form's fields hold; an empty string where nothing was chosen yet."""

    verdict: str = ""
    ground: str = ""
    kind: str = ""
    subject: str = ""
    disposition: str = ""
    reason: str = ""
    change_reason: str = ""

    @classmethod
    def of(cls, judgement: Judgement | None) -> Draft:
        """An empty form, or one that begins with an earlier judgement."""
        if judgement is None:
            return cls()
        return cls(
            judgement.verdict,
            judgement.ground or "",
            judgement.kind,
            judgement.subject,
            judgement.disposition,
            judgement.reason,
        )

    def message(self) -> JudgementMessage:
        """The judgement; a ground left over from before the verdict was changed to reasonable is dropped.

        Raises:
            BadInput: `form_incomplete`, naming the fields.
        """
        needed = [name for name in _NAMES if name != "ground" or self.verdict == "unreasonable"]
        missing = [_NAMES[name] for name in needed if not getattr(self, name).strip()]
        if missing:
            raise BadInput("form_incomplete", f"还有没填的：{'、'.join(missing)}")
        try:
            return JudgementMessage(
                verdict=cast(Verdict, self.verdict),
                ground=self.ground if self.verdict == "unreasonable" else None,
                kind=self.kind,
                subject=self.subject,
                disposition=cast(PersonDisposition, self.disposition),
                reason=self.reason,
            )
        except ValidationError as error:
            wrong = {_NAMES[str(fault["loc"][0])] for fault in error.errors(include_input=False)}
            raise BadInput("form_invalid", f"填写有误：{'、'.join(sorted(wrong))}") from None


def drafted(
    verdict: _Code = "",
    ground: _Code = "",
    kind: _Code = "",
    subject: _Code = "",
    disposition: _Code = "",
    reason: _Words = "",
    change_reason: _Words = "",
) -> Draft:
    return Draft(verdict, ground, kind, subject, disposition, reason, change_reason.strip())
