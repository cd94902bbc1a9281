"""Uploads of many orders: what was received, what became of each line; called by the batch routes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select, update

from data.errors import Conflict, NotFound
from data.records import Decision, OrderHeader
from data.store import audit_log
from data.store.decisions import DECISION
from data.store.tables import batch_keys, batch_lines, batch_queue, batches, decisions, orders, reviews

EMPTY_CHAIN = bytes(32)

_COUNTS = (batches.c.received, batches.c.refused, batches.c.failed, batches.c.decided)
_HEADER = [orders.c[field.name].label(f"order_{field.name}") for field in fields(OrderHeader)]


@dataclass(frozen=True, slots=True)
class Batch:
    """How far one upload has come: `completed_at` when its last line came, `finished_at` when all was done.

    `refused` lines could not be read as orders, `failed` ones could, and not be kept.
    """

    id: str
    caller_id: str
    begun_at: datetime
    changed_at: datetime
    completed_at: datetime | None
    finished_at: datetime | None
    received: int
    refused: int
    failed: int
    decided: int

    @property
    def pending(self) -> int:
        return self.received - self.refused - self.failed - self.decided


@dataclass(frozen=True, slots=True)
class NewLine:
    """A line as it is kept: `sealed` with its order's `name`, or refused for a `problem` (JSON)."""

    line: int
    digest: bytes
    client_ref: str | None
    sealed: bytes = b""
    name: bytes = b""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class DecidedLine:
    """A line's order and the decision that the line got."""

    line: int
    client_ref: str | None
    order: OrderHeader
    decision_id: str
    decision: Decision
    review_id: str | None


@dataclass(frozen=True, slots=True)
class RefusedLine:
    line: int
    client_ref: str | None
    problem: str


def create(conn: Connection, batch_id: str, wrapped: bytes, caller_id: str, key: str, at: datetime) -> None:
    """Makes an empty batch under a caller's key.

    Raises:
        Conflict: `batch_in_progress`: another upload has just made it.
    """
    if find(conn, caller_id, key) is not None:
        raise _in_progress()
    counts = dict.fromkeys((column.name for column in _COUNTS), 0)
    conn.execute(
        insert(batches).values(
            id=batch_id, caller_id=caller_id, key=key, begun_at=at, changed_at=at, chain=EMPTY_CHAIN, **counts
        )
    )
    conn.execute(insert(batch_keys).values(batch_id=batch_id, wrapped=wrapped))


def append(conn: Connection, batch_id: str, lines: Sequence[NewLine], at: datetime) -> None:
    """Keeps the next lines of a batch, one or more, numbered without a gap.

    Raises:
        Conflict: `batch_in_progress`: another upload has gone on meanwhile; `batch_closed`.
    """
    wrapped_key(conn, batch_id)  # it may have been forgotten meanwhile, and could never be opened
    row = conn.execute(select(batches).where(batches.c.id == batch_id)).one()
    if row.completed_at is not None or lines[0].line != row.received + 1:
        raise _in_progress()
    waiting = [line for line in lines if line.problem is None]
    conn.execute(insert(batch_lines), [_row(batch_id, line) for line in lines])
    if waiting:
        conn.execute(insert(batch_queue), [_queued(batch_id, line, at) for line in waiting])
    conn.execute(
        update(batches)
        .where(batches.c.id == batch_id)
        .values(
            received=row.received + len(lines),
            refused=row.refused + len(lines) - len(waiting),
            chain=chained(row.chain, (line.digest for line in lines)),
            changed_at=at,
        )
    )


def complete(conn: Connection, batch_id: str, received: int, actor: str, at: datetime) -> Batch:
    """Says that the batch has no further lines. Leaf: batch.received.

    Raises:
        Conflict: `batch_in_progress`: another upload has gone on meanwhile.
    """
    row = conn.execute(select(batches).where(batches.c.id == batch_id)).one()
    if row.completed_at is not None or row.received != received:
        raise _in_progress()
    conn.execute(update(batches).where(batches.c.id == batch_id).values(completed_at=at, changed_at=at))
    finish_if_done(conn, batch_id, at)
    facts: audit_log.Facts = {"lines": row.received, "refused": row.refused, "digest": row.chain.hex()}
    audit_log.append(conn, "batch.received", batch_id, actor, at, facts)
    return get(conn, batch_id)


def finish_if_done(conn: Connection, batch_id: str, at: datetime) -> None:
    """Notes the time when the upload is complete and no line waits."""
    done = (batches.c.id == batch_id) & batches.c.completed_at.is_not(None) & _nothing_pending()
    conn.execute(update(batches).where(done).values(finished_at=at))


def forget(conn: Connection, before: datetime) -> int:
    """Deletes the keys of batches in which nothing waits and nothing happened since; returns how many.

    No upload can be compared with them any more, and what is stored of their lines can be linked to nothing.
    """
    done = select(batches.c.id).where(_nothing_pending(), batches.c.changed_at < before)
    return conn.execute(delete(batch_keys).where(batch_keys.c.batch_id.in_(done))).rowcount


