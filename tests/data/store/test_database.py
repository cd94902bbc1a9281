"""Transactions, snapshots, migrations and readiness, on the real databases."""

from __future__ import annotations

import importlib.util
import sqlite3
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, make_url, select, text
from sqlalchemy.exc import IntegrityError, InternalError

from data.errors import BadInput, Conflict, NotFound, Unavailable
from data.store import audit_log, checkpoints, orders
from data.store.database import Database, wal_is_safe
from data.store.database import sqlite3 as library
from data.store.tables import audit_leaves, audit_nodes, metadata, order_keys, order_texts
from tests.data.store.stories import INTAKE, NOW, VAULT, an_order, at_once


def test_an_error_undoes_the_change_and_its_leaf(database):
    order = an_order()
    with pytest.raises(NotFound), database.transaction() as conn:  # noqa: PT012
        orders.add(conn, VAULT, order, INTAKE)
        raise NotFound("x", "x")
    with database.reading() as conn:
        assert audit_log.size(conn) == 0
        with pytest.raises(NotFound):
            orders.header(conn, order.id)


def test_a_reader_cannot_write(database):
    with pytest.raises((Unavailable, InternalError)), database.reading() as conn:
        orders.add(conn, VAULT, an_order(), INTAKE)
    with database.transaction() as conn:
        assert audit_log.size(conn) == 0
        orders.add(conn, VAULT, an_order(), INTAKE)


def test_a_reader_sees_one_state_throughout(database):
    def write():
        with database.transaction() as conn:
            orders.add(conn, VAULT, an_order(), INTAKE)

    write()
    with database.reading() as conn:
        assert audit_log.size(conn) == 1
        # In SQLite's rollback journal a writer waits for readers, so it cannot be let in between here.
        if conn.dialect.name == "postgresql":
            write()
            assert audit_log.size(conn) == 1


def test_foreign_keys_are_enforced(database):
    with pytest.raises(IntegrityError), database.transaction() as conn:
        conn.execute(insert(order_texts).values(order_id="nobody", ciphertext=b""))


def test_the_migrations_make_the_tables(database):
    with database.reading() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrating_twice_at_once_and_again_changes_nothing(tmp_path):
    def migrate(_number):
        database = Database(f"sqlite:///{tmp_path}/deep/er/m.db")
        database.migrate()
        database.check()
        database.close()

    assert at_once(2, migrate) == [None, None]
    migrate(0)


def test_check_tells_unreachable_from_not_migrated(database, tmp_path):
    database.check()
    with database.transaction() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = 'older'"))
    with pytest.raises(Unavailable) as pending:
        database.check()
    assert pending.value.code == "migrations_pending"
    for url in (
        f"sqlite:///{tmp_path}/missing/x.db",
        "postgresql+psycopg://postgres@127.0.0.1:1/test",
    ):
        gone = Database(url)
        with pytest.raises(Unavailable) as unreachable:
            gone.check()
        assert unreachable.value.code == "database_unavailable"
        gone.close()


def test_a_damaged_file_is_unavailable(tmp_path):
    (tmp_path / "x.db").write_bytes(b"no database at all" * 100)
    database = Database(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(Unavailable):
        database.migrate()
    database.close()


def test_after_a_failed_write_all_is_well_only_once_one_succeeds(sqlite_url, monkeypatch):
    """Pages that the file may not have stand for a disk that is full."""
    database = Database(sqlite_url)
    with database.transaction() as conn:
        conn.exec_driver_sql("PRAGMA max_page_count = 1")  # SQLite keeps what there is
    with pytest.raises(Unavailable, match="database_unavailable"), database.transaction() as conn:  # noqa: PT012
        for _ in range(200):
            orders.add(conn, VAULT, an_order(), INTAKE)
    # Small writes find room within the pages there are.
    with pytest.raises(Unavailable, match="database_unavailable"):
        database.check()
    monkeypatch.setattr("data.store.database._DOUBT_S", 0.0)
    database.check()
    database.check()
    with pytest.raises(Unavailable, match="order_unreadable"), database.transaction():
        raise Unavailable("order_unreadable", "x")
    database.check()
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file::memory:?cache=shared&uri=true",
        "mysql://localhost/x",
        "nonsense",
    ],
)
def test_other_databases_are_refused(url):
    with pytest.raises(BadInput):
        Database(url)


def test_many_threads_append_one_after_the_other(database):
    def append(number):
        for _ in range(5):
            with database.transaction() as conn:
                audit_log.append(conn, "record.read", f"order-{number}", INTAKE, NOW, {})
        with database.reading() as conn:
            return len(audit_log.entries(conn, f"order-{number}"))

    assert at_once(8, append) == [5] * 8
    with database.reading() as conn:
        assert audit_log.size(conn) == 40
        assert [entry.index for entry in audit_log.entries(conn, "order-3")] == sorted(
            entry.index for entry in audit_log.entries(conn, "order-3")
        )


