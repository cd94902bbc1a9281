"""Takes in one work order: triage, then keeping it; the routes call it, and batches its parts."""

from __future__ import annotations

import time
from datetime import datetime

from data.errors import BadInput, Fault
from data.records import Caller, Decision, WorkOrder
from data.store.identifiers import new_id
from serving.desk import Desk
from serving.keeping import Arrival
from serving.messages import NewOrder
from serving.once import Answer, attempt, by_natural_key


def take_in(desk: Desk, caller: Caller, message: NewOrder, key: str | None) -> Answer:
    """Decide and keep one order; a repeat gets the first answer.

    Triage runs before the transaction, which holds the writers' lock; a replay wastes one triage and
    that is cheaper than a second transaction for every order. The natural key acts as an
    Idempotency-Key beside the one that was sent: a caller who lost an answer, and its key, gets it again.

    Raises:
        BadInput: `content_too_long`; `idempotency_mismatch`.
        Conflict: `order_exists`, `revision_stale`, `idempotency_in_progress`.
        Unavailable: the database cannot be reached; nothing was kept.
    """
    refuse_long(message.content, desk.settings.text_limit)
    keyed = attempt(caller.id, key, "POST /v1/orders", message)
    natural = by_natural_key(keyed, message.source, message.number, message.revision)
    with keyed.underway(desk), natural.underway(desk):
        now = desk.now()
        decision, seconds = _triaged(desk, message, now)
        arrival = Arrival(caller, work_order(message, now), decision, keyed, natural)
        answer = desk.keeper.keep(arrival)
    if not answer.replayed:
        desk.metrics.decided(decision, seconds)
    return answer


def _triaged(desk: Desk, message: NewOrder, now: datetime) -> tuple[Decision, float]:
    began = time.perf_counter()
    decision = desk.triage.decide(message.title, message.content, now)
    return decision, time.perf_counter() - began


def refuse_long(content: str, limit: int) -> None:
    """Raises:
    BadInput: `content_too_long`.
    """
    if len(content) > limit:
        detail = f"正文不得超过 {limit} 个字符"
        raise BadInput("content_too_long", detail, (Fault("/content", detail),))


def work_order(message: NewOrder, came_at: datetime) -> WorkOrder:
    """A new order, received when its sender says, or else when it came."""
    return WorkOrder(
        id=new_id(),
        source=message.source,
        number=message.number,
        revision=message.revision,
        title=message.title,
        content=message.content,
        received_at=message.received_at or came_at,
        channel=message.channel,
        region=message.region,
    )
