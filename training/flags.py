"""When the model raises a flag, and how often rightly; pure. `training/run.py` calls it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.certify import upper_bound

Flagged = tuple[NDArray[np.float64], NDArray[np.bool_]]

_HIGHEST = 0.5
_FALSE_SHARE = 0.02
_CONFIDENCE = 0.9
_CAUTION = 0.5  # of the odds of the least likely true one: the next true one may be less likely still


@dataclass(frozen=True, slots=True)
class FlagFigures:
    """How one flag did: of `raised` true ones `recall` was found, and `false_share` of the others flagged."""

    raised: int
    recall: float | None
    false_share: float


def flag_threshold(look_alikes: Flagged, messages: Flagged) -> float:
    """The probability from which on a flag is raised: low enough for every true one that was seen.

    Missing a person in danger is the worse error, so the threshold lies at half the odds of the least
    likely true one. But it is no lower than lets 2 % of the messages without the flag through, at 90 %
    confidence, and no higher than one half. Look-alikes were written to be taken for danger: how many of
    them are says nothing of a hotline, so they set that bound only where no messages were read.

    Args:
        look_alikes: authored orders that trained nothing: calibrated probabilities and the truth, (orders,).
        messages: real ones that a reader labelled, the same.
    """
    wanted = _HIGHEST
    true_ones = np.concatenate([p[raised] for p, raised in (look_alikes, messages)])
    if len(true_ones):
        lowest = float(true_ones.min())
        odds = _CAUTION * lowest / max(1.0 - lowest, 1e-9)
        wanted = min(_HIGHEST, odds / (1.0 + odds))
    p, raised = messages if len(messages[0]) else look_alikes
    return min(max(wanted, _floor(p[~raised])), _HIGHEST)


def _floor(others: NDArray[np.float64]) -> float:
    """What keeps all but 2 % of those without the flag below; zero where there are none."""
    allowed = 0
    while allowed < len(others) and upper_bound(allowed + 1, len(others), _CONFIDENCE) <= _FALSE_SHARE:
        allowed += 1
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
