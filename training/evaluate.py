"""Scores a classifier on labelled orders and compares graphs; `training/run.py` calls it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tqdm import tqdm

from data.corpus.labels import LabelledOrder
from data.masking import read_text
from data.records import Prediction, Reading
from data.taxonomy import Taxonomy
from models.classifier import Classifier
from models.encoder_classifier import EncoderClassifier
from models.lanes import usable_cores
from training.calibrate import expected_calibration_error
from training.classifier import PooledClassifier
from training.finetune import encode
from training.metrics import Metrics, scores

_SHOWN_FROM = 1000  # texts: fewer take seconds


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


def predictions(model: Classifier, readings: Sequence[Reading]) -> list[Prediction]:
    """One per reading, in order; as many at a time as there are cores, with a bar where it takes long."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        found = pool.map(lambda reading: model.classify([reading])[0], readings)
        silent = len(readings) < _SHOWN_FROM
        return list(tqdm(found, total=len(readings), desc="texts", unit="text", disable=silent))


def score(model: EncoderClassifier, orders: Sequence[LabelledOrder], taxonomy: Taxonomy) -> Scored:
    """Classify the orders as service does: canonical, masked, one at a time."""
    found = predictions(model, [read_text(order.title, order.content).reading for order in orders])
    groups = {
        "verdict": [list(each.verdict.values()) for each in found],
        "kind": [list(each.kind.values()) for each in found],
        "subject": [list(each.subject.values()) for each in found],
    }
    return Scored(
        orders,
        np.array([each.p_unreasonable for each in found]),
        {group: np.array(rows) for group, rows in groups.items()},
        {group: np.array([each.logits[group] for each in found]) for group in (*groups, "flags")},
        np.array([list(each.flags.values()) for each in found]),
        taxonomy,
    )


def largest_gap(
    model: PooledClassifier,
    graph: EncoderClassifier,
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


def agreement(one: EncoderClassifier, other: EncoderClassifier, orders: Sequence[LabelledOrder]) -> float:
    """The share of orders to which both graphs give the same verdict."""
    readings = [read_text(order.title, order.content).reading for order in orders]
    pairs = zip(predictions(one, readings), predictions(other, readings), strict=True)
    same = [(a.p_unreasonable >= 0.5) == (b.p_unreasonable >= 0.5) for a, b in pairs]
    return float(np.mean(same))
