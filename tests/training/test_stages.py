from __future__ import annotations

from pathlib import Path

import pytest

from training.stages import Stages


def test_a_stage_is_made_once_per_inputs(tmp_path: Path) -> None:
    made: list[str] = []
    stages = Stages(tmp_path)
    for inputs in ("a", "a", "b", "b", "a"):
        stages.once("encoder", inputs, lambda at, inputs=inputs: made.append(inputs))  # type: ignore[misc]
    assert made == ["a", "b", "a"]


def test_an_unfinished_stage_goes_on_with_what_it_left(tmp_path: Path) -> None:
    def fail(at: Path) -> None:
        (at / "half").write_text("so far")
        raise RuntimeError("cut off")

    with pytest.raises(RuntimeError):
        Stages(tmp_path).once("encoder", "a", fail)
    seen: list[bool] = []
    folder = Stages(tmp_path).once("encoder", "a", lambda at: seen.append((at / "half").exists()))
    assert seen == [True]
    assert folder == tmp_path / "encoder"


def test_other_inputs_find_an_empty_folder(tmp_path: Path) -> None:
    Stages(tmp_path).once("encoder", "a", lambda at: (at / "old").write_text("x"))
    folder = Stages(tmp_path).once("encoder", "b", lambda at: None)
    assert not (folder / "old").exists()
