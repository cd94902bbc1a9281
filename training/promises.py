"""Whom a bundle's thresholds promise to spare, and how the promises fare; `training/run.py` calls it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.certify import Population, broken_share, certificate, certify_decline, certify_dispatch
from training.evaluate import Scored
from training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Crossed:
    """Shares that the decline threshold recommends to decline; these orders trained and calibrated nothing.

    Attributes:
        look_alikes: of the test region's reasonable orders.
        real: of real orders, all presumed reasonable; None without them.
        found: of the test region's unreasonable orders.
    """

    look_alikes: float
    real: float | None
    found: float


def promised(
    recipe: Recipe, calibration: Scored, p_kept: NDArray[np.float64]
) -> tuple[dict[str, Any], tuple[float, float]]:
    """The certificate, and how often redrawn calibration would have broken its two bounds."""
    plan, where = recipe.certificate, ", ".join(recipe.split.calibration)
    each = 1.0 - (1.0 - plan.confidence) / 2  # two bounds hold together at the joint confidence
    wrong = calibration.unreasonable
    spared = [
        Population(
            "reasonable look-alikes recommended for declining",
            calibration.p_unreasonable[~wrong],
            plan.decline_risk,
            f"authored orders, {where}",
        )
    ]
    if len(p_kept):
        spared.append(
            Population(
                "real messages recommended for declining",
                p_kept,
                plan.real_risk,
                "messages to leaders that trained nothing, presumed reasonable",
            )
        )
    missed = [
        Population(
            "unreasonable orders dispatched without review",
            calibration.p_unreasonable[wrong],
            plan.dispatch_risk,
            f"authored orders, {where}",
        )
    ]
    promise = certificate(certify_decline(spared, each), certify_dispatch(missed, each))
    return promise, (
        broken_share(spared, certify_decline, each, recipe.seed),
        broken_share(missed, certify_dispatch, each, recipe.seed),
    )


def crossed(promise: dict[str, Any], test: Scored, p_real: NDArray[np.float64]) -> Crossed | None:
    """What the decline threshold did to orders that neither trained nor calibrated; None without one."""
    threshold = promise["decline"]["threshold"]
    if threshold is None:
        return None
    over = test.p_unreasonable >= threshold
    return Crossed(
        look_alikes=float(over[~test.unreasonable].mean()),
        real=float((p_real >= threshold).mean()) if len(p_real) else None,
        found=float(over[test.unreasonable].mean()),
    )
