"""What call-centre software sends and gets for an order; `serving/routes/orders.py` speaks these shapes."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr

from data.records import DecisionSource, Disposition, Effect, FallbackReason, Verdict
from data.records import Field as OrderField

_RFC3339: Final = (
    r"20[0-9]{2}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_CONTROL: Final = r"\u0000-\u001f\u007f-\u009f"
WHITE: Final = r"\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# Regular expressions that say to readers of the document what is refused; ECMA 262 reads them as Python does.
_ONE_LINE: Final = f"^[^{_CONTROL}{WHITE}]([^{_CONTROL}]*[^{_CONTROL}{WHITE}])?$"
NO_NUL: Final = r"^[^\u0000]*$"
MAX_TITLE: Final = 200  # code points


def _timestamp(value: Any) -> Any:
    """Only RFC 3339 text of this century: pydantic alone would also take numbers, and years that overflow."""
    if value is not None and not (isinstance(value, str) and re.fullmatch(_RFC3339, value)):
        raise ValueError("须为 2000 年以后、带时区偏移的 RFC 3339 时间")
    return value


def _one_line(value: Any) -> Any:
    if isinstance(value, str) and (re.search(f"[{_CONTROL}]", value) or value != value.strip()):
        raise ValueError("不得含控制字符，首尾不得有空白")
    return value


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 1.0 is an integer (JSON Schema), and some writers spell it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Timestamp = Annotated[
    AwareDatetime, BeforeValidator(_timestamp), Field(json_schema_extra={"pattern": f"^{_RFC3339}$"})
]
Name = Annotated[
    StrictStr,
    BeforeValidator(_one_line),
    Field(min_length=1, max_length=64, json_schema_extra={"pattern": _ONE_LINE}),
]
Whole = Annotated[StrictInt, BeforeValidator(_whole)]


class Message(BaseModel):
    """Base of every request: an unknown member is refused, never ignored."""

    model_config = ConfigDict(extra="forbid")


class NewOrder(Message):
    """一件待研判的工单。One work order to triage.

    `(source, number, revision)` is its natural key. A corrected order is sent again with the next revision.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "source": "city-12345",
                    "number": "GD-2026-000123",
                    "revision": 1,
                    "title": "楼道堆物挡住消防通道",
                    "content": "来电人反映某小区三号楼一层楼道长期堆放纸箱，占住消防通道，"
                    "多次向物业反映未清理。诉求：请尽快清理。",
                    "channel": "phone",
                    "region": "城东街道",
                    "received_at": "2026-03-02T09:15:00+08:00",
                }
            ]
        },
    )

    source: Name = Field(description="来件系统的名称。The calling system; with number, the natural key.")
    number: Name = Field(description="工单编号，在来件系统内唯一。The order number within the source.")
    revision: Whole = Field(
        1, ge=1, le=2**31 - 1, description="版本号，从 1 起；更正后递增。A higher revision supersedes."
    )
    title: StrictStr = Field(
        "",
        max_length=MAX_TITLE,
        description="标题，不超过 200 个字符。",
        json_schema_extra={"pattern": NO_NUL},
    )
    content: StrictStr = Field(
        min_length=1,
        json_schema_extra={"pattern": NO_NUL},
        description="诉求正文，默认不超过 20,000 个字符（Unicode 码位）。Code points.",
    )
    channel: Name | None = Field(None, description="来件渠道，如 phone、web、wechat。")
    region: Name | None = Field(None, description="来件地区。")
    received_at: Timestamp | None = Field(
        None, description="来件时间，RFC 3339 带时区偏移；缺省为收到的时间。"
    )


class Coded(BaseModel):
    """A code for software and its Chinese name for people."""

    code: str
    name: str


class FlagMessage(Coded):
    protective: bool = Field(
        description="是否保护性标记：它只会让结果更稳妥。Can only make the outcome safer."
    )


