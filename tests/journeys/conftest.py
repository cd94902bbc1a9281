"""A running service for each journey, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.real_process import Installation


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    """Installed, not yet started; stopped when the test ends.

    Its model may take its time: a busy machine must not turn a journey into one about fallbacks.
    """
    installation = Installation(tmp_path, database_url, deadline_ms="30000")
    yield installation
    installation.kill()


@pytest.fixture
def running(installation: Installation) -> Installation:
    installation.start()
    return installation
