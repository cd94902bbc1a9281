"""`/v1/batches`: call-centre software sends many orders at once, and fetches their decisions later."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response, StreamingResponse

from data.errors import NotFound
from data.records import Caller
from data.store import batches as store
from serving import batches
from serving.access import Allow
from serving.batch_messages import (
    BatchDecision,
    BatchLine,
    BatchMessage,
    BatchPage,
    BatchRefusal,
    batch_message,
)
from serving.batch_worker import BatchWorker
from serving.desk import DeskDep
from serving.ndjson import MEDIA_TYPE
from serving.once import Answer
from serving.routes.parameters import Absent, After, BatchId, Limit

router = APIRouter(prefix="/v1/batches", tags=["batches 批次"])

Sender = Annotated[Caller, Depends(Allow("intake", "admin"))]
Reader = Annotated[Caller, Depends(Allow("intake", "auditor", "admin"))]
SHAPES: Final[tuple[type[BaseModel], ...]] = (BatchLine, BatchDecision, BatchRefusal)  # in NDJSON alone
_KEY: Final = r"^[!-~]{1,128}$"


def _lines_of(*shapes: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's word for a text each of whose lines is one of these."""
    references = [{"$ref": f"#/components/schemas/{shape.__name__}"} for shape in shapes]
    lines = {"type": "array", "items": {"anyOf": references} if references[1:] else references[0]}
    schema = {"type": "string", "contentMediaType": MEDIA_TYPE, "contentSchema": lines}
    return {MEDIA_TYPE: {"schema": schema}}


_ACCEPTED: Final[dict[str, Any]] = {
    "description": "已收到全部各行并保存。Every line has been received and stored.",
    "headers": {
        "Location": {"description": "批次地址。", "required": True, "schema": {"type": "string"}},
        "Idempotent-Replayed": {
            "description": "`true`：批次先前已经上传完毕，各行相同；答复给出现在的进度。",
            "schema": {"type": "string", "const": "true"},
        },
    },
}
_RESULTS: Final[dict[str, Any]] = {
    "description": "每行一个对象，按行号排列。One object a line, in line order.",
    "headers": {
        "Link": {
            "description": '`rel="next"`：从本次末行之后继续取；没有它，即已取完（上传已结束，全部有结果）。',
            "schema": {"type": "string"},
        }
    },
    "content": _lines_of(BatchDecision, BatchRefusal),
}


class Ndjson(StreamingResponse):
    media_type = MEDIA_TYPE


@router.post(
    "",
    status_code=202,
    response_model=BatchMessage,
    responses={202: _ACCEPTED},
    summary="成批送入工单 Send many orders",
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "每行一个 JSON 对象，UTF-8；空行忽略。One JSON object a line.",
            "content": _lines_of(BatchLine),
        }
    },
)
async def post_batch(
    request: Request,
    desk: DeskDep,
    caller: Sender,
    idempotency_key: Annotated[
        str,
        Header(
            alias="Idempotency-Key",
            pattern=_KEY,
            description="批次在该调用方下的名称，必填；续传和重复上传用同一个。Names the batch; required.",
        ),
    ],
    from_line: Annotated[
        int,
        Query(
            ge=1,
            le=batches.MAX_LINES + 1,
            description="请求体从批次的第几行开始；续传时可为 `received` 加一。Where the body begins.",
        ),
    ] = 1,
) -> Response:
    """边收边存，全部收完后答复 202；各行随后在后台研判，结果用 `results` 取。

    A line that is no valid order gets a problem among the results and stops nothing. When the connection
    breaks, what came is kept: send the batch again under its key, from the start or from a later line. Lines
    that came before must be the same bytes (422 `batch_line_differs`), and a batch that ended takes no
    further ones (409 `batch_complete`).
    """
    worker: BatchWorker = request.app.state.batch_worker
    batch, replayed = await batches.take_in(
        desk, caller, idempotency_key, from_line, request.receive, worker.wake
    )
    body = batch_message(batch).model_dump_json().encode()
    return Answer(202, body, {"Location": f"/v1/batches/{batch.id}"}, replayed).response()


@router.get("", response_model=BatchPage, summary="批次列表 Batches")
def get_batches(
    desk: DeskDep,
    caller: Reader,
    idempotency_key: Annotated[
        Annotated[str, Field(pattern=_KEY)] | Absent,
        Query(description="上传时的 Idempotency-Key；连接中断后用它找到批次。Finds a batch by its key."),
    ] = None,
    after: After = None,
    limit: Limit = 50,
) -> BatchPage:
    """由新到旧。`intake` sees the batches of its own key only."""
    own = caller.id if caller.role == "intake" else None
    with desk.database.reading() as conn:
        found = list(store.listed(conn, own, idempotency_key, after, limit + 1))
    return BatchPage(
        items=[batch_message(batch) for batch in found[:limit]],
        next=found[limit - 1].id if len(found) > limit else None,
    )


@router.get("/{batch_id}", response_model=BatchMessage, summary="批次进度 How far a batch has come")
def get_batch(batch_id: BatchId, desk: DeskDep, caller: Reader) -> BatchMessage:
    """`intake` sees the batches of its own key only."""
    with desk.database.reading() as conn:
        batch = store.get(conn, batch_id)
    return batch_message(_seen_by(caller, batch))


@router.get(
    "/{batch_id}/results",
    response_class=Ndjson,
    responses={200: _RESULTS},
    summary="批次结果 The results of a batch",
)
def get_results(
    batch_id: BatchId,
    desk: DeskDep,
    caller: Reader,
    after: Annotated[
        int, Query(ge=0, le=batches.MAX_LINES, description="上次取到的行号。The last line that you have.")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000, description="最多多少行。")] = 1000,
) -> Response:
    """按行号给出已有结果的各行，到第一行尚无结果的为止；因此沿 `Link` 取不会漏行。

    A decision is the one that the line got; the one in force now is at `/v1/orders/{order_id}`.
    """
    with desk.database.reading() as conn:
        batch = _seen_by(caller, store.get(conn, batch_id))
        until = min(after + limit, store.done_until(conn, batch))
    last = max(after, until)
    headers = {}
    if batch.completed_at is None or last < batch.received:
        headers["Link"] = f'</v1/batches/{batch.id}/results?after={last}&limit={limit}>; rel="next"'
    return Ndjson(batches.results(desk, batch.id, after, until), headers=headers)


def _seen_by(caller: Caller, batch: store.Batch) -> store.Batch:
    if caller.role == "intake" and batch.caller_id != caller.id:
        raise NotFound("batch_not_found", "没有找到该批次。")
    return batch
