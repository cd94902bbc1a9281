"""`/v1/audit`: auditors read the log of an order and take the proofs away."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from data.records import Caller
from data.store import audit_log, checkpoints
from serving import auditing
from serving.access import Allow
from serving.audit_messages import (
    CheckpointMessage,
    ConsistencyMessage,
    Export,
    InclusionMessage,
    OrderEntries,
    PublicKeyMessage,
)
from serving.desk import DeskDep
from serving.routes.parameters import Absent, OrderId, TreeNumber

router = APIRouter(prefix="/v1/audit", tags=["audit 审计"])

Auditor = Annotated[Caller, Depends(Allow("auditor", "admin"))]


@router.get("/orders/{order_id}", response_model=OrderEntries, summary="一件工单的审计条目")
def get_order_entries(order_id: OrderId, desk: DeskDep, _: Auditor) -> OrderEntries:
    """收到、决定、领取、初判、办结、查阅等条目，由旧到新；工单内容清除后仍在。"""
    with desk.database.reading() as conn:
        entries = auditing.entries_of(conn, order_id)
        known = auditing.names(conn)
    return OrderEntries(
        order_id=order_id, entries=[auditing.entry_message(entry, known) for entry in entries]
    )


@router.get("/orders/{order_id}/export", response_model=Export, summary="导出供离线核验 Export")
def get_export(order_id: OrderId, desk: DeskDep, _: Auditor) -> dict[str, object]:
    """条目原文、包含证明和签名检查点；离线核验程序只需要它和公钥。"""
    with desk.database.transaction() as conn:
        return auditing.export(conn, desk, order_id)


@router.get("/checkpoint", response_model=CheckpointMessage, summary="签名检查点 Checkpoint")
def get_checkpoint(desk: DeskDep, _: Auditor) -> CheckpointMessage:
    with desk.database.transaction() as conn:
        checkpoint = auditing.current_checkpoint(conn, desk)
    return CheckpointMessage(
        origin=desk.settings.log_origin,
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        note=checkpoint.note,
    )


@router.get("/inclusion", response_model=InclusionMessage, summary="包含证明 Inclusion proof")
def get_inclusion(
    index: TreeNumber, desk: DeskDep, _: Auditor, size: TreeNumber | Absent = None
) -> InclusionMessage:
    """RFC 9162 §2.1.3。`size` 缺省为当前大小。"""
    with desk.database.reading() as conn:
        proof = audit_log.inclusion(conn, index, audit_log.size(conn) if size is None else size)
    return InclusionMessage(
        index=proof.index,
        size=proof.size,
        leaf_hash=proof.leaf_hash.hex(),
        path=[node.hex() for node in proof.path],
    )


@router.get("/consistency", response_model=ConsistencyMessage, summary="一致性证明 Consistency proof")
def get_consistency(
    old: TreeNumber, desk: DeskDep, _: Auditor, new: TreeNumber | Absent = None
) -> ConsistencyMessage:
    """RFC 9162 §2.1.4：新日志只在旧日志之后追加。`new` 缺省为当前大小。"""
    with desk.database.reading() as conn:
        newest = audit_log.size(conn) if new is None else new
        path = audit_log.consistency(conn, old, newest)
    return ConsistencyMessage(old=old, new=newest, path=[node.hex() for node in path])


@router.get("/public-key", response_model=PublicKeyMessage, summary="审计公钥 Public key")
def get_public_key(desk: DeskDep, _: Auditor) -> PublicKeyMessage:
    """请从系统之外的途径核对一次；此后用它核验每个检查点。"""
    origin = desk.settings.log_origin
    return PublicKeyMessage(
        origin=origin,
        pem=desk.keyring.audit_public_pem,
        verifier_key=checkpoints.verifier_key(origin, desk.keyring.audit_public),
    )
