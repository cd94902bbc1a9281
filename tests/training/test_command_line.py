from __future__ import annotations

from pathlib import Path

import pytest

from training.__main__ import main


@pytest.fixture(autouse=True)
def _own_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINGBIAN_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("MINGBIAN_CORPORA", str(tmp_path / "none"))


def test_a_key_nobody_trusts_is_refused_before_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "training/recipes/default.toml"]) == 1
    assert "publisher_unknown" in capsys.readouterr().err


def test_a_missing_recipe_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tmp_path / "none.toml")]) == 1
    assert "recipe_unreadable" in capsys.readouterr().err
