"""One temperature per label group, fitted on orders the model never saw; `training/run.py` calls it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from data.errors import BadInput

_LOWEST, _HIGHEST = 0.05, 20.0


def fit_temperature(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The T > 0 that makes softmax(logits / T) likeliest for the labels (Guo et al. 2017).

    Args:
        logits: (orders, classes), raw scores of one label group.
        labels: (orders,), the true class of each.

    Raises:
        BadInput: nothing to fit on, or a score is not finite.
    """
    if len(logits) == 0 or not np.isfinite(logits).all():
        raise BadInput("calibration_impossible", "校准数据为空，或分数不是有限值。")
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(scaled[rows, labels].mean())

    best = minimize_scalar(loss, bounds=(np.log(_LOWEST), np.log(_HIGHEST)), method="bounded")
    return float(np.exp(best.x))


def fit_flag_temperature(logits: NDArray[np.float64], raised: NDArray[np.bool_]) -> float:
    """The same for independent yes-or-no scores, all flags together.

    Args:
        logits, raised: (orders, flags).
    """
    yes = logits.reshape(-1, 1)
    return fit_temperature(np.hstack([np.zeros_like(yes), yes]), raised.ravel().astype(np.int64))


def expected_calibration_error(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10
) -> float:
    """Mean gap between confidence and accuracy over bins of equal count, weighted by their size."""
    order = np.argsort(confidence, kind="stable")
    gaps = [
        len(rows) * abs(float(confidence[rows].mean()) - float(right[rows].mean()))
        for rows in np.array_split(order, bins)
        if len(rows)
    ]
    return float(sum(gaps) / len(confidence))
