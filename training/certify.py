"""Thresholds whose error a binomial bound caps, and the certificate that says so; pure.

`training/run.py` calls it with the scores that the exported model gives on orders that trained nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import beta

# Log-odds from 10 to -10 by a twentieth: fixed before the data are seen, as the test demands, and finer
# towards 0 and 1, where a rare error is decided. Six decimals, as a decision record keeps them.
GRID = tuple(round(float(expit(step / 20)), 6) for step in range(200, -201, -1))


@dataclass(frozen=True, slots=True)
class Population:
    """Orders that must not cross a threshold, and the share of them that may.

    Attributes:
        bounds: who they are, in words, for the certificate.
        scores: (orders,), P(unreasonable).
        source: where they come from.
    """

    bounds: str
    scores: NDArray[np.float64]
    risk: float
    source: str


@dataclass(frozen=True, slots=True)
class Promise:
    """Of `orders` of one population `errors` crossed the threshold; `upper` bounds the share that will."""

    bounds: str
    source: str
    risk: float
    orders: int
    errors: int
    upper: float


@dataclass(frozen=True, slots=True)
class Bound:
    """One threshold and what holds of it, all promises together, at `confidence`.

    `threshold` is None where even the safest of the grid keeps not every promise; the counts are then
    those of the safest.
    """

    threshold: float | None
    confidence: float
    promises: tuple[Promise, ...]


@lru_cache(maxsize=4096)
def upper_bound(errors: int, orders: int, confidence: float) -> float:
    """The exact one-sided binomial upper bound (Clopper & Pearson 1934) on an error rate."""
    if errors >= orders:
        return 1.0
    return float(beta.ppf(confidence, errors + 1, orders - errors))


def certify_decline(populations: Sequence[Population], confidence: float) -> Bound:
    """The lowest t such that of each population at most its risk has P(unreasonable) ≥ t."""
    return _walk(GRID, populations, lambda scores, t: int((scores >= t).sum()), confidence)


def certify_dispatch(populations: Sequence[Population], confidence: float) -> Bound:
    """The highest t such that of each population at most its risk has P(unreasonable) ≤ t."""
    return _walk(GRID[::-1], populations, lambda scores, t: int((scores <= t).sum()), confidence)


def _walk(
    grid: Sequence[float],
    populations: Sequence[Population],
    errors_at: Callable[[NDArray[np.float64], float], int],
    confidence: float,
) -> Bound:
    """Try thresholds from the safest on; the first that fails ends the search.

    Fixed-sequence testing keeps the joint confidence without a correction for the many thresholds
    tried (Angelopoulos et al. 2021, Learn then Test). Nor do several populations need one: a threshold
    is taken only if each of its tests rejects (the intersection-union test, Berger 1982).
    """
    best = Bound(None, confidence, ())
    for threshold in grid:
        promises = tuple(
            _promise(population, errors_at(population.scores, threshold), confidence)
            for population in populations
        )
        kept = all(promise.upper <= promise.risk for promise in promises)
        if not kept:
            return best if best.promises else Bound(None, confidence, promises)
        best = Bound(threshold, confidence, promises)
    return best


def _promise(population: Population, errors: int, confidence: float) -> Promise:
    orders = len(population.scores)
    upper = upper_bound(errors, orders, confidence)
    return Promise(population.bounds, population.source, population.risk, orders, errors, upper)


def broken_share(
    populations: Sequence[Population],
    certify: Callable[[Sequence[Population], float], Bound],
    confidence: float,
    seed: int,
    redraws: int = 1000,
) -> float:
    """How often a promise is broken when calibration is drawn anew; at most `1 - confidence` is allowed.

    The orders at hand stand for all there are, so the true risk of a threshold is known. Each redraw is as
    large as they are, with replacement.
    """
    random = np.random.default_rng(seed)
    broken = 0
    for _ in range(redraws):
        drawn = [
            replace(population, scores=random.choice(population.scores, len(population.scores)))
            for population in populations
        ]
        threshold = certify(drawn, confidence).threshold
        if threshold is None:
            continue
        crossed = certify is certify_decline
        broken += any(
            float(np.mean(each.scores >= threshold if crossed else each.scores <= threshold)) > each.risk
            for each in populations
        )
    return broken / redraws


def certificate(decline: Bound, dispatch: Bound) -> dict[str, Any]:
    """What a bundle carries and an auditor reads: the promises, the data, the counts and the method."""
    return {
        "format": 2,
        "method": (
            "exact binomial bounds, fixed-sequence testing over a grid of log-odds by 1/20, "
            "intersection-union over populations"
        ),
        "joint_confidence": round(decline.confidence + dispatch.confidence - 1.0, 6),
        "decline": _described(decline),
        "dispatch": _described(dispatch),
        "limits": (
            "Holds for orders drawn like those counted here. A city whose calls differ must calibrate on "
            "its own; until it has, its people confirm every outcome."
        ),
    }


def _described(bound: Bound) -> Mapping[str, Any]:
    return {
        "threshold": bound.threshold,
        "confidence": bound.confidence,
        "promises": [
            {
                "bounds": promise.bounds,
                "source": promise.source,
                "risk": promise.risk,
                "orders": promise.orders,
                "errors": promise.errors,
                "upper_bound": round(promise.upper, 6),
            }
            for promise in bound.promises
        ],
    }
