"""Lines of batches that wait to be decided: taken on a lease, then settled; called by the batch worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, bindparam, delete, or_, select, update

from data.store import batches as all_batches
from data.store.tables import batch_keys, batch_lines, batch_queue, batches


@dataclass(frozen=True, slots=True)
class WaitingLine:
    line: int
    received_at: datetime
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """Lines of one batch that one worker has for the time of its lease, in order."""

    batch_id: str
    caller_id: str
    wrapped: bytes
    lines: tuple[WaitingLine, ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a line: a decision's id, or a problem (JSON)."""

    line: int
    decision_id: str | None = None
    problem: str | None = None


def any_free(conn: Connection, now: datetime) -> bool:
    return conn.execute(_first_free(now)).first() is not None


def claim(conn: Connection, holder: str, now: datetime, until: datetime, most: int) -> Claim | None:
    """Takes the next lines that nobody holds, of the oldest batch that has some; None when none has.

    What a holder did not settle until its lease ran out is free again.
    """
    batch_id = conn.execute(_first_free(now)).scalar_one_or_none()
    if batch_id is None:
        return None
    c = batch_queue.c
    free = select(c.line, c.received_at, c.sealed).where(c.batch_id == batch_id, _free(now))
    lines = tuple(WaitingLine(*row) for row in conn.execute(free.order_by(c.line).limit(most)))
    _lease(conn, batch_id, [line.line for line in lines], holder, until)
    head = select(batches.c.caller_id, batch_keys.c.wrapped).join(batch_keys).where(batches.c.id == batch_id)
    caller_id, wrapped = conn.execute(head).one()
    return Claim(batch_id, caller_id, wrapped, lines)


def renew(conn: Connection, holder: str, until: datetime) -> None:
    """Keeps all that the holder has for longer."""
    conn.execute(update(batch_queue).where(batch_queue.c.holder == holder).values(lease_until=until))


def release(conn: Connection, holder: str) -> None:
    """Gives back all that the holder has."""
    freed = {"holder": None, "lease_until": None}
    conn.execute(update(batch_queue).where(batch_queue.c.holder == holder).values(freed))


def in_turn(
    conn: Connection, holder: str, batch_id: str, lines: Sequence[int], again_at: datetime
) -> frozenset[int]:
    """Those of the lines that the holder still has and that may be kept now.

    Revisions of one order are kept in the order in which they came: while an earlier line about the same
    order waits, a later one is put back until `again_at`.
    """
    c = batch_queue.c
    query = select(c.line, c.name, c.holder).where(c.batch_id == batch_id, c.line <= max(lines))
    wanted, waiting = frozenset(lines), set[bytes]()
    now, later = set[int](), []
    for row in conn.execute(query.order_by(c.line)):
        held = row.line in wanted and row.holder == holder
        if held and row.name not in waiting:
            now.add(row.line)
            continue
        waiting.add(row.name)
        if held:
            later.append(row.line)
    if later:
        _lease(conn, batch_id, later, None, again_at)
    return frozenset(now)


def settle(conn: Connection, batch_id: str, settled: Sequence[Settled], at: datetime) -> None:
    """Notes what became of lines, one or more, and deletes their text."""
    lines = [done.line for done in settled]
    conn.execute(
        update(batch_lines)
        .where(batch_lines.c.batch_id == batch_id, batch_lines.c.line == bindparam("of_line"))
        .values(
            state=bindparam("new_state"), decision_id=bindparam("decision"), problem=bindparam("what_failed")
        ),
        [
            {
                "of_line": done.line,
                "new_state": "decided" if done.problem is None else "failed",
                "decision": done.decision_id,
                "what_failed": done.problem,
            }
            for done in settled
        ],
    )
    conn.execute(delete(batch_queue).where(batch_queue.c.batch_id == batch_id, batch_queue.c.line.in_(lines)))
    failed = sum(done.problem is not None for done in settled)
    conn.execute(
        update(batches)
        .where(batches.c.id == batch_id)
        .values(
            decided=batches.c.decided + len(settled) - failed, failed=batches.c.failed + failed, changed_at=at
        )
    )
    all_batches.finish_if_done(conn, batch_id, at)


def _lease(
    conn: Connection, batch_id: str, lines: Sequence[int], holder: str | None, until: datetime
) -> None:
    mine = (batch_queue.c.batch_id == batch_id) & batch_queue.c.line.in_(lines)
    conn.execute(update(batch_queue).where(mine).values(holder=holder, lease_until=until))


def _first_free(now: datetime) -> Select[str]:
    c = batch_queue.c
    return select(c.batch_id).where(_free(now)).order_by(c.batch_id, c.line).limit(1)


def _free(now: datetime) -> ColumnElement[bool]:
    until = batch_queue.c.lease_until
    return or_(until.is_(None), until <= now)
