"""`/livez`, `/readyz`, `/metrics`: for whatever runs and watches the process; no key, and nothing secret."""

from __future__ import annotations

from typing import Final, get_args

from fastapi import APIRouter
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
def get_readyz(desk: DeskDep) -> Health:
    """数据库可达、表结构一致、模型已加载并预热；否则 503，`code` 说明缺什么。

    A missing model makes the service unready, yet orders are still answered by the rules.
    """
    desk.database.check()
    if not desk.triage.ready:
        reason = desk.triage.missing or "model_slow"  # loaded, and stuck on every lane
        raise Unavailable(reason, f"{wording.FALLBACKS[reason]}：现由规则代答，全部转人工复核", 30)
    return Health(status="ready")


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
    """Counted to a thousand: past that the number matters less than the scrape's cost."""
    try:
        with desk.database.reading() as conn:
            sizes = {
                status: len(reviews.queue(conn, desk.now(), status, None, _COUNTED)) for status in _WAITING
            }
            pending = batches.pending(conn)
    except Unavailable:
        return  # readiness says so; the counters still answer
    for status, size in sizes.items():
        desk.metrics.queue_is(status, size)
    desk.metrics.batch_pending_is(pending)
