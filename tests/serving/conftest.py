"""The service as its tests want it: on both databases or one, with the shipped model, a tiny one or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from data.settings import Settings
from data.store.database import Database
from data.store.keyring import Keyring
from data.taxonomy import Taxonomy
from models import fast_path
from models.bundle import read_bundle
from models.encoder_classifier import EncoderClassifier
from models.precedents import read_precedents
from models.rules import Rules
from models.triage import Triage, open_triage
from tests.models import tiny_bundle
from tests.serving.staffed import Service

Opened = Callable[..., Service]


@pytest.fixture(autouse=True)
def _no_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that opens a new bundle would try it on OpenVINO first, which takes seconds."""
    monkeypatch.setattr(fast_path, "_installed", lambda: None)


@pytest.fixture(scope="session")
def triage(shipped: Path) -> Iterator[Triage]:
    """What the shipped bundle decides; without a deadline, so that a busy machine changes no answer."""
    triage = open_triage(shipped, deadline_s=None)
    yield triage
    triage.close()


@pytest.fixture(scope="session")
def tiny_triage(tmp_path_factory: pytest.TempPathFactory, taxonomy: Taxonomy) -> Iterator[Triage]:
    """A real model that finds every order unreasonable, and is certain where it reads 裁."""
    folder = tmp_path_factory.mktemp("tiny")
    publishers = tiny_bundle.publish(folder, tiny_bundle.files(taxonomy))
    bundle = read_bundle(folder / "bundle", taxonomy, publishers)
    triage = Triage(
        EncoderClassifier(bundle),
        bundle,
        None,
        taxonomy,
        Rules.load(taxonomy),
        precedents=read_precedents(bundle.precedents),
    )
    yield triage
    triage.close()


@pytest.fixture(scope="session")
def no_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triage]:
    triage = open_triage(tmp_path_factory.mktemp("none") / "bundle")
    yield triage
    triage.close()


@pytest.fixture
def opened(keyring: Keyring) -> Opened:
    """A service over any database and triage, with any settings."""

    def make(database: Database, triage: Triage, **settings: Any) -> Service:
        # A busy machine must refuse nothing that a test does not want refused.
        return Service(Settings(**{"deadline_ms": 60_000, **settings}), database, keyring, triage)

    return make


@pytest.fixture
def service(opened: Opened, database: Database, triage: Triage) -> Service:
    """On SQLite and on PostgreSQL."""
    return opened(database, triage)


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Database]:
    database = Database(sqlite_url)
    yield database
    database.close()


@pytest.fixture
def light(opened: Opened, sqlite: Database, no_model: Triage) -> Service:
    """On SQLite and without a model, for what depends on neither."""
    return opened(sqlite, no_model)
