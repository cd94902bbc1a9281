"""One database, SQLite or PostgreSQL: connections, transactions, migrations; the whole store runs on it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from data.errors import BadInput, Conflict, Unavailable

try:  # a newer SQLite than Python's own, in which WAL is safe: see `wal_is_safe`
    from pysqlite3 import dbapi2 as sqlite3
except ImportError:  # no wheel of it for this system
    import sqlite3

MIGRATIONS = Path(__file__).parent / "migrations"
WRITER_LOCK = 0x4D_42_4C_4F_47  # any number that no other application of the same server takes
WAIT_MS = 10_000
ERASED = "erased"  # in a connection's `info`: what its transaction deletes must be found nowhere afterwards

# Of libpq: a way that swallows every packet is given up in ten seconds; the system's own limits are hours.
_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_DOUBT_S = 10.0
_UNAVAILABLE = "database_unavailable"
_READ_ONLY = "25006"  # SQLSTATE read_only_sql_transaction: as on a standby after a failover
_log = logging.getLogger("mingbian.database")


class Database:
    """A pool of connections to one database, safe to share between threads.

    Writers are serialised from their first statement (SQLite: BEGIN IMMEDIATE; PostgreSQL: an advisory
    lock), because each of them appends to the one audit log: taking the lock at once rather than at the
    first leaf leaves no order of locks to get wrong, and both databases then behave alike.
    """

    def __init__(self, url: str) -> None:
        """Opens nothing yet.

        Raises:
            BadInput: the URL is neither an SQLite file nor PostgreSQL.
        """
        self._url = _checked(url)
        self._engine = _sqlite(self._url) if self._is_sqlite else _postgresql(self._url)
        self._writer = self._engine.execution_options(writes=True)
        self._heads: frozenset[str] | None = None
        self._write_failed_at: float | None = None  # None: the last one succeeded, or none was made

    @property
    def _is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Everything done on the connection is committed together, or nothing is.

        Raises:
            Unavailable: the database cannot be reached, or its writer's lock not be had in time.
        """
        try:
            with _reachable(), self._writer.connect() as conn:
                with conn.begin():
                    yield conn
                if conn.info.pop(ERASED, False) and self._is_sqlite:
                    _forget(conn)
        except Unavailable as error:
            if error.code == _UNAVAILABLE:
                self._write_failed_at = time.monotonic()
            raise
        self._write_failed_at = None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent snapshot that cannot write.

        Raises:
            Unavailable: the database cannot be reached.
        """
        with _reachable(), self._engine.connect() as conn:
            yield conn

    def migrate(self) -> None:
        """Brings the tables to this version of the program; several processes may try at once."""
        if self._is_sqlite and self._url.database:
            Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        with self.transaction() as conn:
            config = _migrations()
            config.attributes["connection"] = conn
            command.upgrade(config, "head")

    def check(self) -> None:
        """Says nothing when the database can be reached and its tables are this program's.

        Reading works on a full disk and on a standby too: after a write has failed nothing is said to be well
        for a while, and then only once a write succeeds.

        Raises:
            Unavailable: `database_unavailable` or `migrations_pending`.
        """
        if self._heads is None:
            self._heads = frozenset(ScriptDirectory.from_config(_migrations()).get_heads())
        with self.reading() as conn:
            current = frozenset(MigrationContext.configure(conn).get_current_heads())
        if current != self._heads:
            raise Unavailable("migrations_pending", "数据库表结构与程序版本不一致，请先执行迁移。")
        if self._write_failed_at is not None:
            # So small a write may find room where an order does not: it is not believed at once.
            if time.monotonic() < self._write_failed_at + _DOUBT_S:
                raise _unavailable()
            with self.transaction() as conn:
                conn.execute(text("UPDATE alembic_version SET version_num = version_num"))

    def backup(self, place: Path) -> None:
        """Copies an SQLite database as it stands at one moment, servers running, for its owner alone to read.

        Where the journal is not WAL, writers wait while it is copied.

        Raises:
            BadInput: `backup_postgresql`, or `backup_place`: no file can be made there.
            Conflict: `backup_exists`.
            Unavailable: the database cannot be reached, or the copy not be completed; nothing is left of it.
        """
        if not self._is_sqlite:
            raise BadInput("backup_postgresql", "PostgreSQL 请用 pg_dump 备份。")
        if place.exists():
            raise Conflict("backup_exists", "备份文件已存在，不会覆盖。")
        draft = place.with_name(f".{place.name}.unfinished")
        try:
            draft.unlink(missing_ok=True)
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise BadInput("backup_place", "备份位置无法写入。") from error
        try:
            with self.reading() as conn:
                _copy(conn, draft)
            draft.rename(place)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable("backup_failed", "备份未能完成。") from error
        finally:
            draft.unlink(missing_ok=True)

    def close(self) -> None:
        self._engine.dispose()


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite is free of the WAL-reset defect, which can lose committed pages.

    Fixed in 3.51.3 and carried back to 3.50.7 and 3.44.6 (https://sqlite.org/wal.html).
    """
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0)


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise BadInput("database_url", "数据库地址无法识别。") from error
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if not parsed.database or ":memory:" in parsed.database or parsed.query:
            raise BadInput("database_url", "SQLite 必须使用磁盘文件，不支持内存数据库。")
        return parsed
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise BadInput("database_url", "只支持 SQLite 与 PostgreSQL（psycopg）数据库。")


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, module=sqlite3, pool_size=10, max_overflow=30, pool_timeout=WAIT_MS / 1000)
    journal = "wal" if wal_is_safe(sqlite3.sqlite_version_info) else "delete"

    @event.listens_for(engine, "connect")
    def prepare(dbapi: Any, _record: object) -> None:
        # The driver must not begin transactions of its own: they would be deferred ones.
        dbapi.isolation_level = None
        dbapi.execute(f"PRAGMA busy_timeout = {WAIT_MS}")
        if dbapi.execute("PRAGMA journal_mode").fetchone()[0] != journal:
            dbapi.execute(f"PRAGMA journal_mode = {journal}")
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            dbapi.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(conn: Connection) -> None:
        writes = conn.get_execution_options().get("writes", False)
        if conn.info.get("writes") is not writes:  # connections return to the pool as they were used last
            conn.exec_driver_sql(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")
            conn.info["writes"] = writes
        conn.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=10,
        max_overflow=10,
        pool_timeout=WAIT_MS / 1000,
        pool_pre_ping=True,
        connect_args={"options": f"-c lock_timeout={WAIT_MS} -c timezone=UTC", **_PATIENCE},
    )

    @event.listens_for(engine, "begin")
    def begin(conn: Connection) -> None:
        if conn.get_execution_options().get("writes", False):
            conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")
        else:
            conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    return engine


