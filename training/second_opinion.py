"""How much the n-grams' scores count beside the encoder's, and one temperature for both; pure.

`training/fitted_bundle.py` calls it with scores of orders that trained neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from data.errors import BadInput

_SLOPES = (1e-3, 20.0)
_START = (0.5, 0.5)  # anywhere would do: the loss is convex in the two slopes


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """Calibrated: softmax((encoder + weight * n-grams) / temperature)."""

    weight: float
    temperature: float


def fit_second_opinion(
    encoder: NDArray[np.float64], ngrams: NDArray[np.float64], labels: NDArray[np.int64]
) -> SecondOpinion:
    """The weight and the temperature that make the labels likeliest (logarithmic pooling, Genest 1986).

    Args:
        encoder, ngrams: (orders, classes), raw scores of one label group.
        labels: (orders,), the true class of each.

    Raises:
        BadInput: nothing to fit on, or a score is not finite.
    """
    if len(labels) == 0 or not (np.isfinite(encoder).all() and np.isfinite(ngrams).all()):
        raise BadInput("calibration_impossible", "校准数据为空，或分数不是有限值。")
    rows = np.arange(len(labels))

    def loss(slopes: NDArray[np.float64]) -> float:
        scores = log_softmax(slopes[0] * encoder + slopes[1] * ngrams, axis=1)
        return -float(scores[rows, labels].mean())

    found = minimize(loss, _START, bounds=(_SLOPES, (0.0, _SLOPES[1])), method="L-BFGS-B")
    first, second = map(float, found.x)
    return SecondOpinion(weight=second / first, temperature=1.0 / first)


def fit_flags_opinion(
    encoder: NDArray[np.float64], ngrams: NDArray[np.float64], raised: NDArray[np.bool_]
) -> SecondOpinion:
    """The same for independent yes-or-no scores, all flags together.

    Args:
        encoder, ngrams, raised: (orders, flags).
    """
    first, second = (
        np.hstack([np.zeros((scores.size, 1)), scores.reshape(-1, 1)]) for scores in (encoder, ngrams)
    )
    return fit_second_opinion(first, second, raised.ravel().astype(np.int64))
