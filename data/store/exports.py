"""What an outsider gets to check one order with `offline_verifier.py`; called by the audit routes."""

from __future__ import annotations

from sqlalchemy import Connection

from data.errors import NotFound
from data.store import audit_log
from data.store.checkpoints import Checkpoint


def order_story(conn: Connection, order_id: str, origin: str, checkpoint: Checkpoint) -> dict[str, object]:
    """JSON-ready: every leaf of one order inside the checkpoint, each with its inclusion path.

    `leaf` is the exact text that was hashed (ASCII), `path` lower-case hex digests, nearest first.

    Raises:
        NotFound: `order_not_found`: the log says nothing of it.
    """
    entries = [entry for entry in audit_log.entries(conn, order_id) if entry.index < checkpoint.size]
    if not entries:
        raise NotFound("order_not_found", "审计日志中没有该工单。")
    return {
        "origin": origin,
        "checkpoint": checkpoint.note,
        "entries": [
            {
                "index": entry.index,
                "leaf": entry.leaf.decode("ascii"),
                "path": [node.hex() for node in audit_log.inclusion(conn, entry.index, checkpoint.size).path],
            }
            for entry in entries
        ],
    }
