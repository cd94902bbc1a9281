"""`/v1/model`: which model, rules and thresholds answer now, for anyone with a key."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from data.records import Caller, FallbackReason
from data.store.credentials import ROLES
from serving.access import Allow
from serving.desk import DeskDep
from serving.messages import ThresholdsMessage, VersionsMessage

router = APIRouter(prefix="/v1", tags=["model 模型"])

_CARD_LINES: Final = 40


class ModelMessage(BaseModel):
    """现在作答的模型与规则。`ready` 为假时由规则代答，`missing` 说明原因。"""

    ready: bool
    missing: FallbackReason | None
    name: str | None
    runtime: str | None = Field(description="运行模型的推理引擎及其版本。")
    card: str | None = Field(description="模型说明的开头部分（Markdown）。")
    thresholds: ThresholdsMessage
    certificate: dict[str, Any] | None = Field(description="阈值的统计凭证。")
    auto_decline: bool = Field(description="是否允许不经人直接建议不予受理。")
    versions: VersionsMessage


@router.get("/model", response_model=ModelMessage, summary="现行模型 The model in force")
def get_model(desk: DeskDep, _: Annotated[Caller, Depends(Allow(*ROLES))]) -> ModelMessage:
    triage, bundle = desk.triage, desk.triage.bundle
    versions = triage.versions
    thresholds = triage.thresholds
    return ModelMessage(
        ready=triage.ready,
        missing=triage.missing,
        name=None if bundle is None else bundle.name,
        runtime=triage.runtime,
        card=None if bundle is None else "\n".join(bundle.card.splitlines()[:_CARD_LINES]),
        thresholds=ThresholdsMessage(
            decline=thresholds.decline, dispatch=thresholds.dispatch, base_rate=thresholds.base_rate
        ),
        certificate=None if bundle is None else dict(bundle.certificate),
        auto_decline=desk.settings.auto_decline,
        versions=VersionsMessage(
            bundle=versions.bundle,
            rules=versions.rules,
            taxonomy=versions.taxonomy,
            canonical=versions.canonical,
            masking=versions.masking,
            certificate=versions.certificate,
        ),
    )
