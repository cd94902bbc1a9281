"""What review software sends and gets; `serving/routes/reviews.py` speaks these shapes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictStr, StringConstraints

from data.records import ReviewStatus, Verdict
from serving.messages import WHITE, Coded, DecisionMessage, FlagMessage, Message, Whole

PersonDisposition = Literal["dispatch", "explain", "transfer", "ask_again"]
Urgency = Literal["urgent", "protective", "ordinary"]
Reason = Annotated[
    StrictStr,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=2000),
    Field(json_schema_extra={"pattern": rf"^[^\u0000]*[^\u0000{WHITE}][^\u0000]*$"}),
]
Code = Annotated[StrictStr, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class JudgementMessage(Message):
    """复核员的判断。What a reviewer says: `ground` exactly when the verdict is unreasonable."""

    verdict: Verdict
    ground: Code | None = Field(None, description="不合理时必填：理由代码。")
    kind: Code = Field(description="诉求性质代码。", examples=["help"])
    subject: Code = Field(description="内容分类代码。", examples=["urban_rural"])
    disposition: PersonDisposition = Field(description="处理方式；人的结论不能再是 review。")
    reason: Reason = Field(description="判断的理由，1–2000 字。", examples=["消防通道被占，属于应受理事项。"])


class FencedMessage(Message):
    fence: Whole = Field(ge=0, le=2**53 - 1, description="领取时得到的栅栏号；过期后失效。")


class NewJudgement(FencedMessage, JudgementMessage):
    """独立初判，作出之前看不到系统意见。The blind first judgement."""


class Resolution(FencedMessage, JudgementMessage):
    """最终结论。与自己的初判不同（结论、理由或处理方式）时必须说明 `change_reason`。"""

    change_reason: Reason | None = None


class GivenCodes(BaseModel):
    """A judgement without its words."""

    verdict: Verdict
    ground: Coded | None
    kind: Coded
    subject: Coded
    disposition: str
    disposition_name: str


class GivenJudgement(GivenCodes):
    """A judgement as it was given."""

    reason: str = Field(description="内容清除后为空。")


class OrderText(BaseModel):
    """来件原文。The order as it was sent."""

    title: str
    content: str
    channel: str | None
    region: str | None
    received_at: str


class ReviewSummary(BaseModel):
    """One item of the queue. It says nothing of what the model concluded: reviewers judge blind."""

    id: str
    order_id: str
    source: str
    number: str
    revision: int
    status: ReviewStatus
    status_name: str
    urgency: Urgency = Field(description="按伤害风险：urgent 紧急、protective 有保护性标记、ordinary 一般。")
    flags: list[FlagMessage] = Field(description="保护性标记。Only protective flags.")
    reasons: list[Coded] = Field(description="转人工的原因；会透露系统结论的原因在初判前不显示。")
    opened_at: str
    claimed_by: str | None
    lease_until: str | None
    version: int = Field(description="同 ETag；写操作可用 If-Match 携带。")


class ReviewPage(BaseModel):
    items: list[ReviewSummary]
    next: str | None = Field(description="下一页的 `after`；没有更多时为空。")


class ReviewOutcome(ReviewSummary):
    """领取、退回、初判、办结之后的状态。What a POST answers.

    It holds no word of the order or of the reasons, since answers to POSTs are kept for replay: read them
    with GET.
    """

    fence: int | None = Field(description="本人持有时的栅栏号，提交判断时带回。")
    first_judgement: GivenCodes | None = Field(description="本人的初判。")
    decision: DecisionMessage | None = Field(
        description="系统意见，供与初判对照。The model's decision, hidden until the caller has judged."
    )
    final_judgement: GivenCodes | None
    resolved_at: str | None


class CarryingClause(BaseModel):
    """结论所依据的一处语句。One clause that the model's verdict rests on; offsets in code points."""

    field: Literal["title", "content"]
    start: int
    end: int


class PrecedentMessage(BaseModel):
    """一件参照样例：为训练编写的虚构工单，不是真实案件。One labelled order that was invented for training."""

    id: str
    title: str
    content: str
    ground: Coded | None = Field(description="不合理的理由；应受理的为空。")
    why: str = Field(description="决定结论的那一处事实。")
    similarity: float = Field(ge=-1, le=1, description="与本件的相似度（余弦），由模型的编码器得出。")


class PrecedentsMessage(BaseModel):
    """两侧最相近的参照样例，由近到远。"""

    reasonable: list[PrecedentMessage] = Field(description="应受理的一侧。")
    unreasonable: list[PrecedentMessage] = Field(description="不合理的一侧。")


class ReviewMessage(ReviewOutcome):
    """一件复核任务。`order` 在本人领取后可见；`decision`（系统意见）在本人初判后可见。"""

    carrying: list[CarryingClause] = Field(
        description="系统结论所依据的语句，仅供参考：删去后结论明显动摇才列出，通不过检验时为空。初判前不显示。"
    )

    precedents: PrecedentsMessage = Field(
        description="与本件最相近的参照样例，供对照，不是依据。初判前不显示。"
    )
    order: OrderText | None = Field(description="原文：领取后可见；内容已清除时为空。")
    first_judgement: GivenJudgement | None = Field(description="本人的初判。")
    final_judgement: GivenJudgement | None
    change_reason: str | None
