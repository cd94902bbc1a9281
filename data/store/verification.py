"""Re-checks the whole audit log: tree, checkpoints and the rows it tells of; called by `verify-audit`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, Row, select

from data.errors import BadInput
from data.store import audit_log, checkpoints, merkle
from data.store.tables import audit_checkpoints, audit_leaves, audit_nodes, to_millis
from data.store.testimony import Finding, Testimony

BATCH = 1000
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked and what did not agree; `root` is None where leaves are missing.

    It cannot find what no checkpoint held elsewhere covers: who can write the database and sign can
    also write another history (`held` is what stands against that).
    """

    size: int
    root: bytes | None
    checkpoints: int
    orders: int
    decisions: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        return not self.findings


def verify_log(
    conn: Connection, public_key: Ed25519PublicKey, origin: str, held: Sequence[str] = ()
) -> Report:
    """Hashes every leaf again and compares everything with everything, inside one `Database.reading()`.

    `held` are checkpoint notes kept outside: this log must still begin with what they signed.
    """
    testimony = Testimony()
    findings: list[Finding] = []
    signed = list(_checkpoints(conn, public_key, origin, held, findings))
    size, roots = _rebuild(conn, {checkpoint.size for checkpoint in signed}, testimony, findings)
    for checkpoint in signed:
        where = str(checkpoint.size)
        if checkpoint.size > size:
            findings.append(Finding("log_rolled_back", where, "日志比已签署的检查点短，已被回退。"))
        elif roots.get(checkpoint.size) != checkpoint.root:
            findings.append(Finding("checkpoint_root", where, "日志与检查点签署的根哈希不符。"))
    findings.extend(testimony.contradictions(conn))
    return Report(
        size=size,
        root=roots.get(size),
        checkpoints=len(signed),
        orders=len(testimony.received),
        decisions=len(testimony.decided),
        findings=tuple(findings),
    )


def _rebuild(
    conn: Connection, wanted: set[int], testimony: Testimony, findings: list[Finding]
) -> tuple[int, dict[int, bytes]]:
    """The log's size, and its root at each wanted size and at the end, from the leaves alone."""
    frontier = merkle.Frontier()
    roots = {0: frontier.root()}
    nodes = _StoredNodes(conn, findings)
    size, whole = 0, True
    query = select(audit_leaves).order_by(audit_leaves.c.leaf_index)
    for row in conn.execute(query.execution_options(yield_per=BATCH)):
        if row.leaf_index != size:
            findings.append(Finding("leaf_missing", f"{size}..{row.leaf_index - 1}", "日志条目缺失。"))
            whole = False
        size = row.leaf_index + 1
        if not _heard(row, testimony):
            findings.append(Finding("leaf_unreadable", str(row.leaf_index), "日志条目的内容与其索引列不符。"))
        # Past a gap every hash differs: saying so of each would bury what matters.
        if whole:
            for level, position, digest in frontier.append(merkle.leaf_hash(row.leaf)):
                nodes.compare(level, position, digest)
            if size in wanted:
                roots[size] = frontier.root()
    if whole:
        nodes.finish()
        roots[size] = frontier.root()
    nodes.close()
    return size, roots


def _heard(row: Row[*tuple[Any, ...]], testimony: Testimony) -> bool:
    """Whether the leaf is canonical JSON that says what its columns say; if so the testimony has it."""
    try:
        entry = audit_log.read(row.leaf)
        content = {
            "v": audit_log.LEAF_VERSION,
            "index": row.leaf_index,
            "event": row.event,
            "subject": row.subject,
            "actor": row.actor,
            "at": to_millis(row.at),
            "facts": entry.facts,
        }
        if entry.event not in audit_log.EVENTS or rfc8785.dumps(content) != row.leaf:
            return False
        testimony.hear(entry)
    except UNREADABLE:
        return False
    return True


def _checkpoints(
    conn: Connection,
    public_key: Ed25519PublicKey,
    origin: str,
    held: Sequence[str],
    findings: list[Finding],
) -> Iterator[checkpoints.Checkpoint]:
    """The checkpoints, stored and held, whose signature is good."""
    for number, row in enumerate(
        conn.execute(select(audit_checkpoints).order_by(audit_checkpoints.c.id)), start=1
    ):
        try:
            checkpoint = checkpoints.verify(row.note, public_key, origin)
        except BadInput as error:
            findings.append(Finding(error.code, str(row.id), error.detail))
            continue
        if (row.id, row.size, row.root) != (number, checkpoint.size, checkpoint.root):
            findings.append(Finding("checkpoint_changed", str(row.id), "检查点的签署内容与其索引列不符。"))
        yield checkpoint
    for number, note in enumerate(held, start=1):
        try:
            yield checkpoints.verify(note, public_key, origin)
        except BadInput as error:
            findings.append(Finding(error.code, f"held {number}", error.detail))


class _StoredNodes:
    """Walks the stored subtree hashes in the order in which appending completes them."""

    def __init__(self, conn: Connection, findings: list[Finding]) -> None:
        completed_at = (audit_nodes.c.position + 1).bitwise_lshift(audit_nodes.c.level)
        query = select(audit_nodes).order_by(completed_at, audit_nodes.c.level)
        self._rows = conn.execute(query.execution_options(yield_per=BATCH))
        self._row = self._rows.fetchone()
        self._findings = findings

    def compare(self, level: int, position: int, digest: bytes) -> None:
        place = _completion(level, position)
        self._skip_before(place)
        row = self._row
        if row is None or _completion(row.level, row.position) != place:
            self._find("node_missing", level, position, "哈希树节点缺失。")
            return
        if row.hash != digest:
            code = "node_changed" if level else "leaf_changed"
            self._find(code, level, position, "日志条目或哈希树节点被改动。")
        self._row = self._rows.fetchone()

    def finish(self) -> None:
        self._skip_before(None)

    def close(self) -> None:
        self._rows.close()

    def _skip_before(self, place: tuple[int, int] | None) -> None:
        while self._row is not None:
            if place is not None and _completion(self._row.level, self._row.position) >= place:
                return
            self._find(
                "node_unexplained", self._row.level, self._row.position, "哈希树节点没有对应的日志条目。"
            )
            self._row = self._rows.fetchone()

    def _find(self, code: str, level: int, position: int, detail: str) -> None:
        self._findings.append(Finding(code, str(position) if level == 0 else f"{level}/{position}", detail))


def _completion(level: int, position: int) -> tuple[int, int]:
    return (position + 1) << level, level
