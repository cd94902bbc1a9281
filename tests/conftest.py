"""What every test may ask for: a fresh database on SQLite and on PostgreSQL, and a keyring."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from data.settings import Settings
from data.store.database import Database
from data.store.keyring import Keyring
from data.store.tables import metadata
from data.taxonomy import Taxonomy, load_taxonomy

POSTGRES = os.environ.get("MINGBIAN_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/test")


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring.open(tmp_path / "keys")


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


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    (tmp_path / "mingbian.db").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'mingbian.db'}"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "mingbian.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def postgres_url(postgres_copy: PostgresCopy) -> Iterator[str]:
    yield postgres_copy.url
    postgres_copy.renew()


@pytest.fixture(scope="session")
def postgres_copy() -> Iterator[PostgresCopy]:
    engine = create_engine(POSTGRES, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5})
    try:
        engine.connect().close()
    except OperationalError as error:
        engine.dispose()
        if os.environ.get("CI"):
            pytest.fail(f"PostgreSQL is needed in CI: {error}")
        pytest.skip("no PostgreSQL to test with")
    copy = PostgresCopy(engine)
    yield copy
    copy.drop()
    engine.dispose()


class PostgresCopy:
    """One worker's own database: emptied after each test, copied anew where it was tampered with."""

    def __init__(self, server: Engine) -> None:
        self._server = server
        self._template, self._name = (f"mingbian_{kind}_{uuid.uuid4().hex}" for kind in ("template", "test"))
        self._run(f'CREATE DATABASE "{self._template}"')
        _migrate(self._url_of(self._template))
        self._copy()
        self._structure = self._renewed()

    @property
    def url(self) -> str:
        return self._url_of(self._name)

    def renew(self) -> None:
        if self._renewed() != self._structure:
            self._run(f'DROP DATABASE "{self._name}" WITH (FORCE)')
            self._copy()

    def drop(self) -> None:
        for name in (self._name, self._template):
            self._run(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _copy(self) -> None:
        self._run(f'CREATE DATABASE "{self._name}" TEMPLATE "{self._template}"')

    def _renewed(self) -> list[object]:
        """Empties the tables; what could still differ from the template."""
        engine = create_engine(self.url)
        with engine.begin() as conn:
            conn.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
            # Without it the audit log would refuse.
            conn.execute(text("SET LOCAL session_replication_role = replica"))
            for table in metadata.tables.values():
                conn.execute(table.delete())
            triggers = "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
            structure = [tuple(row) for row in conn.execute(text(triggers))]
            structure += [tuple(row) for row in conn.execute(text("SELECT * FROM alembic_version"))]
        engine.dispose()
        return structure

    def _url_of(self, name: str) -> str:
        return make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)

    def _run(self, statement: str) -> None:
        with self._server.connect() as conn:
            conn.execute(text(statement))


def _migrate(url: str) -> None:
    database = Database(url)
    database.migrate()
    database.close()


@pytest.fixture(scope="session")
def taxonomy() -> Taxonomy:
    return load_taxonomy()


@pytest.fixture(scope="session")
def shipped() -> Path:
    """The folder of the bundle that the project ships."""
    return Settings().bundle
