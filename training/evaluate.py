"""Scores a classifier on labelled orders, compares graphs, draws the pictures; `training/run.py` calls it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix
from tokenizers import Tokenizer

from data.corpus.labels import LabelledOrder
from data.masking import read_text
from data.records import Reading
from data.taxonomy import Taxonomy
from models.onnx_classifier import OnnxClassifier
from training.calibrate import expected_calibration_error
from training.classifier import PooledClassifier
from training.finetune import encode
from training.metrics import Metrics, scores


@dataclass(frozen=True, slots=True)
class Scored:
    """Orders and what the model says of them, row by row; columns in the taxonomy's order.

    `flags` are (orders, flags) probabilities; `logits` holds theirs under "flags" as well.
    """

    orders: Sequence[LabelledOrder]
    p_unreasonable: NDArray[np.float64]
    probabilities: dict[str, NDArray[np.float64]]
    logits: dict[str, NDArray[np.float64]]
    flags: NDArray[np.float64]
    taxonomy: Taxonomy

    @property
    def unreasonable(self) -> NDArray[np.bool_]:
        return np.array([order.unreasonable for order in self.orders])

    @property
    def raised(self) -> NDArray[np.bool_]:
        """(orders, flags): which flags are true."""
        rows = [[code in order.flags for code in self.taxonomy.flag_codes] for order in self.orders]
        return np.array(rows, dtype=np.bool_)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """The probability of the verdict given."""
        return np.maximum(self.p_unreasonable, 1.0 - self.p_unreasonable)

    @property
    def right(self) -> NDArray[np.bool_]:
        right: NDArray[np.bool_] = (self.p_unreasonable >= 0.5) == self.unreasonable
        return right

    def metrics(self) -> Metrics:
        return scores(
            self.orders,
            p_unreasonable=self.p_unreasonable,
            ground_probs=self.probabilities["verdict"][:, 1:],
            kind_probs=self.probabilities["kind"],
            subject_probs=self.probabilities["subject"],
            taxonomy=self.taxonomy,
        )

    def calibration_error(self) -> float:
        return expected_calibration_error(self.confidence, self.right)


def score(model: OnnxClassifier, orders: Sequence[LabelledOrder], taxonomy: Taxonomy) -> Scored:
    """Classify the orders as service does: canonical, masked, one at a time."""
    predictions = model.classify([read_text(order.title, order.content).reading for order in orders])
    groups = {
        "verdict": [list(each.verdict.values()) for each in predictions],
        "kind": [list(each.kind.values()) for each in predictions],
        "subject": [list(each.subject.values()) for each in predictions],
    }
    return Scored(
        orders,
        np.array([each.p_unreasonable for each in predictions]),
        {group: np.array(rows) for group, rows in groups.items()},
        {group: np.array([each.logits[group] for each in predictions]) for group in (*groups, "flags")},
        np.array([list(each.flags.values()) for each in predictions]),
        taxonomy,
    )


def largest_gap(
    model: PooledClassifier,
    graph: OnnxClassifier,
    tokenizer: Tokenizer,
    readings: Sequence[Reading],
    length: int,
) -> float:
    """max |Δlogit| between the weights and the graph exported from them, one reading at a time."""
    gaps = []
    for reading in readings:
        with torch.no_grad():
            expected = model(**encode(tokenizer, [reading], length)).logits[0].numpy()
        gaps.append(float(np.abs(graph.logits(reading)[0] - expected).max()))
    return max(gaps)


def agreement(one: OnnxClassifier, other: OnnxClassifier, orders: Sequence[LabelledOrder]) -> float:
    """The share of orders to which both graphs give the same verdict."""
    readings = [read_text(order.title, order.content).reading for order in orders]
    pairs = zip(one.classify(readings), other.classify(readings), strict=True)
    same = [(a.p_unreasonable >= 0.5) == (b.p_unreasonable >= 0.5) for a, b in pairs]
    return float(np.mean(same))


def draw_plots(
    scored: Scored, folder: Path, taxonomy: Taxonomy, baseline: NDArray[np.float64] | None = None
) -> None:
    """Reliability, risk against coverage, a flag's cost (beside the baseline) and confusion matrices."""
    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    _reliability(scored).savefig(folder / "reliability.png", dpi=110)
    _risk_coverage(scored).savefig(folder / "risk_coverage.png", dpi=110)
    _flags(scored, baseline).savefig(folder / "flags.png", dpi=110)
    for group, codes in taxonomy.groups.items():
        _confusion(scored, group, codes).savefig(folder / f"confusion_{group}.png", dpi=110)


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


def _flags(scored: Scored, baseline: NDArray[np.float64] | None) -> Figure:
    """Recall of unreasonable orders against the share of reasonable ones flagged, low shares spread out."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    curves = {"encoder": scored.p_unreasonable}
    if baseline is not None:
        curves["TF-IDF + linear"] = baseline
    for name, p in curves.items():
        thresholds = np.unique(p)[::-1]
        false = [(p[~scored.unreasonable] >= t).mean() for t in thresholds]
        found = [(p[scored.unreasonable] >= t).mean() for t in thresholds]
        axes.step(false, found, where="post", label=name)
    axes.set(
        xscale="symlog",
        xlim=(0, 1),
        xlabel="share of reasonable orders flagged",
        ylabel="share of unreasonable orders found",
        title="What a flag costs",
    )
    axes.set_xscale("symlog", linthresh=0.01)
    axes.legend()
    return figure


def _confusion(scored: Scored, group: str, codes: tuple[str, ...]) -> Figure:
    said = [codes[place] for place in scored.probabilities[group].argmax(axis=1)]
    true = [getattr(order, group) for order in scored.orders]
    counts = confusion_matrix(true, said, labels=list(codes))
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
    axes.set(xlabel="said", ylabel="true", title=group)
    return figure
