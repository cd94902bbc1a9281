"""Reviews as rows: read with their leases' state, closed, freed of words; called by `reviews`, `orders`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    literal_column,
    or_,
    select,
    update,
)

from data.records import Decision, Review, ReviewStatus
from data.store import judgements
from data.store.tables import FINISHED, UNFINISHED, reviews
from data.store.tables import judgements as judgement_rows

HELD = ("claimed", "judged")
# Written out, not bound: a partial index serves only a query that says so in the same words.
_UNFINISHED, _FINISHED = (
    reviews.c.status.in_([literal_column(f"'{status}'") for status in statuses])
    for statuses in (UNFINISHED, FINISHED)
)

URGENT, VULNERABLE, DEGRADED, ROUTINE = 0, 10, 20, 30


def priority_of(decision: Decision) -> int:
    """Harm first, then orders no model has read, then age alone.

    Doubt and an adverse conclusion do not count: the queue's order must not tell a reviewer what the
    model concluded before he has judged.
    """
    if "urgent" in decision.review_reasons:
        return URGENT
    if decision.flags:
        return VULNERABLE
    return DEGRADED if decision.degraded else ROUTINE


def select_reviews() -> Select[*tuple[Any, ...]]:
    """Each review with the blind judgement of whoever holds it or resolved it."""
    own = (judgement_rows.c.review_id == reviews.c.id) & (judgement_rows.c.reviewer == reviews.c.claimed_by)
    return select(reviews, judgement_rows.c.body.label("first_judgement")).outerjoin(judgement_rows, own)


def in_status(status: ReviewStatus | None, now: datetime) -> ColumnElement[bool]:
    """None: all that are not finished."""
    if status is None:
        return _UNFINISHED
    if status == "open":
        lapsed = and_(reviews.c.status.in_(HELD), reviews.c.lease_until <= now)
        return and_(_UNFINISHED, or_(reviews.c.status == "open", lapsed))
    if status in HELD:
        return and_(_UNFINISHED, reviews.c.status == status, reviews.c.lease_until > now)
    return and_(_FINISHED, reviews.c.status == status)


def read(row: Row[*tuple[Any, ...]], now: datetime) -> Review:
    """A row of `select_reviews` as it stands now: a lease that has run out leaves the review open."""
    lapsed = row.status in HELD and row.lease_until <= now
    first, final = row.first_judgement, row.final_judgement
    return Review(
        id=row.id,
        order_id=row.order_id,
        decision_id=row.decision_id,
        status="open" if lapsed else row.status,
        reasons=tuple(json.loads(row.reasons)),
        priority=row.priority,
        opened_at=row.opened_at,
        claimed_by=None if lapsed else row.claimed_by,
        lease_until=None if lapsed else row.lease_until,
        fence=row.fence,
        version=row.version,
        first_judgement=None if lapsed or first is None else judgements.load(first),
        final_judgement=None if final is None else judgements.load(final),
        change_reason=row.change_reason,
        resolved_at=row.resolved_at,
    )


def close(conn: Connection, order_ids: Sequence[str]) -> list[str]:
    """Ends the unfinished reviews of orders that need none any more, and returns their ids.

    The caller's own leaf names them.
    """
    query = select(reviews.c.id).where(reviews.c.order_id.in_(order_ids), _UNFINISHED)
    closed = list(conn.execute(query.order_by(reviews.c.id)).scalars())
    conn.execute(
        update(reviews)
        .where(reviews.c.id.in_(closed))
        .values(status="superseded", claimed_by=None, lease_until=None, version=reviews.c.version + 1)
    )
    return closed


def erase_reasons(conn: Connection, order_id: str) -> None:
    """Takes the words reviewers wrote about an order and leaves the codes; the caller's leaf says so."""
    query = select(reviews.c.id, reviews.c.final_judgement).where(reviews.c.order_id == order_id)
    for row in conn.execute(query).all():
        judgements.erase_reasons(conn, row.id)
        final = None if row.final_judgement is None else judgements.wordless(row.final_judgement)
        conn.execute(
            update(reviews)
            .where(reviews.c.id == row.id)
            .values(final_judgement=final, change_reason=None, seal_key=None)
        )
