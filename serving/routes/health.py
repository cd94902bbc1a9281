"""`/livez`, `/readyz`, `/metrics`: for whatever runs and watches the process; no key, and nothing secret."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import Response

from data.errors import Unavailable
from data.records import ReviewStatus
from data.store import batches, reviews
from serving import wording
from serving.desk import Desk, DeskDep
from serving.metrics import CONTENT_TYPE

router = APIRouter(tags=["health 健康"])

_WAITING: Final[tuple[ReviewStatus, ...]] = tuple(
    status for status in get_args(ReviewStatus) if status in ("open", "claimed", "judged")
)
_COUNTED: Final = 1000


class Health(BaseModel):
    status: str


@router.get("/livez", response_model=Health, summary="进程存活 Alive")
async def get_livez() -> Health:
    """只说明进程在运行；数据库离线时依然为真。"""
    return Health(status="alive")


@router.get("/readyz", response_model=Health, summary="可以接活 Ready")
def get_readyz(
    desk: DeskDep,
    exclude: Annotated[
        Literal["model"] | None,
        Query(description="`model`：模型不可用而规则仍可代答时，答 200 与 `degraded`，供负载均衡使用"),
    ] = None,
) -> Health:
    """数据库可达、表结构一致、模型已加载并预热，且未连续出错；否则 503，`code` 说明缺什么。

    A missing or failing model makes the service unready, yet orders are still answered by the rules: whoever
    decides where calls are sent asks with `exclude=model`, or a fault of the model would reach nobody.
    """
    desk.database.check()
    reason = desk.triage.trouble
    if reason is None:
        return Health(status="ready")
    if exclude == "model":
        return Health(status="degraded")
    raise Unavailable(reason, f"{wording.FALLBACKS[reason]}：现由规则代答，全部转人工复核", 30)


@router.get(
    "/metrics",
    summary="Prometheus 指标",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_metrics(desk: DeskDep) -> Response:
    desk.metrics.triage_is(desk.triage)
    _count_queue(desk)
    return Response(desk.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _count_queue(desk: Desk) -> None:
    """Counted to a thousand: past that the number matters less than the scrape's cost.

    The oldest is then the oldest of the first thousand, which are the most urgent.
    """
    now = desk.now()
    try:
        with desk.database.reading() as conn:
            queues = {status: reviews.queue(conn, now, status, None, _COUNTED) for status in _WAITING}
            pending = batches.pending(conn)
    except Unavailable:
        return  # readiness says so; the counters still answer
    for status, queue in queues.items():
        opened_at = min((review.opened_at for review in queue), default=now)
        desk.metrics.queue_is(status, len(queue), max(0.0, (now - opened_at).total_seconds()))
    desk.metrics.batch_pending_is(pending)
