"""Thresholds whose error a binomial bound caps, and the certificate that says so; pure.

`training/run.py` calls it with the scores that the exported model gives on the calibration regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

_STEPS = 1000  # thresholds are multiples of 1/1000: fixed before the data are seen, as the test demands


@dataclass(frozen=True, slots=True)
class Bound:
    """One certified threshold: of `orders` that must not cross it, `errors` did in calibration.

    `upper` is the exact upper confidence bound on the share that will; `threshold` is None where
    even the safest grid value could not be certified.
    """

    threshold: float | None
    risk: float
    confidence: float
    orders: int
    errors: int
    upper: float


@lru_cache(maxsize=4096)
def upper_bound(errors: int, orders: int, confidence: float) -> float:
    """The exact one-sided binomial upper bound (Clopper & Pearson 1934) on an error rate."""
    if errors >= orders:
        return 1.0
    return float(beta.ppf(confidence, errors + 1, orders - errors))


def certify_decline(p_of_reasonable: NDArray[np.float64], risk: float, confidence: float) -> Bound:
    """The lowest t such that at most `risk` of reasonable orders have P(unreasonable) ≥ t.

    Args:
        p_of_reasonable: (orders,), P(unreasonable) of orders known to be reasonable.
    """
    grid = [step / _STEPS for step in range(_STEPS, 0, -1)]
    return _walk(grid, lambda t: int((p_of_reasonable >= t).sum()), len(p_of_reasonable), risk, confidence)


def certify_dispatch(p_of_unreasonable: NDArray[np.float64], risk: float, confidence: float) -> Bound:
    """The highest t such that at most `risk` of unreasonable orders have P(unreasonable) ≤ t."""
    grid = [step / _STEPS for step in range(_STEPS)]
    return _walk(
        grid, lambda t: int((p_of_unreasonable <= t).sum()), len(p_of_unreasonable), risk, confidence
    )


def _walk(
    grid: Sequence[float], errors_at: Callable[[float], int], orders: int, risk: float, confidence: float
) -> Bound:
    """Try thresholds from the safest on; the first that fails ends the search.

    Fixed-sequence testing keeps the joint confidence without a correction for the many thresholds
    tried (Angelopoulos et al. 2021, Learn then Test).
    """
    best = Bound(None, risk, confidence, orders, 0, upper_bound(0, orders, confidence))
    for threshold in grid:
        errors = errors_at(threshold)
        upper = upper_bound(errors, orders, confidence)
        if upper > risk:
            break
        best = Bound(threshold, risk, confidence, orders, errors, upper)
    return best


def certificate(
    decline: Bound, dispatch: Bound, *, snapshot: str, regions: tuple[str, ...]
) -> dict[str, Any]:
    """What a bundle carries and an auditor reads: the promise, the data, the counts and the method."""
    return {
        "format": 1,
        "method": "exact binomial bound, fixed-sequence testing over a grid of 1/1000",
        "snapshot": snapshot,
        "calibration_regions": list(regions),
        "joint_confidence": round(decline.confidence + dispatch.confidence - 1.0, 6),
        "decline": _described(decline, "reasonable look-alikes recommended for declining"),
        "dispatch": _described(dispatch, "unreasonable orders dispatched without review"),
        "limits": (
            "Holds for orders drawn like the calibration regions, which were written to look alike. "
            "It says nothing of the share among all real calls, almost all of which are reasonable."
        ),
    }


def _described(bound: Bound, what: str) -> dict[str, Any]:
    return {
        "bounds": what,
        "threshold": bound.threshold,
        "risk": bound.risk,
        "confidence": bound.confidence,
        "orders": bound.orders,
        "errors": bound.errors,
        "upper_bound": round(bound.upper, 6),
    }
