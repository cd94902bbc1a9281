"""`python -m data snapshot` and `corpus card`, run as a person runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from data.corpus.card import CARD
from data.corpus.snapshot import read_manifest
from data.settings import ROOT
from tests.data.corpus.invented import row


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "data", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_snapshot_freezes_the_committed_labels(tmp_path: Path) -> None:
    done = run("snapshot", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(tmp_path / "out")
    assert {name: file.orders for name, file in manifest.files.items()} == {
        "train.jsonl": 16685,
        "calibration.jsonl": 1456,
        "test.jsonl": 1224,
    }
    assert manifest.digest in done.stdout


def test_snapshot_names_the_line_it_refuses(tmp_path: Path) -> None:
    lines = [row("a"), row("b", kind="?")]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    done = run("snapshot", str(tmp_path / "out"), "--labels", str(tmp_path), "--train", "x")
    assert done.returncode == 1
    assert "/x.jsonl/2/kind" in done.stderr
    assert not (tmp_path / "out").exists()


def test_counting_the_card_again_changes_nothing() -> None:
    before = CARD.read_bytes()
    done = run("corpus", "card")
    assert done.returncode == 0, done.stderr
    assert CARD.read_bytes() == before
