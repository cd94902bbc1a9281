"""When the model raises a flag, and how often rightly; pure. `training/run.py` calls it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HIGHEST = 0.5
_FALSE_SHARE = 0.02
_CAUTION = 0.5  # of the odds of the least likely true one: the next true one may be less likely still


@dataclass(frozen=True, slots=True)
class FlagFigures:
    """How one flag did: of `raised` true ones `recall` was found, and `false_share` of the others flagged."""

    raised: int
    recall: float | None
    false_share: float


def flag_threshold(p: NDArray[np.float64], raised: NDArray[np.bool_]) -> float:
    """The probability from which on a flag is raised: low enough for every true one that was seen.

    Missing a person in danger is the worse error, so the threshold lies at half the odds of the least
    likely true one, but no lower than lets 2 % of the others through, and no higher than one half.

    Args:
        p, raised: (orders,), calibrated probabilities and the truth on orders that trained nothing.
    """
    wanted = _HIGHEST
    if raised.any():
        lowest = float(p[raised].min())
        odds = _CAUTION * lowest / max(1.0 - lowest, 1e-9)
        wanted = min(_HIGHEST, odds / (1.0 + odds))
    others = np.sort(p[~raised])[::-1]
    allowed = int(_FALSE_SHARE * len(others))
    if allowed >= len(others):
        return wanted
    floor = float(np.nextafter(others[allowed], 1.0))  # the first of them that must stay below
    return min(max(wanted, floor), _HIGHEST)


def flag_figures(said: NDArray[np.bool_], raised: NDArray[np.bool_]) -> FlagFigures:
    """Compare what was said of n orders with the truth; recall is None where no order has the flag."""
    return FlagFigures(
        raised=int(raised.sum()),
        recall=float(said[raised].mean()) if raised.any() else None,
        false_share=float(said[~raised].mean()) if (~raised).any() else 0.0,
    )