def _forget(conn: Connection) -> None:
    """Empties the journal, where pages stand as they were; a failure to do so undoes nothing."""
    driver: Any = conn.connection.driver_connection
    try:
        busy, *_ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        _log.warning("what was erased is still in the journal", extra={"cause": type(error).__name__})
    else:
        if busy:
            _log.warning("what was erased is still in the journal", extra={"cause": "readers"})


def _copy(conn: Connection, place: Path) -> None:
    source: Any = conn.connection.driver_connection
    with closing(sqlite3.connect(place)) as copy:
        # In one step: between steps any writer would make it begin anew.
        source.backup(copy)
        # One file, whatever the journal of what was copied.
        copy.execute("PRAGMA journal_mode = DELETE")
        if copy.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            raise sqlite3.DatabaseError("integrity_check")


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        _record(error)
        raise _unavailable() from error
    except DatabaseError as error:
        # The class itself, not one of its children: SQLite says so of a damaged file.
        if type(error) is DatabaseError or getattr(error.orig, "sqlstate", None) == _READ_ONLY:
            _record(error)
            raise _unavailable() from error
        raise


def _record(error: SQLAlchemyError) -> None:
    """Without the driver's own message, which may quote what was to be written."""
    cause = getattr(error, "orig", error)
    state = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)
    _log.warning("the database refuses", extra={"cause": type(cause).__name__, "state": state})


def _unavailable() -> Unavailable:
    return Unavailable(_UNAVAILABLE, "数据库暂时不可用，请稍后重试。")


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
