"""The service against its OpenAPI description at length: 20,000 requests and more, in some twenty minutes."""

from __future__ import annotations

import time
from pathlib import Path

from data.settings import Settings
from data.store.database import Database
from data.store.keyring import Keyring
from models.triage import open_triage
from tests.serving.schema_fuzzer import EXCUSED, fuzz
from tests.serving.staffed import Service

EXAMPLES = 1_050
SCENARIOS = 300
LEAST = 20_000


def test_at_length(sqlite_url: str, keyring: Keyring, tmp_path: Path) -> None:
    none = tmp_path / "none"
    database, triage = Database(sqlite_url), open_triage(none)
    service = Service(Settings(rate_limit=1_000_000, bundle=none), database, keyring, triage)
    began = time.perf_counter()
    findings = fuzz(service, EXAMPLES, SCENARIOS)
    seconds = time.perf_counter() - began
    print("", *findings.lines(), f"{seconds:.0f} s", sep="\n")
    print("never met:", ", ".join(sorted(set(EXCUSED) - set(findings.excused))) or "no excuse")
    triage.close()
    database.close()
    assert findings.failures == []
    assert findings.requests.total() >= LEAST
