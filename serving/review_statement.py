"""Writes what a caller may see of a review as messages; the review and audit routes call it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from data.records import REASONABLE, Judgement, Span
from data.taxonomy import Taxonomy
from models.precedents import Nearest, Precedent
from serving import wording
from serving.review_messages import (
    CarryingClause,
    GivenCodes,
    GivenJudgement,
    OrderText,
    PrecedentMessage,
    PrecedentsMessage,
    ReviewMessage,
    ReviewOutcome,
    ReviewSummary,
)
from serving.reviewing import QueueItem, Seen
from serving.statement import coded, decision_message, flag_messages, named, rfc3339


def summary_message(item: QueueItem, taxonomy: Taxonomy) -> ReviewSummary:
    return ReviewSummary(**_summary(item, taxonomy))


def outcome_message(seen: Seen, taxonomy: Taxonomy) -> ReviewOutcome:
    """The state after a POST; before the caller's own judgement nothing of the model's is in it."""
    final = seen.review.final_judgement if seen.first is not None else None
    return ReviewOutcome(
        **_state(seen, taxonomy),
        first_judgement=None if seen.first is None else GivenCodes(**_codes(seen.first, taxonomy)),
        final_judgement=None if final is None else GivenCodes(**_codes(final, taxonomy)),
    )


def review_message(
    seen: Seen, carrying: Iterable[Span], precedents: Nearest, taxonomy: Taxonomy
) -> ReviewMessage:
    """The same, with the words: the order's and the reasons'."""
    final = seen.review.final_judgement if seen.first is not None else None
    text = None
    if seen.text is not None:
        text = OrderText(
            title=seen.text.title,
            content=seen.text.content,
            channel=seen.text.channel,
            region=seen.text.region,
            received_at=rfc3339(seen.text.received_at),
        )
    return ReviewMessage(
        **_state(seen, taxonomy),
        order=text,
        carrying=[CarryingClause(field=span.field, start=span.start, end=span.end) for span in carrying],
        precedents=PrecedentsMessage(
            reasonable=[_precedent(each, taxonomy) for each in precedents.reasonable],
            unreasonable=[_precedent(each, taxonomy) for each in precedents.unreasonable],
        ),
        first_judgement=None if seen.first is None else given(seen.first, taxonomy),
        final_judgement=None if final is None else given(final, taxonomy),
        change_reason=seen.review.change_reason if seen.first is not None else None,
    )


def given(judgement: Judgement, taxonomy: Taxonomy) -> GivenJudgement:
    return GivenJudgement(**_codes(judgement, taxonomy), reason=judgement.reason)


def _precedent(precedent: Precedent, taxonomy: Taxonomy) -> PrecedentMessage:
    return PrecedentMessage(
        id=precedent.id,
        title=precedent.title,
        content=precedent.content,
        ground=None if precedent.verdict == REASONABLE else coded(precedent.verdict, taxonomy),
        why=precedent.why,
        similarity=precedent.similarity,
    )


def _state(seen: Seen, taxonomy: Taxonomy) -> dict[str, Any]:
    review, stored = seen.review, seen.decision
    state = _summary(seen.item, taxonomy)
    if stored is not None:
        state["reasons"] = named(review.reasons, wording.REASONS)
    return state | {
        "fence": review.fence if seen.held else None,
        "decision": None
        if stored is None
        else decision_message(seen.item.order, stored.id, stored.decision, review.id, taxonomy),
        "resolved_at": None if review.resolved_at is None else rfc3339(review.resolved_at),
    }


def _codes(judgement: Judgement, taxonomy: Taxonomy) -> dict[str, Any]:
    return {
        "verdict": judgement.verdict,
        "ground": coded(judgement.ground, taxonomy),
        "kind": coded(judgement.kind, taxonomy),
        "subject": coded(judgement.subject, taxonomy),
        "disposition": judgement.disposition,
        "disposition_name": wording.DISPOSITIONS[judgement.disposition],
    }


def _summary(item: QueueItem, taxonomy: Taxonomy) -> dict[str, Any]:
    review = item.review
    return {
        "id": review.id,
        "order_id": review.order_id,
        "source": item.order.source,
        "number": item.order.number,
        "revision": item.order.revision,
        "status": review.status,
        "status_name": wording.STATUSES[review.status],
        "urgency": item.urgency,
        "flags": flag_messages(item.flags, taxonomy),
        "reasons": named(item.reasons, wording.REASONS),
        "opened_at": rfc3339(review.opened_at),
        "claimed_by": review.claimed_by,
        "lease_until": None if review.lease_until is None else rfc3339(review.lease_until),
        "version": review.version,
    }
