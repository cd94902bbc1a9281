"""What every test may ask for: a fresh database on SQLite and on PostgreSQL, and a keyring."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from data.store.database import Database
from data.store.keyring import Keyring

POSTGRES = os.environ.get("MINGBIAN_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/test")


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring.open(tmp_path / "keys")


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[str]:
    """The name of a migrated database to copy; each worker has its own."""
    name = f"mingbian_template_{uuid.uuid4().hex}"
    try:
        _on_server(f'CREATE DATABASE "{name}"')
    except OperationalError as error:
        if os.environ.get("CI"):
            pytest.fail(f"PostgreSQL is needed in CI: {error}")
        pytest.skip("no PostgreSQL to test with")
    try:
        database = Database(_url_of(name))
        database.migrate()
        database.close()
        yield name
    finally:
        _on_server(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    (tmp_path / "mingbian.db").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'mingbian.db'}"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "mingbian.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture
def postgres_url(postgres_template: str) -> Iterator[str]:
    name = f"mingbian_{uuid.uuid4().hex}"
    _on_server(f'CREATE DATABASE "{name}" TEMPLATE "{postgres_template}"')
    yield _url_of(name)
    _on_server(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh, migrated database of each kind."""
    fixture = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(fixture)
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """A writing transaction, committed when the test ends well."""
    with database.transaction() as conn:
        yield conn


def _url_of(name: str) -> str:
    return make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)


def _on_server(statement: str) -> None:
    engine = create_engine(POSTGRES, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5})
    try:
        with engine.connect() as conn:
            conn.execute(text(statement))
    finally:
        engine.dispose()
