"""One order's whole story, verified while it is told; audit routes, the record and the audit page call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from data.errors import NotFound
from data.records import OrderHeader, Review, StoredDecision, WorkOrder
from data.store import audit_log, checkpoints, credentials, decisions, exports, merkle, orders, reviews
from data.store.audit_log import Entry
from data.store.checkpoints import Checkpoint
from data.taxonomy import Taxonomy
from serving import wording
from serving.audit_messages import (
    AuditEntry,
    OrderRecord,
    ProbabilitiesMessage,
    RecordedDecision,
    RecordedReview,
)
from serving.desk import Desk
from serving.review_statement import given
from serving.statement import decision_message, named, review_id_of, rfc3339


@dataclass(frozen=True, slots=True)
class Story:
    """Everything kept about one order, oldest first; `names` gives callers' names by their ids."""

    header: OrderHeader
    text: WorkOrder | None
    decisions: list[StoredDecision]
    reviews: list[Review]
    entries: list[Entry]
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether one entry is in the log that a checkpoint signs, recomputed here from its inclusion path."""

    index: int
    path_length: int
    holds: bool


def tell(conn: Connection, desk: Desk, order_id: str) -> Story:
    """Raises:
    NotFound: `order_not_found`.
    """
    header = orders.header(conn, order_id)
    erased = header.erased_at is not None
    return Story(
        header=header,
        text=None if erased else orders.get(conn, desk.keyring.vault, order_id),
        decisions=decisions.of_order(conn, order_id),
        reviews=reviews.of_order(conn, order_id, desk.now()),
        entries=audit_log.entries(conn, order_id),
        names=names(conn),
    )


def names(conn: Connection) -> dict[str, str]:
    return {key.id: f"{key.name}（{wording.ROLES[key.role]}）" for key in credentials.issued(conn)}


def entries_of(conn: Connection, order_id: str) -> list[Entry]:
    """Raises:
    NotFound: `order_not_found`: the log says nothing of it.
    """
    found = audit_log.entries(conn, order_id)
    if not found or found[0].event.startswith("key."):
        raise NotFound("order_not_found", "审计日志中没有该工单。")
    return found


def current_checkpoint(conn: Connection, desk: Desk) -> Checkpoint:
    """The signed state of the log now; in `transaction()`, since a new note is kept."""
    return checkpoints.sign(conn, desk.keyring.audit, desk.settings.log_origin, desk.now())


def export(conn: Connection, desk: Desk, order_id: str) -> dict[str, object]:
    """What the offline verifier reads; in `transaction()`, since the checkpoint must cover all entries.

    Raises:
        NotFound: `order_not_found`.
    """
    entries_of(conn, order_id)
    checkpoint = current_checkpoint(conn, desk)
    return exports.order_story(conn, order_id, desk.settings.log_origin, checkpoint)


def prove(conn: Connection, entry: Entry, checkpoint: Checkpoint) -> Proof:
    """Fold the entry's own bytes with its path: equal to the signed root, or the log was tampered with."""
    inclusion = audit_log.inclusion(conn, entry.index, checkpoint.size)
    holds = merkle.verify_inclusion(
        merkle.leaf_hash(entry.leaf), entry.index, checkpoint.size, inclusion.path, checkpoint.root
    )
    return Proof(entry.index, len(inclusion.path), holds)


def entry_message(entry: Entry, known: Mapping[str, str]) -> AuditEntry:
    return AuditEntry(
        index=entry.index,
        event=entry.event,
        event_name=wording.EVENTS[entry.event],
        at=rfc3339(entry.at),
        actor=entry.actor,
        actor_name=known.get(entry.actor),
        facts=dict(entry.facts),
        leaf_hash=merkle.leaf_hash(entry.leaf).hex(),
    )


def record_message(story: Story, taxonomy: Taxonomy) -> OrderRecord:
    header, text = story.header, story.text
    return OrderRecord(
        order_id=header.id,
        source=header.source,
        number=header.number,
        revision=header.revision,
        channel=header.channel,
        region=header.region,
        received_at=rfc3339(header.received_at),
        received_by=header.received_by,
        commitment=header.commitment,
        erased_at=None if header.erased_at is None else rfc3339(header.erased_at),
        title=None if text is None else text.title,
        content=None if text is None else text.content,
        decisions=[_recorded_decision(story, stored, taxonomy) for stored in story.decisions],
        reviews=[_recorded_review(review, taxonomy) for review in story.reviews],
        entries=[entry_message(entry, story.names) for entry in story.entries],
    )


def _recorded_decision(story: Story, stored: StoredDecision, taxonomy: Taxonomy) -> RecordedDecision:
    review_id = review_id_of(story.reviews, stored.id)
    message = decision_message(story.header, stored.id, stored.decision, review_id, taxonomy)
    prediction = stored.decision.prediction
    probabilities = None
    if prediction is not None:
        probabilities = ProbabilitiesMessage(
            verdict=dict(prediction.verdict),
            kind=dict(prediction.kind),
            subject=dict(prediction.subject),
            flags=dict(prediction.flags),
            logits={group: list(scores) for group, scores in prediction.logits.items()},
        )
    return RecordedDecision(**dict(message), probabilities=probabilities)


def _recorded_review(review: Review, taxonomy: Taxonomy) -> RecordedReview:
    first, final = review.first_judgement, review.final_judgement
    return RecordedReview(
        id=review.id,
        decision_id=review.decision_id,
        status=review.status,
        status_name=wording.STATUSES[review.status],
        reasons=named(review.reasons, wording.REASONS),
        opened_at=rfc3339(review.opened_at),
        claimed_by=review.claimed_by,
        first_judgement=None if first is None else given(first, taxonomy),
        final_judgement=None if final is None else given(final, taxonomy),
        change_reason=review.change_reason,
        resolved_at=None if review.resolved_at is None else rfc3339(review.resolved_at),
    )
