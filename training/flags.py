"""When the model raises a flag, and how often rightly; pure. `training/run.py` calls it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Flagged = tuple[NDArray[np.float64], NDArray[np.bool_]]

_HIGHEST = 0.5
_FALSE_SHARE = 0.02
_CAUTION = 0.5  # of the odds of the least likely true one: the next true one may be less likely still


@dataclass(frozen=True, slots=True)
class FlagFigures:
    """How one flag did: of `raised` true ones `recall` was found, and `false_share` of the others flagged."""

    raised: int
    recall: float | None
    false_share: float


def flag_threshold(*populations: Flagged) -> float:
    """The probability from which on a flag is raised: low enough for every true one that was seen.

    Missing a person in danger is the worse error, so the threshold lies at half the odds of the least
    likely true one, but no lower than lets 2 % of any population's others through, and no higher than
    one half.

    Args:
        populations: of orders that trained nothing, calibrated probabilities and the truth, each (orders,).
    """
    wanted = _HIGHEST
    true_ones = np.concatenate([p[raised] for p, raised in populations])
    if len(true_ones):
        lowest = float(true_ones.min())
        odds = _CAUTION * lowest / max(1.0 - lowest, 1e-9)
        wanted = min(_HIGHEST, odds / (1.0 + odds))
    floor = max(_floor(p[~raised]) for p, raised in populations)
    return min(max(wanted, floor), _HIGHEST)


def _floor(others: NDArray[np.float64]) -> float:
    """What keeps all but 2 % of those without the flag below; zero where there are none."""
    allowed = int(_FALSE_SHARE * len(others))
    if allowed >= len(others):
        return 0.0
    return float(np.nextafter(np.sort(others)[::-1][allowed], 1.0))  # the first of them that must stay below


def flag_figures(said: NDArray[np.bool_], raised: NDArray[np.bool_]) -> FlagFigures:
    """Compare what was said of n orders with the truth; recall is None where no order has the flag."""
    return FlagFigures(
        raised=int(raised.sum()),
        recall=float(said[raised].mean()) if raised.any() else None,
        false_share=float(said[~raised].mean()) if (~raised).any() else 0.0,
    )