def find(conn: Connection, caller_id: str, key: str) -> Batch | None:
    """The batch that a caller has under a key."""
    found = list(listed(conn, caller_id, key, None, 1))
    return found[0] if found else None


def get(conn: Connection, batch_id: str) -> Batch:
    """Raises:
    NotFound: `batch_not_found`.
    """
    row = conn.execute(_batches().where(batches.c.id == batch_id)).one_or_none()
    if row is None:
        raise NotFound("batch_not_found", "没有找到该批次。")
    return Batch(*row)


def listed(
    conn: Connection, caller_id: str | None, key: str | None, after: str | None, limit: int
) -> Iterator[Batch]:
    """A page of batches, newest first, beginning behind the id `after`; of one caller or key, or of all."""
    query = _batches().order_by(batches.c.id.desc()).limit(limit)
    if caller_id is not None:
        query = query.where(batches.c.caller_id == caller_id)
    if key is not None:
        query = query.where(batches.c.key == key)
    if after is not None:
        query = query.where(batches.c.id < after)
    return (Batch(*row) for row in conn.execute(query))


def wrapped_key(conn: Connection, batch_id: str) -> bytes:
    """Raises:
    Conflict: `batch_closed`: it has been forgotten.
    """
    query = select(batch_keys.c.wrapped).where(batch_keys.c.batch_id == batch_id)
    wrapped: bytes | None = conn.execute(query).scalar_one_or_none()
    if wrapped is None:
        raise Conflict("batch_closed", "该批次已过保留期限，不能续传；结果仍可查询。")
    return wrapped


def digests(conn: Connection, batch_id: str, first: int, last: int) -> list[bytes]:
    """The digests of the lines from `first` to `last`, in order."""
    c = batch_lines.c
    query = select(c.digest).where(c.batch_id == batch_id, c.line.between(first, last)).order_by(c.line)
    return list(conn.execute(query).scalars())


def done_until(conn: Connection, batch: Batch) -> int:
    """The last line before the first one that waits: up to it nothing will change any more."""
    first = select(func.min(batch_queue.c.line)).where(batch_queue.c.batch_id == batch.id)
    waiting = conn.execute(first).scalar_one()
    return batch.received if waiting is None else int(waiting) - 1


def results(conn: Connection, batch_id: str, after: int, until: int) -> Iterator[DecidedLine | RefusedLine]:
    """What became of the lines behind `after` and up to `until`, which are done, in order."""
    c = batch_lines.c
    query = (
        select(
            c.line,
            c.client_ref,
            c.problem,
            c.decision_id,
            decisions.c.body,
            reviews.c.id.label("review_id"),
            *_HEADER,
        )
        .outerjoin(decisions, decisions.c.id == c.decision_id)
        .outerjoin(orders, orders.c.id == decisions.c.order_id)
        .outerjoin(reviews, reviews.c.decision_id == decisions.c.id)
        .where(c.batch_id == batch_id, c.line > after, c.line <= until)
        .order_by(c.line)
    )
    for row in conn.execute(query):
        if row.problem is not None:
            yield RefusedLine(row.line, row.client_ref, row.problem)
            continue
        header = OrderHeader(*row[-len(_HEADER) :])
        decision = DECISION.validate_json(row.body)
        yield DecidedLine(row.line, row.client_ref, header, row.decision_id, decision, row.review_id)


def pending(conn: Connection) -> int:
    """Lines that wait, of all batches."""
    received, *done = (func.coalesce(func.sum(column), 0) for column in _COUNTS)
    return int(conn.execute(select(received - sum(done)).where(batches.c.finished_at.is_(None))).scalar_one())


def chained(chain: bytes, digests: Iterable[bytes]) -> bytes:
    """The chain over all lines up to now: each link is the SHA-256 of the one before and the next digest."""
    for digest in digests:
        chain = hashlib.sha256(chain + digest).digest()
    return chain


def _batches() -> Select[*tuple[Any, ...]]:
    return select(*(batches.c[field.name] for field in fields(Batch)))


def _nothing_pending() -> ColumnElement[bool]:
    return batches.c.received == batches.c.refused + batches.c.failed + batches.c.decided


def _row(batch_id: str, line: NewLine) -> dict[str, object]:
    return {
        "batch_id": batch_id,
        "line": line.line,
        "client_ref": line.client_ref,
        "digest": line.digest,
        "state": "pending" if line.problem is None else "refused",
        "problem": line.problem,
    }


def _queued(batch_id: str, line: NewLine, at: datetime) -> dict[str, object]:
    return {
        "batch_id": batch_id,
        "line": line.line,
        "name": line.name,
        "received_at": at,
        "sealed": line.sealed,
    }


def _in_progress() -> Conflict:
    return Conflict("batch_in_progress", "同一批次正在由另一个请求上传，请稍后续传。")
