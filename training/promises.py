"""Whom a bundle's thresholds promise to spare, and how the promises fare; `training/run.py` calls it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.records import Prediction
from training.certify import (
    Population,
    broken_share,
    certificate,
    certify_decline,
    certify_dispatch,
    upper_bound,
)
from training.evaluate import Scored
from training.examples import Example
from training.recipe import Recipe

_LOOSEST = 0.05  # a bound above it promises nothing


@dataclass(frozen=True, slots=True)
class Crossed:
    """What the thresholds do to orders that trained and calibrated nothing, in shares.

    Attributes:
        look_alikes: of the test's reasonable orders, those recommended for declining.
        real: the same of real orders, all presumed reasonable; None without them.
        found: the same of the test's unreasonable orders.
        missed: of the test's unreasonable orders, those dispatched without review.
        waved_through: the same of its reasonable ones, which is what dispatch is for.
    """

    look_alikes: float
    real: float | None
    found: float
    missed: float
    waved_through: float


def promised(
    recipe: Recipe, calibration: Scored, kept: Sequence[Example], predictions: Sequence[Prediction]
) -> tuple[dict[str, Any], tuple[float, float]]:
    """The certificate, and how often redrawn calibration would have broken its two bounds.

    Args:
        kept, predictions: real messages that trained nothing, and what the model says of them. One that a
            reader found unreasonable is none that must be spared.
    """
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
    reasonable = [
        (example, prediction)
        for example, prediction in zip(kept, predictions, strict=True)
        if example.labels["verdict"] == 0
    ]
    if reasonable:
        spared.append(
            Population(
                "real messages recommended for declining",
                np.array([prediction.p_unreasonable for _, prediction in reasonable]),
                plan.real_risk,
                "messages to leaders that trained nothing; reasonable, or presumed so unread",
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
    decline = certify_decline(spared, each)
    promise = certificate(decline, certify_dispatch(missed, each))
    promise["separately"] = _separately(decline.threshold, calibration, reasonable, plan.confidence)
    return promise, (
        broken_share(spared, certify_decline, each, recipe.seed),
        broken_share(missed, certify_dispatch, each, recipe.seed),
    )


def _separately(
    threshold: float | None,
    calibration: Scored,
    real: Sequence[tuple[Example, Prediction]],
    confidence: float,
) -> list[dict[str, Any]]:
    """Bounds on wrong declines by subject and by ground, each by itself at `confidence`.

    A subject counts what it has; a ground is wrongly given to reasonable orders of any subject. Where
    there are too few orders to bound anything, there is no line.
    """
    if threshold is None:
        return []
    taxonomy = calibration.taxonomy
    verdicts, subjects = taxonomy.groups["verdict"], taxonomy.groups["subject"]
    likeliest = calibration.probabilities["verdict"][:, 1:].argmax(axis=1) + 1
    spared = [  # (subject or None, ground it would be given, whether it is declined)
        (order.subject, verdicts[ground], p >= threshold)
        for order, ground, p in zip(calibration.orders, likeliest, calibration.p_unreasonable, strict=True)
        if not order.unreasonable
    ] + [
        (
            subjects[example.labels["subject"]] if "subject" in example.labels else None,
            prediction.likeliest_ground,
            prediction.p_unreasonable >= threshold,
        )
        for example, prediction in real
    ]
    lines = []
    for code in subjects:
        declined = [over for subject, _, over in spared if subject == code]
        lines.append(("subject", code, len(declined), sum(declined)))
    for code in verdicts[1:]:
        wrong = sum(over for _, ground, over in spared if ground == code)
        lines.append(("ground", code, len(spared), wrong))
    return [
        {"by": by, "code": code, "orders": orders, "errors": int(errors), "upper_bound": round(upper, 6)}
        for by, code, orders, errors in lines
        if (upper := upper_bound(int(errors), orders, confidence)) <= _LOOSEST
    ]


def crossed(promise: dict[str, Any], test: Scored, p_real: NDArray[np.float64]) -> Crossed | None:
    """Count what crosses either threshold; None without a threshold to decline."""
    decline, dispatch = (promise[name]["threshold"] for name in ("decline", "dispatch"))
    if decline is None:
        return None
    wrong = test.unreasonable
    over = test.p_unreasonable >= decline
    under = test.p_unreasonable <= (-1.0 if dispatch is None else dispatch)
    return Crossed(
        look_alikes=float(over[~wrong].mean()),
        real=float((p_real >= decline).mean()) if len(p_real) else None,
        found=float(over[wrong].mean()),
        missed=float(under[wrong].mean()),
        waved_through=float(under[~wrong].mean()),
    )
