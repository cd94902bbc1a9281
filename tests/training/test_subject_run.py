from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.errors import NotFound
from data.settings import ROOT
from tests.training.conftest import TUNING
from training import subject_run
from training.examples import MESSAGES
from training.recipe import SubjectRecipe, read_run_recipe
from training.subject_run import run_subjects
from training.yardsticks.tasks import GROUP

RECIPE = SubjectRecipe("tipdm", (1, 2), "models/encoders/bert-4x320", replace(TUNING, epochs=1))


def messages(folder: Path) -> Path:
    path = folder / MESSAGES[0]
    path.parent.mkdir(parents=True)
    rows = [
        {"title": "来信", "content": f"第{number}封，{what}", "subject": subject}
        for number in range(60)
        for subject, what in (("urban_rural", "路灯不亮"), ("health", "医院挂号难"))
    ]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return folder


def test_each_seed_is_trained_once_and_shown_beside_linear_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def oracle(_encoder, task, seed):  # type: ignore[no-untyped-def]
        """Right on all but the first of the test texts; takes the place of minutes of training."""
        trained.append(seed)
        scores = np.eye(2)[[example.labels[GROUP] for example in task.test]]
        scores[0] = 1 - scores[0]
        return scores

    monkeypatch.setattr(subject_run, "tuned", oracle)
    external = messages(tmp_path)
    for _ in range(2):
        report = run_subjects(RECIPE, external=external, folder=tmp_path / "run").read_text(encoding="utf-8")
    assert trained == [1, 2]
    held_out = int(report.split(" trained, ")[1].split(" are held out")[0])
    assert f"| encoder, 2 seeds | {1 - 1 / held_out:.3f} ± 0.000 |" in report
    assert "| TF-IDF + linear | 1.000 | 1.000 |" in report
    assert "| TF-IDF + SVM | 1.000 | 1.000 |" in report
    assert (tmp_path / "run" / "confusion.png").stat().st_size > 1000


def test_the_shipped_recipe_is_one_of_subjects() -> None:
    recipe = read_run_recipe(ROOT / "training" / "recipes" / "tipdm.toml")
    assert isinstance(recipe, SubjectRecipe)
    assert (ROOT / recipe.encoder / "config.json").exists()


def test_missing_messages_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="yardstick_missing"):
        run_subjects(RECIPE, external=tmp_path, folder=tmp_path / "run")
