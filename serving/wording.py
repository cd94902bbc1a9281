"""The Chinese names of what the taxonomy does not name (dispositions, states, reasons, events), for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

VERDICTS: Final[Mapping[str, str]] = {"reasonable": "合理", "unreasonable": "不合理"}
DISPOSITIONS: Final[Mapping[str, str]] = {
    "dispatch": "派单办理",
    "explain": "解释说明",
    "transfer": "立即转接",
    "ask_again": "追问一次",
    "review": "人工复核",
}
DISPOSITION_MEANINGS: Final[Mapping[str, str]] = {
    "dispatch": "受理，派给承办单位",
    "explain": "建议不予受理，说明理由、依据、合法途径和申诉办法",
    "transfer": "转110、119、120、12356等，不等待",
    "ask_again": "内容不清，先问清一个问题",
    "review": "由人决定",
}
SOURCES: Final[Mapping[str, str]] = {"model": "模型", "rules": "规则", "person": "人工"}
FALLBACKS: Final[Mapping[str, str]] = {
    "model_missing": "没有模型",
    "model_corrupt": "模型文件校验不符",
    "model_slow": "模型超时",
    "model_nonfinite": "模型输出非有限值",
    "model_error": "模型出错",
}
REASONS: Final[Mapping[str, str]] = {
    "urgent": "紧急：涉及人身安全",
    "protective_flag": "含保护性标记",
    "adverse_needs_person": "不利结论须经人确认",
    "ground_needs_person": "该理由不能仅凭来件认定",
    "uncertain": "模型没有把握",
    "no_certificate": "没有有效的自动化凭证",
    "degraded": "模型未作答，由规则代答",
    "truncated": "文本过长，未读完",
}
# Reasons that say nothing of what the model concluded: only these may be seen before the blind judgement.
# `protective_flag` is not among them: it is given only where the conclusion was adverse.
BLIND_REASONS: Final = frozenset({"urgent", "no_certificate", "degraded", "truncated"})
STATUSES: Final[Mapping[str, str]] = {
    "open": "待领取",
    "claimed": "已领取",
    "judged": "已初判",
    "resolved": "已办结",
    "superseded": "已被新版本取代",
}
FIELDS: Final[Mapping[str, str]] = {"title": "标题", "content": "正文"}
EFFECTS: Final[Mapping[str, str]] = {
    "protect": "保护",
    "transfer": "转接",
    "route": "去向",
    "suggest": "提示",
}
EVENTS: Final[Mapping[str, str]] = {
    "order.received": "收到工单",
    "order.decided": "作出决定",
    "order.superseded": "被新版本取代",
    "order.erased": "内容已清除",
    "review.opened": "转人工复核",
    "review.claimed": "领取",
    "review.released": "退回",
    "review.judged": "独立初判",
    "review.resolved": "办结",
    "record.read": "查阅记录",
    "key.issued": "签发密钥",
    "key.revoked": "吊销密钥",
    "model.promoted": "启用模型",
    "model.rolled_back": "退回模型",
    "batch.received": "收到批次",
}
ROLES: Final[Mapping[str, str]] = {
    "intake": "话务接入",
    "unit": "承办单位",
    "reviewer": "复核员",
    "adjudicator": "裁定员",
    "auditor": "审计员",
    "data": "数据员",
    "admin": "管理员",
}
