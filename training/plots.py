"""The pictures of an evaluation; `training/run.py` calls it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from data.taxonomy import Taxonomy
from training.evaluate import Scored


@dataclass(frozen=True, slots=True)
class Costs:
    """One model's P(unreasonable) of the test's orders and of real ones; the latter may be none."""

    orders: NDArray[np.float64]
    real: NDArray[np.float64]


def draw_plots(
    scored: Scored, folder: Path, taxonomy: Taxonomy, real: Costs, baseline: Costs | None = None
) -> None:
    """Reliability, risk against coverage, what a flag costs (beside the baseline), confusion matrices.

    Args:
        real: the model's P(unreasonable) of the test's and of real orders; `baseline` is another's.
    """
    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    _reliability(scored).savefig(folder / "reliability.png", dpi=110)
    _risk_coverage(scored).savefig(folder / "risk_coverage.png", dpi=110)
    _cost(scored, {"encoder": real, "TF-IDF + linear": baseline}).savefig(folder / "flags.png", dpi=110)
    for group, codes in taxonomy.groups.items():
        _confusion_of(scored, group, codes).savefig(folder / f"confusion_{group}.png", dpi=110)


def _reliability(scored: Scored) -> Figure:
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    order = np.argsort(scored.p_unreasonable, kind="stable")
    bins = [rows for rows in np.array_split(order, 12) if len(rows)]
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.plot(
        [scored.p_unreasonable[rows].mean() for rows in bins],
        [scored.unreasonable[rows].mean() for rows in bins],
        marker="o",
    )
    axes.set(xlabel="P(unreasonable)", ylabel="share unreasonable", title="Reliability, bins of equal count")
    return figure


def _risk_coverage(scored: Scored) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    order = np.argsort(-scored.confidence, kind="stable")
    wrong = ~scored.right[order]
    answered = np.arange(1, len(order) + 1)
    axes.plot(answered / len(order), np.cumsum(wrong) / answered)
    axes.set(xlabel="share answered, surest first", ylabel="share of these wrong", title="Risk and coverage")
    return figure


def _cost(scored: Scored, models: Mapping[str, Costs | None]) -> Figure:
    """Unreasonable orders found against the share of reasonable look-alikes, and of real orders, flagged."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for name, costs in models.items():
        if costs is None:
            continue
        for axes, spared, least in (
            (left, costs.orders[~scored.unreasonable], 0.01),
            (right, costs.real, 0.001),
        ):
            axes.set_xscale("symlog", linthresh=least)
            if not len(spared):
                continue
            thresholds = np.unique(costs.orders)[::-1]
            false = [(spared >= threshold).mean() for threshold in thresholds]
            found = [(costs.orders[scored.unreasonable] >= threshold).mean() for threshold in thresholds]
            axes.step(false, found, where="post", label=name)
    left.set(
        xlim=(0, 1), xlabel="share of reasonable look-alikes flagged", ylabel="unreasonable orders found"
    )
    right.set(xlim=(0, 1), xlabel="share of real orders flagged")
    left.axvline(0.02, color="grey", linestyle=":")
    right.axvline(0.001, color="grey", linestyle=":")
    left.legend()
    figure.suptitle("What a flag costs")
    return figure


def _confusion_of(scored: Scored, group: str, codes: tuple[str, ...]) -> Figure:
    true = [codes.index(getattr(order, group)) for order in scored.orders]
    return confusion(np.array(true), scored.probabilities[group].argmax(axis=1), codes, group)


def confusion(true: NDArray[np.int64], said: NDArray[np.int64], codes: tuple[str, ...], title: str) -> Figure:
    """How often each code was taken for each; rows are the true ones, shaded by their shares.

    Args:
        true, said: (texts,), places in `codes`.
    """
    counts = confusion_matrix(true, said, labels=range(len(codes)))
    size = 2.5 + 0.42 * len(codes)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(codes)), codes, rotation=90)
    axes.set_yticks(range(len(codes)), codes)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            dark = count > counts[row].sum() / 2
            axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    axes.set(xlabel="said", ylabel="true", title=title)
    return figure