@pytest.mark.parametrize("table", ["audit_leaves", "audit_nodes", "audit_checkpoints"])
def test_the_log_refuses_change(database, keyring, table):
    with database.transaction() as conn:
        orders.add(conn, VAULT, an_order(), INTAKE)
        checkpoints.sign(conn, keyring.audit, "log.test", NOW)
        column = conn.execute(text(f"SELECT * FROM {table}")).keys()
        first = next(iter(column))
        postgresql = conn.dialect.name == "postgresql"
    attempts = [f"UPDATE {table} SET {first} = {first}", f"DELETE FROM {table}"]
    if postgresql:
        attempts.append(f"TRUNCATE {table}")
    else:
        attempts.append(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")
        attempts.append(f"UPDATE OR REPLACE {table} SET {first} = {first}")
    for attempt in attempts:
        with pytest.raises(IntegrityError, match="only appended to"), database.transaction() as conn:
            conn.execute(text(attempt))


def test_a_second_leaf_with_the_same_index_is_refused(database):
    with database.transaction() as conn:
        audit_log.append(conn, "record.read", "order", INTAKE, NOW, {})
    leaf = {"event": "record.read", "subject": "order", "actor": "a", "at": NOW, "leaf": b"{}"}
    with pytest.raises(IntegrityError), database.transaction() as conn:
        conn.execute(insert(audit_leaves).values(leaf_index=0, **leaf))
    with pytest.raises(IntegrityError), database.transaction() as conn:
        conn.execute(insert(audit_nodes).values(level=0, position=0, hash=bytes(32)))


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
    ],
)
def test_wal_only_where_it_is_safe(version, safe):
    assert wal_is_safe(version) is safe


def test_sqlite_is_opened_for_durability(sqlite_url):
    database = Database(sqlite_url)
    with database.reading() as conn:

        def pragma(name):
            return conn.exec_driver_sql(f"PRAGMA {name}").scalar_one()

        assert pragma("journal_mode") == ("wal" if wal_is_safe(library.sqlite_version_info) else "delete")
        assert (pragma("synchronous"), pragma("foreign_keys"), pragma("secure_delete")) == (2, 1, 1)
        assert pragma("busy_timeout") > 0
    database.close()


def test_a_newer_sqlite_than_python_s_is_taken_where_there_is_one():
    if importlib.util.find_spec("pysqlite3") is None:
        assert library is sqlite3
    else:
        assert library.__name__ == "pysqlite3.dbapi2"
        assert wal_is_safe(library.sqlite_version_info)


def test_what_is_erased_stands_in_no_file(sqlite, tmp_path):
    order = an_order()
    with sqlite.transaction() as conn:
        orders.add(conn, VAULT, order, INTAKE)
        wrapped = conn.execute(select(order_keys.c.wrapped)).scalar_one()
    with sqlite.transaction() as conn:
        orders.add(conn, VAULT, an_order(), INTAKE)

    def files() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.glob("mingbian.db*"))

    assert wrapped in files()
    with sqlite.transaction() as conn:
        orders.erase(conn, order.id, INTAKE, NOW)
    assert wrapped not in files()


def test_a_reader_in_the_way_of_forgetting_undoes_nothing(sqlite_url, monkeypatch, caplog):
    monkeypatch.setattr("data.store.database.WAIT_MS", 200)
    database, order = Database(sqlite_url), an_order()
    with database.transaction() as conn:
        orders.add(conn, VAULT, order, INTAKE)
    if not wal_is_safe(library.sqlite_version_info):
        pytest.skip("without WAL a writer waits for readers")
    with database.reading() as reader:
        audit_log.size(reader)
        with database.transaction() as conn:
            orders.erase(conn, order.id, INTAKE, NOW)
    assert "still in the journal" in caplog.text
    with database.reading() as conn:
        assert orders.header(conn, order.id).erased_at == NOW
    database.close()


def test_a_writer_that_waits_too_long_is_told_so(database_url, monkeypatch):
    monkeypatch.setattr("data.store.database.WAIT_MS", 200)
    database = Database(database_url)
    with database.transaction() as conn:
        audit_log.append(conn, "record.read", "order", INTAKE, NOW, {})
        with pytest.raises(Unavailable), database.transaction():
            pass
    with database.reading() as conn:
        assert audit_log.size(conn) == 1
    database.close()


@pytest.fixture
def sqlite(sqlite_url):
    database = Database(sqlite_url)
    yield database
    database.close()


def leaves(url):
    database = Database(url)
    with database.reading() as conn:
        size = audit_log.size(conn)
    database.close()
    return size


def test_what_is_not_committed_is_not_copied(sqlite, tmp_path):
    with sqlite.transaction() as conn:
        orders.add(conn, VAULT, an_order(), INTAKE)
    with sqlite.transaction() as conn:
        orders.add(conn, VAULT, an_order(), INTAKE)
        sqlite.backup(tmp_path / "copy.db")
    assert leaves(f"sqlite:///{tmp_path}/copy.db") == 1
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert leaves(f"sqlite:///{tmp_path}/mingbian.db") == 2


def test_a_copy_replaces_nothing_and_needs_a_place(sqlite, tmp_path):
    (tmp_path / "there.db").write_bytes(b"older")
    with pytest.raises(Conflict) as there:
        sqlite.backup(tmp_path / "there.db")
    assert there.value.code == "backup_exists"
    assert (tmp_path / "there.db").read_bytes() == b"older"
    with pytest.raises(BadInput) as nowhere:
        sqlite.backup(tmp_path / "missing" / "copy.db")
    assert nowhere.value.code == "backup_place"


def test_a_copy_of_damaged_pages_is_thrown_away(sqlite, sqlite_url, tmp_path):
    with sqlite.transaction() as conn:
        orders.add(conn, VAULT, an_order(number="20260302-0007"), INTAKE)
    sqlite.close()
    path = Path(str(make_url(sqlite_url).database))
    # The row and its index now disagree, which only a look at every page finds.
    path.write_bytes(path.read_bytes().replace(b"20260302-0007", b"20260302-0008", 1))
    with pytest.raises(Unavailable) as damaged:
        sqlite.backup(tmp_path / "copies.db")
    assert damaged.value.code == "backup_failed"
    assert not list(tmp_path.glob("*copies*"))


def test_postgresql_is_copied_by_its_own_tools(postgres_url, tmp_path):
    database = Database(postgres_url)
    with pytest.raises(BadInput) as refused:
        database.backup(tmp_path / "copy.db")
    assert refused.value.code == "backup_postgresql"
    database.close()
