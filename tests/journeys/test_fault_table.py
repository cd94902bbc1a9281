"""The operators' table of faults and the tests of faults name each other."""

from __future__ import annotations

import re
from pathlib import Path

from data.settings import ROOT

TABLE = ROOT / "serving" / "operations" / "FAULTS.md"
TESTS = ROOT / "tests"
_NAMED = re.compile(r"`(test_\w+)`")
_DEFINED = re.compile(r"^def (test_\w+)\(", re.MULTILINE)


def names_in(paths: list[Path]) -> set[str]:
    return {name for path in paths for name in _DEFINED.findall(path.read_text("utf-8"))}


def test_every_line_has_its_test_and_every_test_its_line() -> None:
    named = set(_NAMED.findall(TABLE.read_text("utf-8")))
    faults = names_in(
        [*(TESTS / "journeys").glob("test_faults_*.py"), TESTS / "journeys" / "test_kill_nine.py"]
    )
    assert named >= faults
    assert named <= names_in(list(TESTS.rglob("test_*.py")))
