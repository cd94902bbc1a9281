"""Answers by caller and Idempotency-Key, so that a repeated request changes nothing; around every POST."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from data.errors import BadInput, Conflict
from data.store.pending_rows import PendingRows
from data.store.tables import idempotency

_ANSWERED: Final = select(idempotency).where(
    tuple_(idempotency.c.caller_id, idempotency.c.key).in_(bindparam("names", expanding=True)),
    idempotency.c.status.is_not(None),
)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer as it was first given, byte for byte, and the hash of the request that it answers."""

    request_hash: str
    status: int
    headers: Mapping[str, str]
    body: bytes


def start(conn: Connection, caller_id: str, key: str, request_hash: str, at: datetime) -> StoredAnswer | None:
    """None when this is the first such request and should be done; otherwise the answer it had.

    The mark is part of the caller's transaction: a request that fails leaves none, and may be repeated.

    Raises:
        BadInput: `idempotency_mismatch`: the same key came with another request.
        Conflict: `idempotency_running`: the first request has no answer yet.
    """
    dialect = postgresql if conn.dialect.name == "postgresql" else sqlite
    mark = dialect.insert(idempotency).values(
        caller_id=caller_id, key=key, request_hash=request_hash, started_at=at
    )
    # Not by the row count, which the drivers do not report alike for an insert.
    made = conn.execute(mark.on_conflict_do_nothing().returning(idempotency.c.key)).first()
    if made is not None:
        return None
    mine = (idempotency.c.caller_id == caller_id) & (idempotency.c.key == key)
    row = conn.execute(select(idempotency).where(mine)).one()
    if row.request_hash != request_hash:
        raise BadInput("idempotency_mismatch", "同一幂等键已用于不同的请求。")
    if row.status is None:
        raise Conflict("idempotency_running", "同一幂等键的请求正在处理，请稍后再试。")
    return _stored(row)


def finish(
    conn: Connection, caller_id: str, key: str, status: int, body: bytes, headers: Mapping[str, str]
) -> None:
    """Keeps the answer of a request that `start` let through."""
    conn.execute(
        update(idempotency)
        .where(idempotency.c.caller_id == caller_id, idempotency.c.key == key)
        .values(status=status, headers=json.dumps(dict(headers)), body=body)
    )


def answers(conn: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], StoredAnswer]:
    """The answers that requests under these (caller id, key) were given; absent: none was made."""
    found = conn.execute(_ANSWERED, {"names": list(keys)})
    return {(row.caller_id, row.key): _stored(row) for row in found}


def put(rows: PendingRows, caller_id: str, key: str, answer: StoredAnswer, at: datetime) -> None:
    """Keeps the answer of a request that is made and answered in one transaction."""
    rows.add(
        idempotency,
        caller_id=caller_id,
        key=key,
        request_hash=answer.request_hash,
        started_at=at,
        status=answer.status,
        headers=json.dumps(dict(answer.headers)),
        body=answer.body,
    )


def prune(conn: Connection, before: datetime) -> int:
    """Forgets the answers to requests started before that time; returns how many."""
    return conn.execute(delete(idempotency).where(idempotency.c.started_at < before)).rowcount


def _stored(row: Row[*tuple[Any, ...]]) -> StoredAnswer:
    return StoredAnswer(row.request_hash, row.status, json.loads(row.headers), row.body)
