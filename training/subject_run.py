"""Trains and measures the public subject task alone; `python -m training run recipes/tipdm.toml` calls it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import fmean, pstdev

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from data.settings import ROOT
from training.encoder import folder_digest
from training.examples import MESSAGES
from training.plots import confusion
from training.recipe import SubjectRecipe
from training.stages import Stages
from training.yardsticks.contenders import contenders, support_vectors, tuned
from training.yardsticks.tasks import GROUP, Task, tipdm_subjects

_SCORES = "scores.npy"
REPORT = "REPORT.md"


def run_subjects(recipe: SubjectRecipe, *, external: Path, folder: Path) -> Path:
    """Fine-tune once a seed, measure beside two linear models, and return the report, a picture beside it.

    Args:
        external: folder with the public messages.
        folder: where each seed's scores are kept, so that a second call goes on.

    Raises:
        NotFound: the messages or the encoder are missing.
    """
    encoder = ROOT / recipe.encoder
    task = tipdm_subjects(external / MESSAGES[0], recipe.finetune)
    stages = Stages(folder)
    inputs = f"{recipe.finetune} {folder_digest(encoder)} {len(task.train)} {len(task.test)}"
    found = []
    for seed in recipe.seeds:
        made = stages.once(f"seed-{seed}", inputs, partial(_keep_scores, encoder, task, seed))
        found.append(np.load(made / _SCORES))
    linear = contenders(encoder)["TF-IDF + linear"](task, 0)
    report = folder / REPORT
    lines = list(_lines(recipe, task, found, {"linear": linear, "SVM": support_vectors(task)}))
    report.write_text("\n".join(lines) + "\n", encoding="utf-8")
    picture = confusion(_truth(task), found[0].argmax(1), task.labels, "subject")
    picture.savefig(folder / "confusion.png", dpi=110)
    return report


def _keep_scores(encoder: Path, task: Task, seed: int, at: Path) -> None:
    np.save(at / _SCORES, tuned(encoder, task, seed))


def _lines(
    recipe: SubjectRecipe,
    task: Task,
    found: list[NDArray[np.float64]],
    others: dict[str, NDArray[np.float64]],
) -> Iterator[str]:
    yield f"# Subjects of messages to leaders: {Path(recipe.encoder).name}"
    yield ""
    yield f"{len(task.train)} messages trained, {len(task.test)} are held out, copies of a text together."
    yield f"Made by `python -m training run training/recipes/{recipe.name}.toml`."
    yield ""
    yield "| model | accuracy | macro-F1 |"
    yield "|---|---|---|"
    ours = [_figures(task, scores) for scores in found]
    yield f"| encoder, {len(found)} seeds | {_spread(ours, 0)} | {_spread(ours, 1)} |"
    for name, scores in others.items():
        accuracy, macro = _figures(task, scores)
        yield f"| TF-IDF + {name} | {accuracy:.3f} | {macro:.3f} |"
    yield ""
    yield f"Labels: {json.dumps(task.labels)}. `confusion.png` shows the first seed."


def _figures(task: Task, scores: NDArray[np.float64]) -> tuple[float, float]:
    truth = _truth(task)
    said = scores.argmax(1)
    return float((said == truth).mean()), float(f1_score(truth, said, average="macro"))


def _spread(figures: list[tuple[float, float]], place: int) -> str:
    values = [each[place] for each in figures]
    return f"{fmean(values):.3f} ± {pstdev(values):.3f}"


def _truth(task: Task) -> NDArray[np.int64]:
    return np.array([example.labels[GROUP] for example in task.test])
