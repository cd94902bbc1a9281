"""Takes in one work order: triage, then order, decision, review and stored answer in one transaction."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from data.errors import BadInput, Conflict, Fault
from data.records import Caller, Decision, WorkOrder
from data.store import decisions, orders, reviews
from data.store.identifiers import new_id
from serving.desk import Desk
from serving.messages import NewOrder
from serving.once import Answer, attempt, by_natural_key
from serving.statement import decision_message

_CREATED: Final = 201


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
    if len(message.content) > desk.settings.text_limit:
        detail = f"正文不得超过 {desk.settings.text_limit} 个字符"
        raise BadInput("content_too_long", detail, (Fault("/content", detail),))
    keyed = attempt(caller.id, key, "POST /v1/orders", message)
    natural = by_natural_key(keyed, message.source, message.number, message.revision)
    with keyed.underway(desk), natural.underway(desk):
        now = desk.now()
        decision, seconds = _triaged(desk, message, now)
        order = _work_order(message, now)
        with desk.database.transaction() as conn:

            def named() -> Answer:
                try:
                    return natural.answer(conn, desk, lambda: _keep(conn, desk, caller, order, decision))
                except BadInput as error:
                    if error.code != "idempotency_mismatch":
                        raise
                    raise Conflict("order_exists", "该来源、编号与版次的工单已经受理，且内容不同") from None

            answer = keyed.answer(conn, desk, named)
    if not answer.replayed:
        desk.metrics.decided(decision, seconds)
    return answer


def _triaged(desk: Desk, message: NewOrder, now: datetime) -> tuple[Decision, float]:
    began = time.perf_counter()
    decision = desk.triage.decide(message.title, message.content, now)
    return decision, time.perf_counter() - began


def _work_order(message: NewOrder, now: datetime) -> WorkOrder:
    return WorkOrder(
        id=new_id(),
        source=message.source,
        number=message.number,
        revision=message.revision,
        title=message.title,
        content=message.content,
        received_at=message.received_at or now,
        channel=message.channel,
        region=message.region,
    )


def _keep(conn: Connection, desk: Desk, caller: Caller, order: WorkOrder, decision: Decision) -> Answer:
    commitment = orders.add(conn, desk.keyring.vault, order, caller.id)
    decision_id = new_id()
    # The lock may have been waited for: the order of times in the log is the order of the log.
    decision = replace(decision, decided_at=desk.now())
    decisions.add(conn, order.id, decision_id, decision, commitment, caller.id)
    review_id = None
    if decision.review_reasons:
        review_id = new_id()
        reviews.open(conn, review_id, order.id, decision_id, decision, decision.decided_at, caller.id)
    message = decision_message(order, decision_id, decision, review_id, desk.taxonomy)
    body = message.model_dump_json().encode()
    return Answer(_CREATED, body, {"Location": f"/v1/orders/{order.id}"})