class Basis(BaseModel):
    """One policy or statute a ground or a rule rests on."""

    policy: str
    citation: str = Field(examples=["《信访工作条例》第三十四条"])
    in_force: str | None = Field(description="施行日期；未核实时可能为空。", examples=["2022-05-01"])
    verified: bool = Field(description="条款号是否已经核实。Whether the article number has been verified.")


class GroundMessage(Coded):
    form: str = Field(description="所属类型。", examples=["超越职权范围型"])
    meaning: str
    basis: list[Basis]


class Evidence(BaseModel):
    """规则命中之处，仅供参考。Where a rule fired; indicative, not a proof."""

    rule: str
    effect: Effect
    field: OrderField
    start: int = Field(description="命中起点，按来件原文的码位计。Code points in the text as it was sent.")
    end: int = Field(description="命中终点（不含）。Half-open.")
    explanation: str
    ground: str | None
    flag: str | None
    route: str | None = Field(description="应转接的号码或渠道。", examples=["119"])
    basis: list[Basis]


class VersionsMessage(BaseModel):
    """作出决定时的全部版本：重放同一决定恰好需要这些。"""

    bundle: str | None = Field(description="模型包摘要；规则代答时为空。Digest of the model bundle.")
    rules: str
    taxonomy: str
    canonical: str
    masking: str
    certificate: str | None


class ThresholdsMessage(BaseModel):
    decline: float | None = Field(description="不合理概率不低于它，才会建议不予受理；空：无法保证。")
    dispatch: float | None = Field(description="不合理概率不高于它，才会直接派单；空：无法保证。")
    base_rate: float | None = Field(
        description="概率和阈值按本市不合理诉求的这一占比表述；空：按校准时的占比。", default=None
    )


class DecisionMessage(BaseModel):
    """一件工单的研判结论及理由。The decision on one order: a statement of reasons.

    Act on `disposition`; `recommended` is only what the model or the rules would have done.
    """

    order_id: str = Field(examples=["0198f0a2-7c1e-7d53-9f0e-4b1c2a3d4e5f"])
    decision_id: str
    source: str
    number: str
    revision: int
    decided_at: str = Field(
        description="RFC 3339，带时区偏移。", examples=["2026-03-02T09:15:01.204000+08:00"]
    )
    decision_source: DecisionSource = Field(description="由模型、规则还是人作出。")
    verdict: Verdict
    verdict_name: str = Field(examples=["合理"])
    ground: GroundMessage | None = Field(description="不合理时的理由及依据；合理时为空。")
    kind: Coded | None = Field(description="诉求性质；规则代答时可能为空。")
    subject: Coded | None = Field(description="内容分类；规则代答时可能为空。")
    p_unreasonable: float | None = Field(
        ge=0, le=1, description="校准后的不合理概率；规则代答或人工决定时为空。"
    )
    confidence: float | None = Field(ge=0, le=1, description="对结论本身的把握；规则代答时为空。")
    flags: list[FlagMessage]
    recommended: Disposition
    disposition: Disposition = Field(
        description="现在该怎么办：dispatch 派单、explain 解释说明、transfer 立即转接、ask_again 追问一次、"
        "review 等人决定。"
    )
    disposition_name: str = Field(examples=["派单办理"])
    review_reasons: list[Coded] = Field(description="为何要人看；非空时必有 review_id。")
    review_id: str | None
    degraded: bool = Field(
        description="模型未作答，由规则代答。The rules answered because the model did not."
    )
    fallback: FallbackReason | None
    truncated: bool = Field(description="文本超过模型可读长度。")
    traditional: bool = Field(description="来件为繁体。")
    evidence: list[Evidence]
    thresholds: ThresholdsMessage
    notice: str | None = Field(description="拟答复市民的告知，供人修改后使用。")
    versions: VersionsMessage


def member_names(*shapes: type[BaseModel]) -> frozenset[str]:
    """Every member that requests of these shapes may have: the only names an error's pointer may contain."""
    return frozenset(name for shape in shapes for name in shape.model_fields)
