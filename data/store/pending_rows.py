"""Collects what one transaction will insert, so that many orders cost as few statements as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Table, insert

from data.store import audit_log
from data.store.tables import metadata

_REFERENCED_FIRST: Final = metadata.sorted_tables  # sorted at each call, it took a twentieth of a commit


class PendingRows:
    """Rows and audit leaves of one open transaction; `conn` reads what was there before them.

    Rows are written table by table, referenced tables first, one statement each. A change that must find
    them in the database calls `write` before it.
    """

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self._rows: dict[Table, list[dict[str, Any]]] = defaultdict(list)
        self._tail = audit_log.Tail(conn)

    def add(self, table: Table, **values: Any) -> None:
        """One row; every row of a table must name the same columns."""
        self._rows[table].append(values)

    def leaf(
        self, event: audit_log.Event, subject: str, actor: str, at: datetime, facts: audit_log.Facts
    ) -> int:
        """See `audit_log.append`."""
        return self._tail.append(event, subject, actor, at, facts)

    def write(self) -> None:
        for table in _REFERENCED_FIRST:
            if rows := self._rows.pop(table, None):
                self.conn.execute(insert(table), rows)
        self._tail.write()


@contextmanager
def pending_rows(conn: Connection) -> Iterator[PendingRows]:
    """Rows that are written when the block ends well; inside `Database.transaction()`."""
    rows = PendingRows(conn)
    yield rows
    rows.write()
