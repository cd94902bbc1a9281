"""The frozen nouns that travel between rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

REASONABLE = "reasonable"

Verdict = Literal["reasonable", "unreasonable"]
Disposition = Literal["dispatch", "explain", "transfer", "ask_again", "review"]
DecisionSource = Literal["model", "rules", "person"]
FallbackReason = Literal["model_missing", "model_corrupt", "model_slow", "model_nonfinite", "model_error"]
Field = Literal["title", "content"]
Effect = Literal["protect", "transfer", "route", "suggest"]


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of code points in one field of the order as the caller sent it."""

    field: Field
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """One work order (工单) as it was received.

    `(source, number, revision)` is its natural key: a corrected order arrives as the next revision.
    """

    id: str
    source: str
    number: str
    revision: int
    title: str
    content: str
    received_at: datetime
    channel: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """An order's text as everything downstream sees it: canonical and masked."""

    title: str
    content: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the classifier says of one reading.

    Each group maps every one of its codes to a calibrated probability; a group sums to one.
    `flags` maps each flag to a probability of its own. `logits` holds the raw scores in the order of
    the codes, flags under "flags". `truncated` says that the text was longer than the encoder reads.
    """

    verdict: Mapping[str, float]
    kind: Mapping[str, float]
    subject: Mapping[str, float]
    logits: Mapping[str, tuple[float, ...]]
    truncated: bool
    flags: Mapping[str, float] = field(default_factory=dict)

    @property
    def p_unreasonable(self) -> float:
        return 1.0 - self.verdict[REASONABLE]

    @property
    def likeliest_ground(self) -> str:
        """The ground with the most probability, even where `reasonable` has more."""
        return max((code for code in self.verdict if code != REASONABLE), key=self.verdict.__getitem__)


@dataclass(frozen=True, slots=True)
class RuleHit:
    """One rule that fired, and where: the law it rests on is named by policy ids."""

    rule: str
    effect: Effect
    span: Span
    explanation: str
    ground: str | None = None
    flag: str | None = None
    route: str | None = None
    policies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Probabilities of `unreasonable` that bound what may happen without doubt.

    At or above `decline` the order is recommended for declining, at or below `dispatch` it is
    dispatched; None where no bound could be certified. `flags` holds the probability from which on
    the model raises a flag. `base_rate` is the city's share of unreasonable orders that probabilities
    and bounds are stated at; None where they are stated as calibrated.
    """

    decline: float | None
    dispatch: float | None
    flags: Mapping[str, float] = field(default_factory=dict)
    base_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Versions:
    """Everything that fixed a decision: replaying it needs exactly these."""

    bundle: str | None
    rules: str
    taxonomy: str
    canonical: str
    masking: str
    certificate: str | None


@dataclass(frozen=True, slots=True)
class Decision:
    """A statement of reasons: what was decided for one order, on what, and who must still look.

    `recommended` is what the model or the rules would do; `disposition` is what happens now, which
    is `review` while a person has to confirm it. Probabilities are None when the rules answered.
    """

    decided_at: datetime
    source: DecisionSource
    verdict: Verdict
    ground: str | None
    kind: str | None
    subject: str | None
    p_unreasonable: float | None
    confidence: float | None
    flags: tuple[str, ...]
    recommended: Disposition
    disposition: Disposition
    review_reasons: tuple[str, ...]
    rule_hits: tuple[RuleHit, ...]
    thresholds: Thresholds
    prediction: Prediction | None
    versions: Versions
    truncated: bool
    traditional: bool
    fallback: FallbackReason | None
    notice: str | None

    @property
    def degraded(self) -> bool:
        return self.fallback is not None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person says of an order: `ground` is given exactly when it is unreasonable."""

    verdict: Verdict
    ground: str | None
    kind: str
    subject: str
    disposition: Disposition
    reason: str


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision as the store keeps it: an order has one or more, the newest in force."""

    id: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class OrderHeader:
    """What is known of an order without opening its text: it outlives the text's erasure.

    `received_by` is the id of the caller that sent it.
    """

    id: str
    source: str
    number: str
    revision: int
    channel: str | None
    region: str | None
    received_at: datetime
    received_by: str
    commitment: str
    erased_at: datetime | None


ReviewStatus = Literal["open", "claimed", "judged", "resolved", "superseded"]


@dataclass(frozen=True, slots=True)
class Review:
    """One order waiting for a person, and what the person said.

    A claim is a lease: past `lease_until` the review is open again. `fence` grows with every claim,
    so that a claimant who was away too long is recognised; `version` grows with every change.
    Lower `priority` comes first. `first_judgement` was given before seeing the model's answer, by
    `claimed_by`; `change_reason` says why the final one differs from it.
    """

    id: str
    order_id: str
    decision_id: str
    status: ReviewStatus
    reasons: tuple[str, ...]
    priority: int
    opened_at: datetime
    claimed_by: str | None
    lease_until: datetime | None
    fence: int
    version: int
    first_judgement: Judgement | None
    final_judgement: Judgement | None
    change_reason: str | None
    resolved_at: datetime | None


Role = Literal["intake", "unit", "reviewer", "adjudicator", "auditor", "data", "admin"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: `id` is the key's id and is what the audit log names."""

    id: str
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One issued key, without its secret."""

    id: str
    name: str
    role: Role
    issued_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
