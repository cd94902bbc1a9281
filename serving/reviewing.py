"""The review desk's work, the same for software and for people on pages: look, claim, judge, resolve."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from data.errors import BadInput, Fault, NotFound
from data.records import (
    Caller,
    Judgement,
    OrderHeader,
    Review,
    ReviewStatus,
    Span,
    StoredDecision,
    WorkOrder,
)
from data.store import decisions, judgements, orders, reviews
from data.taxonomy import Taxonomy
from models.precedents import Nearest
from serving import wording
from serving.desk import Desk
from serving.review_messages import JudgementMessage, Urgency


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A review as anyone on the desk may see it: nothing here depends on the model's conclusion."""

    review: Review
    order: OrderHeader
    flags: tuple[str, ...]
    urgency: Urgency
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A review as one caller may see it now.

    `text` is None until the caller has claimed it, or once erased; `first` is the caller's own blind
    judgement, and `decision` is None until it was given.
    """

    item: QueueItem
    held: bool
    text: WorkOrder | None
    first: Judgement | None
    decision: StoredDecision | None

    @property
    def review(self) -> Review:
        return self.item.review


def queue(
    conn: Connection, desk: Desk, status: ReviewStatus | None, after: str | None, limit: int
) -> list[QueueItem]:
    found = reviews.queue(conn, desk.now(), status, after, limit)
    return [_item(conn, desk, review) for review in found]


def look(conn: Connection, desk: Desk, review_id: str, caller: Caller) -> Seen:
    """Raises:
    NotFound: `review_not_found`.
    """
    return _seen(conn, desk, reviews.get(conn, review_id, desk.now()), caller)


def carrying(desk: Desk, seen: Seen) -> tuple[Span, ...]:
    """The clauses that the model's decision rests on, for whoever may see both it and the text.

    It runs the model, so it is called after the transaction has closed.
    """
    if seen.text is None or seen.decision is None:
        return ()
    found = desk.triage.explain(seen.text.title, seen.text.content, seen.decision.decision)
    return () if found is None else found.spans


def precedents(desk: Desk, seen: Seen) -> Nearest:
    """The labelled orders most like this one, for whoever may see the decision; it runs the model too."""
    if seen.text is None or seen.decision is None:
        return Nearest()
    return desk.triage.nearest(seen.text.title, seen.text.content, seen.decision.decision)


def claim(conn: Connection, desk: Desk, review_id: str, caller: Caller, version: int | None) -> Seen:
    lease = timedelta(seconds=desk.settings.lease_seconds)
    review = reviews.claim(conn, review_id, caller.id, desk.now(), lease, version)
    return _seen(conn, desk, review, caller)


def release(
    conn: Connection, desk: Desk, review_id: str, caller: Caller, fence: int, version: int | None
) -> Seen:
    review = reviews.release(conn, review_id, caller.id, fence, desk.now(), version)
    return _seen(conn, desk, review, caller)


def judge(
    conn: Connection,
    desk: Desk,
    review_id: str,
    caller: Caller,
    fence: int,
    message: JudgementMessage,
    version: int | None,
) -> Seen:
    """Keep the blind judgement; from then on the caller sees the model's decision."""
    judgement = judgement_of(message, desk.taxonomy)
    review = reviews.judge(conn, review_id, caller.id, fence, judgement, desk.now(), version)
    return _seen(conn, desk, review, caller)


def resolve(
    conn: Connection,
    desk: Desk,
    review_id: str,
    caller: Caller,
    fence: int,
    message: JudgementMessage,
    change_reason: str | None,
    version: int | None,
) -> Seen:
    judgement = judgement_of(message, desk.taxonomy)
    review = reviews.resolve(conn, review_id, caller.id, fence, judgement, change_reason, desk.now(), version)
    return _seen(conn, desk, review, caller)


def judgement_of(message: JudgementMessage, taxonomy: Taxonomy) -> Judgement:
    """Raises:
    BadInput: `code_unknown`: a code that this taxonomy does not have.
    """
    groups = taxonomy.groups
    grounds = tuple(ground.code for ground in taxonomy.grounds)
    faults = [
        Fault(f"/{field}", "不在现行分类表之内")
        for field, code, codes in (
            ("ground", message.ground, (None, *grounds)),
            ("kind", message.kind, groups["kind"]),
            ("subject", message.subject, groups["subject"]),
        )
        if code not in codes
    ]
    if faults:
        raise BadInput("code_unknown", "含有分类表之外的代码", tuple(faults))
    return Judgement(
        verdict=message.verdict,
        ground=message.ground,
        kind=message.kind,
        subject=message.subject,
        disposition=message.disposition,
        reason=message.reason,
    )


def _item(conn: Connection, desk: Desk, review: Review) -> QueueItem:
    decision = decisions.get(conn, review.decision_id).decision
    flags = tuple(
        flag.code for flag in desk.taxonomy.flags if flag.protective and flag.code in decision.flags
    )
    urgency: Urgency = "urgent" if "urgent" in review.reasons else ("protective" if flags else "ordinary")
    return QueueItem(
        review=review,
        order=orders.header(conn, review.order_id),
        flags=flags,
        urgency=urgency,
        reasons=tuple(reason for reason in review.reasons if reason in wording.BLIND_REASONS),
    )


def _seen(conn: Connection, desk: Desk, review: Review, caller: Caller) -> Seen:
    """The one place that decides what a reviewer sees: here blindness holds or fails."""
    first = judgements.of(conn, review.id, caller.id)
    held = review.status in ("claimed", "judged") and review.claimed_by == caller.id
    return Seen(
        item=_item(conn, desk, review),
        held=held,
        text=_text(conn, desk, review.order_id) if held or first is not None else None,
        first=first,
        decision=None if first is None else decisions.get(conn, review.decision_id),
    )


def _text(conn: Connection, desk: Desk, order_id: str) -> WorkOrder | None:
    try:
        return orders.get(conn, desk.keyring.vault, order_id)
    except NotFound:
        return None  # erased since
