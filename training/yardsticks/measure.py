"""Measures an encoder cell by cell and keeps what is done; `python -m training yardsticks` calls it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from training.encoder import YARDSTICKS, folder_digest
from training.yardsticks.contenders import Contender, contenders
from training.yardsticks.tasks import GROUP, Task

# A linear model has no seed, and the few-shot tasks come in five splits instead of one with many seeds.
_LINEAR = "TF-IDF + linear"

Cells = dict[str, dict[str, Any]]  # "task | contender | seed" -> figures


def measure(
    encoder: Path, tasks: Iterable[Task], seeds: int, only: Iterable[str] = (), out: Path | None = None
) -> Cells:
    """Run every cell that is not done yet and return all; each is written to `out` as soon as it is known.

    Args:
        only: names of contenders; none means all.
        out: the file that keeps the cells (default: `yardsticks.json` beside the encoder). When the
            encoder's files have changed, its cells and those of its shape are measured anew.
    """
    out = out or encoder / YARDSTICKS
    digest = folder_digest(encoder)
    cells: Cells = {}
    if out.exists():
        kept = json.loads(out.read_text(encoding="utf-8"))
        cells = kept["cells"]
        if kept["encoder"] != digest:
            cells = {name: cell for name, cell in cells.items() if f" | {_LINEAR} | " in name}
    for task in tasks:
        for name, contender in contenders(encoder).items():
            if only and name not in only:
                continue
            for seed in range(_seeds(task, name, seeds)):
                cell = f"{task.name} | {name} | {seed}"
                if cell in cells:
                    continue
                cells[cell] = _cell(task, contender, seed)
                print(cell, cells[cell], flush=True)
                _write(out, {"encoder": digest, "cells": cells})
    _write(out, {"encoder": digest, "cells": cells})
    return cells


def _seeds(task: Task, contender: str, seeds: int) -> int:
    return seeds if task.name in ("chnsenticorp", "tipdm") and contender != _LINEAR else 1


def _cell(task: Task, contender: Contender, seed: int) -> dict[str, float]:
    started = time.perf_counter()
    scores = contender(task, seed)
    if scores.shape != (len(task.test), len(task.labels)) or not np.isfinite(scores).all():
        raise ArithmeticError(f"{task.name}: scores of shape {scores.shape}, or not finite")
    truth = np.array([example.labels[GROUP] for example in task.test])
    right = scores.argmax(1) == truth
    figures = {"accuracy": float(right.mean())}
    if task.unseen is not None:
        figures["accuracy_unseen"] = float(right[np.array(task.unseen)].mean())
    if task.name.startswith("authored-"):
        figures["auc"] = float(roc_auc_score(truth, scores[:, 1]))
        figures |= pairs_ordered(task, scores[:, 1], truth)
    return figures | {"seconds": round(time.perf_counter() - started, 1)}


def pairs_ordered(task: Task, score: NDArray[np.float64], truth: NDArray[np.int64]) -> dict[str, float]:
    """The share of twins whose unreasonable half scores higher, ties as half, and how many there are."""
    pairs: dict[str, dict[int, float]] = {}
    for example, value, label in zip(task.test, score, truth, strict=True):
        if example.pair is not None:
            pairs.setdefault(example.pair, {})[int(label)] = float(value)
    gaps = np.array([halves[1] - halves[0] for halves in pairs.values() if len(halves) == 2])
    if not len(gaps):
        return {"pairs": 0}
    return {"pairs_ordered": float(((gaps > 0) + 0.5 * (gaps == 0)).mean()), "pairs": len(gaps)}


def _write(path: Path, state: dict[str, Any]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(state, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    fresh.replace(path)
