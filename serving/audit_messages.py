"""What auditors get: records, entries, proofs; the routes of audit and orders speak these shapes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from data.records import ReviewStatus
from serving.messages import Coded, DecisionMessage
from serving.review_messages import GivenJudgement


class AuditEntry(BaseModel):
    """审计日志中的一条。One leaf of the log."""

    index: int
    event: str = Field(examples=["order.decided"])
    event_name: str = Field(examples=["作出决定"])
    at: str
    actor: str
    actor_name: str | None
    facts: dict[str, Any] = Field(description="只含代码、整数和摘要；概率以百万分之一计（ppm）。")
    leaf_hash: str = Field(description="RFC 9162 叶子哈希，十六进制。")


class OrderEntries(BaseModel):
    order_id: str
    entries: list[AuditEntry]


class ExportedEntry(BaseModel):
    index: int
    leaf: str = Field(description="被哈希的原文（RFC 8785 规范 JSON）。The exact text that was hashed.")
    path: list[str] = Field(description="包含证明，十六进制，由近及远。")


class Export(BaseModel):
    """供离线核验：`python offline_verifier.py EXPORT.json --key PUBLIC.pem`，不需要本服务。"""

    origin: str
    checkpoint: str
    entries: list[ExportedEntry]


class CheckpointMessage(BaseModel):
    """已签名的检查点。A signed statement of the log's size and root (C2SP tlog-checkpoint)."""

    origin: str
    size: int
    root: str = Field(description="根哈希，十六进制。")
    note: str = Field(description="签名文本，请保存在系统之外。Keep a copy outside.")


class InclusionMessage(BaseModel):
    index: int
    size: int
    leaf_hash: str
    path: list[str]


class ConsistencyMessage(BaseModel):
    old: int
    new: int
    path: list[str]


class PublicKeyMessage(BaseModel):
    origin: str
    pem: str = Field(description="SubjectPublicKeyInfo PEM (RFC 8410).")
    verifier_key: str = Field(description="C2SP signed-note verifier key.")


class ProbabilitiesMessage(BaseModel):
    """全部校准概率与原始分值。Every calibrated probability and raw logit, in the taxonomy's order."""

    verdict: dict[str, float]
    kind: dict[str, float]
    subject: dict[str, float]
    flags: dict[str, float]
    logits: dict[str, list[float]]


class RecordedDecision(DecisionMessage):
    probabilities: ProbabilitiesMessage | None


class RecordedReview(BaseModel):
    id: str
    decision_id: str
    status: ReviewStatus
    status_name: str
    reasons: list[Coded]
    opened_at: str
    claimed_by: str | None
    first_judgement: GivenJudgement | None
    final_judgement: GivenJudgement | None
    change_reason: str | None
    resolved_at: str | None


class OrderRecord(BaseModel):
    """一件工单的全部记录；每次查阅都记入审计日志。Reading it is itself logged."""

    order_id: str
    source: str
    number: str
    revision: int
    channel: str | None
    region: str | None
    received_at: str
    received_by: str
    commitment: str = Field(description="对来件内容的带密钥承诺（HMAC-SHA256），十六进制。")
    erased_at: str | None
    title: str | None = Field(description="内容已清除时为空。")
    content: str | None
    decisions: list[RecordedDecision] = Field(description="由旧到新，最后一个有效。")
    reviews: list[RecordedReview]
    entries: list[AuditEntry]
