"""What is sealed can be read with the key, moved nowhere, and erased for good."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from data.errors import NotFound, Unavailable
from data.store import orders, vault
from data.store.database import Database
from data.store.pending_rows import pending_rows
from data.store.tables import order_keys, order_texts
from tests.data.store.stories import INTAKE, ORDER, VAULT, an_order


def test_each_payload_has_its_own_key_and_commitment():
    first, second = (vault.seal(VAULT, "order", b"text") for _ in range(2))
    assert first.ciphertext != second.ciphertext
    assert first.wrapped != second.wrapped
    assert first.commitment != second.commitment
    assert b"text" not in first.ciphertext


def test_neither_text_nor_key_can_be_moved_to_another_order(connection):
    a, b = an_order(), an_order(content="另一件事")
    for order in (a, b):
        orders.add(connection, VAULT, order, INTAKE)
    for table, column in ((order_texts, "ciphertext"), (order_keys, "wrapped")):
        stolen = connection.execute(select(table.c[column]).where(table.c.order_id == a.id)).scalar_one()
        connection.execute(update(table).where(table.c.order_id == b.id).values({column: stolen}))
        with pytest.raises(Unavailable) as refusal:
            orders.get(connection, VAULT, b.id)
        assert refusal.value.code == "order_unreadable"


def test_another_vault_key_opens_nothing(connection):
    order = an_order()
    orders.add(connection, VAULT, order, INTAKE)
    with pytest.raises(Unavailable):
        orders.get(connection, bytes(32), order.id)


def test_a_text_replaced_by_who_holds_the_vault_key_differs_from_its_commitment(connection):
    order = an_order()
    orders.add(connection, VAULT, order, INTAKE)
    connection.execute(delete(order_texts).where(order_texts.c.order_id == order.id))
    connection.execute(delete(order_keys).where(order_keys.c.order_id == order.id))
    with pending_rows(connection) as rows:
        vault.put(rows, order.id, vault.seal(VAULT, order.id, b"{}"))
    with pytest.raises(Unavailable):
        orders.get(connection, VAULT, order.id)


def test_erasure_leaves_neither_text_nor_key(connection):
    order = an_order()
    commitment = orders.add(connection, VAULT, order, INTAKE)
    vault.erase(connection, order.id)
    assert connection.execute(select(order_texts)).all() == []
    assert connection.execute(select(order_keys)).all() == []
    with pytest.raises(NotFound):
        vault.unseal(connection, VAULT, order.id, commitment)


def test_no_text_reaches_the_disk(sqlite_url):
    database = Database(sqlite_url)
    with database.transaction() as conn:
        orders.add(conn, VAULT, an_order(), INTAKE)
    database.close()
    stored = Path(sqlite_url.removeprefix("sqlite:///")).read_bytes()
    assert ORDER.content.encode()[:30] not in stored
    assert ORDER.title.encode() not in stored
