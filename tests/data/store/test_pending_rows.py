"""Rows that are written together are the rows that would have been written one by one."""

from __future__ import annotations

import hashlib

import pytest
import rfc8785
from sqlalchemy import func, select

from data.store import audit_log, orders
from data.store.pending_rows import PendingRows, pending_rows
from data.store.tables import order_texts, to_millis
from data.store.tables import orders as order_rows
from tests.data.store.stories import INTAKE, NOW, VAULT, an_order


def count(conn, table) -> int:
    return conn.execute(select(func.count()).select_from(table)).scalar_one()


def test_nothing_is_written_before_the_end(connection):
    with pending_rows(connection) as rows:
        for _ in range(3):
            orders.put(rows, VAULT, an_order(), INTAKE, None)
        assert (count(connection, order_rows), audit_log.size(connection)) == (0, 0)
    assert (count(connection, order_rows), count(connection, order_texts)) == (3, 3)
    assert audit_log.size(connection) == 3


def test_a_block_that_fails_writes_nothing(connection):
    def broken() -> None:
        with pending_rows(connection) as rows:
            orders.put(rows, VAULT, an_order(), INTAKE, None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert (count(connection, order_rows), audit_log.size(connection)) == (0, 0)


@pytest.mark.parametrize("sizes", [[1] * 9, [9], [4, 5], [3, 1, 5], [8, 1]])
def test_leaves_that_come_in_groups_make_the_same_tree(connection, sizes):
    for size in sizes:
        rows = PendingRows(connection)
        for _ in range(size):
            rows.leaf("record.read", "order", INTAKE, NOW, {})
        rows.write()
    assert audit_log.size(connection) == 9
    assert audit_log.root(connection, 9).hex() == root_over(9)


def root_over(size: int) -> str:
    """The root as RFC 9162 defines it, from the leaves' bytes alone."""

    def leaf(index: int) -> bytes:
        content = {
            "v": audit_log.LEAF_VERSION,
            "index": index,
            "event": "record.read",
            "subject": "order",
            "actor": INTAKE,
            "at": to_millis(NOW),
            "facts": {},
        }
        return hashlib.sha256(b"\0" + rfc8785.dumps(content)).digest()

    def root(hashes: list[bytes]) -> bytes:
        if len(hashes) == 1:
            return hashes[0]
        half = 1
        while half * 2 < len(hashes):
            half *= 2
        return hashlib.sha256(b"\1" + root(hashes[:half]) + root(hashes[half:])).digest()

    return root([leaf(index) for index in range(size)]).hex()
