"""What callers send and get for many orders at a time; `serving/routes/batches.py` speaks these shapes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from data.store.batches import Batch
from serving.errors import ProblemDetails
from serving.messages import DecisionMessage, Name, NewOrder
from serving.statement import rfc3339


class BatchLine(NewOrder):
    """批次中的一行：一件待研判的工单。One line of a batch: an order, and the caller's name for it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "client_ref": "row-1",
                    "source": "city-12345",
                    "number": "GD-2026-000124",
                    "title": "路灯不亮",
                    "content": "来电人反映柳荫巷口第三盏路灯已有五天不亮，希望派人修好。",
                }
            ]
        },
    )

    client_ref: Name | None = Field(
        None, description="调用方给本行的名称，原样写在结果中；不影响研判。Returned with the line's result."
    )


class BatchMessage(BaseModel):
    """一个批次的进度。`received` 恒等于 `decided`、`refused` 与 `pending` 之和。"""

    batch_id: str = Field(examples=["0198f0a2-7c1e-7d53-9f0e-4b1c2a3d4e5f"])
    received: int = Field(description="已收到并保存的行数，空行不计；续传时从下一行开始。Resume behind it.")
    refused: int = Field(description="未能受理的行数，原因见结果中的 problem。")
    decided: int = Field(description="已研判的行数。")
    pending: int = Field(description="等待研判的行数。")
    complete: bool = Field(description="上传是否已经正常结束。Whether the upload ended well.")
    finished: bool = Field(description="上传已结束，且每一行都有了结果。")
    begun_at: str = Field(description="RFC 3339，带时区偏移。")
    completed_at: str | None
    finished_at: str | None


class BatchPage(BaseModel):
    items: list[BatchMessage]
    next: str | None = Field(description="下一页的 `after`；没有更多时为空。")


class BatchDecision(BaseModel):
    """一行的研判结论。`decision` 与单件研判的答复相同。"""

    line: int = Field(description="行号，从 1 起，空行不计。")
    client_ref: str | None
    decision: DecisionMessage


class BatchRefusal(BaseModel):
    """一行未能受理的原因；从不复述该行内容。"""

    line: int = Field(description="行号，从 1 起，空行不计。")
    client_ref: str | None = Field(description="该行可读时，调用方给它的名称。")
    problem: ProblemDetails


def batch_message(batch: Batch) -> BatchMessage:
    return BatchMessage(
        batch_id=batch.id,
        received=batch.received,
        refused=batch.refused + batch.failed,
        decided=batch.decided,
        pending=batch.pending,
        complete=batch.completed_at is not None,
        finished=batch.finished_at is not None,
        begun_at=rfc3339(batch.begun_at),
        completed_at=None if batch.completed_at is None else rfc3339(batch.completed_at),
        finished_at=None if batch.finished_at is None else rfc3339(batch.finished_at),
    )
