"""Fits the second opinion, a linear model over runs of characters; `training/run.py` calls it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from data.errors import BadInput
from data.records import Reading
from models.char_ngrams import CharNgrams, Keys, runs
from models.lanes import usable_cores
from training.examples import Example, LabelSlices
from training.recipe import NgramPlan

# Rare flags have a small gradient from the start: sklearn's own tolerance would leave them as they begin.
_TOLERANCE = 1e-5
_STEPS = 300
_LARGEST = 127  # of int8
_WORTH_WORKERS = 3000  # examples: with fewer a worker takes longer to start than to learn


@dataclass(frozen=True, slots=True)
class _Task:
    """One model to learn: which texts, the true class of each, and how many outputs it has."""

    rows: Sequence[int]
    true: Sequence[int]
    outputs: int


def fit_char_ngrams(plan: NgramPlan, examples: Sequence[Example], slices: LabelSlices) -> CharNgrams:
    """One multinomial logistic model a label group and a binary one a flag, in the order of `slices`.

    Verdicts are learned from authored orders alone: with real messages among them, nearly all
    reasonable, runs of characters tell where a text comes from instead of what it asks for.

    Raises:
        BadInput: a code has no example.
    """
    keys, rarity = _vocabulary([example.reading for example in examples], plan.runs)
    texts = _matrix(keys, rarity, [example.reading for example in examples])
    tasks = list(_tasks(examples, slices))
    # In processes of their own: the solver works on one core, and the first three tasks take minutes each.
    workers = Parallel(n_jobs=usable_cores() if len(examples) >= _WORTH_WORKERS else 1, return_as="generator")
    learned = workers(delayed(_learned)(plan, texts[task.rows], task) for task in tasks)
    parts = list(tqdm(learned, total=len(tasks), desc="n-grams", unit="model"))
    weights, intercepts = (np.concatenate(each) for each in zip(*parts, strict=True))
    return _small(keys, rarity, weights.T, intercepts)


def _tasks(examples: Sequence[Example], slices: LabelSlices) -> Iterator[_Task]:
    for group, codes in slices.groups.items():
        rows = [
            row
            for row, example in enumerate(examples)
            if group in example.labels and not (group == "verdict" and example.real)
        ]
        true = [examples[row].labels[group] for row in rows]
        if len(set(true)) != len(codes):
            raise BadInput("train_incomplete", "训练部分缺少某些代码的工单")
        yield _Task(rows, true, len(codes))
    looked = [row for row, example in enumerate(examples) if example.flags is not None]
    for flag in range(len(slices.flags)):
        yield _Task(looked, [int(flag in (examples[row].flags or ())) for row in looked], 1)


def _learned(
    plan: NgramPlan, texts: csr_matrix, task: _Task
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(outputs, runs) weights and (outputs,) intercepts."""
    if len(set(task.true)) < 2:  # of a flag that nobody raised nothing can be learned but that it is rare
        count = sum(task.true)
        rare = np.log([(count + 0.5) / (len(task.true) - count + 0.5)])
        return np.zeros((1, texts.shape[1])), rare
    model = LogisticRegression(C=plan.inverse_regularisation, max_iter=_STEPS, tol=_TOLERANCE)
    model.fit(texts, task.true)
    # Of two classes scikit-learn scores the second alone: the first then gets half of it, turned round.
    sides = np.array([[-0.5], [0.5]]) if len(model.coef_) < task.outputs else np.eye(task.outputs)
    return sides @ model.coef_, sides @ model.intercept_


def _vocabulary(readings: Iterable[Reading], wanted: int) -> tuple[Keys, NDArray[np.float32]]:
    """The runs that most texts have, no more than `wanted`, sorted, and how rare they are."""
    of_texts = [np.unique(runs(reading)) for reading in readings]
    keys, texts = np.unique(np.concatenate(of_texts), return_counts=True)
    # Of equal rank some would be left out at random, so that all are; a run of one text says nothing.
    least = max(2, int(np.sort(texts)[-wanted - 1]) + 1 if len(keys) > wanted else 2)
    kept = texts >= least
    rarity = np.log((1 + len(of_texts)) / (1 + texts[kept])) + 1.0
    return keys[kept], rarity.astype(np.float32)


def _matrix(keys: Keys, rarity: NDArray[np.float32], readings: Iterable[Reading]) -> csr_matrix:
    """(texts, runs): features as the served model computes them, so that both see the same."""
    unfitted = _small(keys, rarity, np.zeros((len(keys), 1)), np.zeros(1))
    features = [unfitted.features(reading) for reading in readings]
    starts = np.cumsum([0, *(len(places) for places, _ in features)])
    places = np.concatenate([places for places, _ in features])
    values = np.concatenate([values for _, values in features])
    return csr_matrix((values, places, starts), shape=(len(features), len(keys)))


def _small(
    keys: Keys, rarity: NDArray[np.float32], weights: NDArray[np.float64], intercepts: NDArray[np.float64]
) -> CharNgrams:
    """With int8 weights, each output on a scale of its own: a quarter of what float32 would take."""
    scales = np.maximum(np.abs(weights).max(axis=0) / _LARGEST, np.finfo(np.float32).tiny)
    return CharNgrams(
        keys,
        rarity,
        np.rint(weights / scales).astype(np.int8),
        scales.astype(np.float32),
        intercepts.astype(np.float32),
    )
