"""`/v1/orders`: call-centre software sends orders in and reads decisions back."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from data.errors import NotAllowed, NotFound
from data.records import Caller
from data.store import audit_log, decisions, judgements, orders, reviews
from serving import auditing
from serving.access import Allow
from serving.audit_messages import OrderRecord
from serving.desk import DeskDep
from serving.intake import take_in
from serving.messages import DecisionMessage, NewOrder
from serving.once import IdempotencyKey
from serving.routes.parameters import REPLAYED, OrderId
from serving.statement import decision_message, review_id_of

router = APIRouter(prefix="/v1/orders", tags=["orders 工单"])

_CREATED_HEADERS: Final[dict[str, Any]] = {
    "description": "研判结论。The decision, already stored and logged.",
    "headers": {
        "Location": {"description": "工单地址。", "required": True, "schema": {"type": "string"}},
        **REPLAYED,
    },
}


@router.post(
    "",
    status_code=201,
    response_model=DecisionMessage,
    responses={201: _CREATED_HEADERS},
    summary="研判一件工单 Triage one order",
)
def post_order(
    message: NewOrder,
    desk: DeskDep,
    caller: Annotated[Caller, Depends(Allow("intake", "admin"))],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """送入一件工单，立即得到研判结论。

    The answer is given only after order, decision, audit entry and review item are stored together.
    Without an `Idempotency-Key` the natural key (source, number, revision) acts as one: the identical
    body gets the first answer again, a different body gets 409 `order_exists`.
    """
    return take_in(desk, caller, message, idempotency_key).response()


@router.get("/{order_id}", response_model=DecisionMessage, summary="查询现行决定 The decision in force")
def get_order(
    order_id: OrderId,
    desk: DeskDep,
    caller: Annotated[Caller, Depends(Allow("intake", "reviewer", "adjudicator", "auditor", "admin"))],
) -> DecisionMessage:
    """现行有效的决定：人已办结的，是人的决定。

    `intake` sees the orders of its own key only; reviewers only after they have judged the order.
    """
    with desk.database.reading() as conn:
        header = orders.header(conn, order_id)
        if caller.role == "intake" and header.received_by != caller.id:
            raise NotFound("order_not_found", "没有找到该工单。")
        if caller.role in ("reviewer", "adjudicator"):
            _only_after_judging(judgements.given_for_order(conn, order_id, caller.id))
        newest = decisions.of_order(conn, order_id)[-1]
        opened = reviews.of_order(conn, order_id, desk.now())
    review_id = review_id_of(opened, newest.id)
    return decision_message(header, newest.id, newest.decision, review_id, desk.taxonomy)


@router.get("/{order_id}/record", response_model=OrderRecord, summary="查阅完整记录 The whole record")
def get_record(
    order_id: OrderId,
    desk: DeskDep,
    caller: Annotated[Caller, Depends(Allow("reviewer", "adjudicator", "auditor", "admin"))],
) -> OrderRecord:
    """来件、全部决定与概率、复核与审计条目。查阅本身记入审计日志（record.read）。"""
    with desk.database.transaction() as conn:
        orders.header(conn, order_id)
        if caller.role in ("reviewer", "adjudicator"):
            _only_after_judging(judgements.given_for_order(conn, order_id, caller.id))
        audit_log.append(conn, "record.read", order_id, caller.id, desk.now(), {})
        story = auditing.tell(conn, desk, order_id)
    return auditing.record_message(story, desk.taxonomy)


def _only_after_judging(judged: bool) -> None:
    if not judged:
        raise NotAllowed("forbidden", "作出独立初判之后才能查看系统意见")
