"""`/v1/reviews`: review software works the queue; pages do the same through `serving/reviewing.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.responses import Response

from data.records import Caller, ReviewStatus
from serving import reviewing
from serving.access import Allow
from serving.desk import Desk, DeskDep
from serving.once import Answer, IdempotencyKey, attempt
from serving.review_messages import (
    FencedMessage,
    NewJudgement,
    Resolution,
    ReviewMessage,
    ReviewOutcome,
    ReviewPage,
)
from serving.review_statement import outcome_message, review_message, summary_message
from serving.reviewing import Seen
from serving.routes.parameters import REPLAYED, Absent, After, IfMatch, Limit, ReviewId, etag, version_of

router = APIRouter(prefix="/v1/reviews", tags=["reviews 复核"])

Reviewer = Annotated[Caller, Depends(Allow("reviewer", "adjudicator"))]
_VERSION: Final = {
    "ETag": {"description": "复核任务的版本。", "required": True, "schema": {"type": "string"}}
}
_ETAG: Final[dict[int | str, dict[str, Any]]] = {200: {"headers": _VERSION}}
_CHANGED: Final[dict[int | str, dict[str, Any]]] = {200: {"headers": {**_VERSION, **REPLAYED}}}


@router.get("", response_model=ReviewPage, summary="复核队列 The queue")
def get_queue(
    desk: DeskDep,
    _: Reviewer,
    status: Annotated[ReviewStatus | Absent, Query(description="缺省为全部未办结的。")] = None,
    after: After = None,
    limit: Limit = 50,
) -> ReviewPage:
    """按伤害风险、再按等待时间排列；顺序稳定，按 `next` 翻页。"""
    with desk.database.reading() as conn:
        items = reviewing.queue(conn, desk, status, after, limit + 1)
    shown = items[:limit]
    return ReviewPage(
        items=[summary_message(item, desk.taxonomy) for item in shown],
        next=shown[-1].review.id if len(items) > limit else None,
    )


@router.get("/{review_id}", response_model=ReviewMessage, responses=_ETAG, summary="一件复核任务 One review")
def get_review(review_id: ReviewId, desk: DeskDep, caller: Reviewer) -> Response:
    """原文在本人领取后可见；系统意见在本人初判后可见。"""
    with desk.database.reading() as conn:
        seen = reviewing.look(conn, desk, review_id, caller)
    carrying, precedents = reviewing.carrying(desk, seen), reviewing.precedents(desk, seen)
    body = review_message(seen, carrying, precedents, desk.taxonomy).model_dump_json().encode()
    return Answer(200, body, {"ETag": etag(seen.review.version)}).response()


@router.post("/{review_id}/claim", response_model=ReviewOutcome, responses=_CHANGED, summary="领取 Claim")
def post_claim(
    review_id: ReviewId,
    desk: DeskDep,
    caller: Reviewer,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """领取一段时间（租约）；到期自动退回。再次领取自己的任务即续期，栅栏号更新。无请求体。"""
    version = version_of(if_match)
    return _once(
        desk,
        caller,
        idempotency_key,
        f"claim {review_id}",
        None,
        lambda conn: reviewing.claim(conn, desk, review_id, caller, version),
    )


@router.post("/{review_id}/release", response_model=ReviewOutcome, responses=_CHANGED, summary="退回 Release")
def post_release(
    review_id: ReviewId,
    message: FencedMessage,
    desk: DeskDep,
    caller: Reviewer,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """退回队列，由他人领取。"""
    version = version_of(if_match)
    return _once(
        desk,
        caller,
        idempotency_key,
        f"release {review_id}",
        message,
        lambda conn: reviewing.release(conn, desk, review_id, caller, message.fence, version),
    )


@router.post(
    "/{review_id}/judgement", response_model=ReviewOutcome, responses=_CHANGED, summary="独立初判 Judge blind"
)
def post_judgement(
    review_id: ReviewId,
    message: NewJudgement,
    desk: DeskDep,
    caller: Reviewer,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """作出独立初判；答复中并列给出系统意见，供对照。初判不能更改。"""
    version = version_of(if_match)
    return _once(
        desk,
        caller,
        idempotency_key,
        f"judge {review_id}",
        message,
        lambda conn: reviewing.judge(conn, desk, review_id, caller, message.fence, message, version),
    )


@router.post("/{review_id}/resolve", response_model=ReviewOutcome, responses=_CHANGED, summary="办结 Resolve")
def post_resolution(
    review_id: ReviewId,
    message: Resolution,
    desk: DeskDep,
    caller: Reviewer,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """作出最终结论，成为该工单现行有效的决定。与初判不同时须说明理由。"""
    version = version_of(if_match)
    return _once(
        desk,
        caller,
        idempotency_key,
        f"resolve {review_id}",
        message,
        lambda conn: reviewing.resolve(
            conn, desk, review_id, caller, message.fence, message, message.change_reason, version
        ),
    )


def _once(
    desk: Desk,
    caller: Caller,
    key: str | None,
    operation: str,
    body: BaseModel | None,
    work: Callable[[Connection], Seen],
) -> Response:
    made = attempt(caller.id, key, operation, body)
    with made.underway(desk), desk.database.transaction() as conn:
        answer = made.answer(conn, desk, lambda: _answer(work(conn), desk))
    return answer.response()


def _answer(seen: Seen, desk: Desk) -> Answer:
    body = outcome_message(seen, desk.taxonomy).model_dump_json().encode()
    return Answer(200, body, {"ETag": etag(seen.review.version)})
