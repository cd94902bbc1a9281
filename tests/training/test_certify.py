from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from training.certify import certificate, certify_decline, certify_dispatch, upper_bound


def test_no_error_gives_the_closed_form() -> None:
    assert upper_bound(0, 300, 0.95) == pytest.approx(1 - 0.05 ** (1 / 300))
    assert upper_bound(5, 5, 0.95) == upper_bound(0, 0, 0.95) == 1.0


@given(orders=st.integers(1, 400), share=st.floats(0, 0.99), confidence=st.floats(0.5, 0.999))
def test_the_bound_is_exact(orders: int, share: float, confidence: float) -> None:
    """At the bound itself, as few errors or fewer have just the probability 1 - confidence."""
    errors = int(share * orders)
    bound = upper_bound(errors, orders, confidence)
    assert binom.cdf(errors, orders, bound) == pytest.approx(1 - confidence, rel=1e-6)


def test_the_lowest_threshold_that_keeps_the_risk_is_chosen() -> None:
    scores = np.concatenate([np.full(5, 0.8), np.full(395, 0.1)])
    bound = certify_decline(scores, risk=0.02, confidence=0.975)
    assert bound.threshold == 0.801  # at 0.8 five errors of 400 would bound at 2.9 %
    assert (bound.errors, bound.orders) == (0, 400)
    assert bound.upper <= 0.02


def test_too_few_orders_certify_nothing() -> None:
    bound = certify_decline(np.zeros(50), risk=0.02, confidence=0.975)
    assert bound.threshold is None
    assert certify_dispatch(np.zeros(0), risk=0.05, confidence=0.975).threshold is None


def test_dispatch_is_the_mirror_image() -> None:
    scores = np.concatenate([np.full(9, 0.2), np.full(391, 0.9)])
    bound = certify_dispatch(scores, risk=0.02, confidence=0.975)
    assert bound.threshold == 0.199
    assert bound.errors == 0
    assert certify_dispatch(scores, risk=0.05, confidence=0.975).threshold == 0.899


def test_violations_stay_within_the_promised_share_of_resplits() -> None:
    """Scores from a known population: a threshold's true risk is known, the promise fails ≤ 5 % of times."""
    random = np.random.default_rng(7)
    population = random.beta(1, 6, 200_000)
    ordered = np.sort(population)
    violations = 0
    for _ in range(1000):
        bound = certify_decline(random.choice(population, 336), risk=0.02, confidence=0.95)
        assert bound.threshold is not None
        risk = 1 - np.searchsorted(ordered, bound.threshold) / len(ordered)
        violations += risk > 0.02
    assert violations <= 50 + 3 * np.sqrt(1000 * 0.05 * 0.95)
    assert violations > 0  # a bound that is never broken would be needlessly wide


def test_the_certificate_names_data_counts_and_method() -> None:
    bound = certify_decline(np.zeros(400), 0.02, 0.975)
    other = certify_dispatch(np.ones(400), 0.05, 0.975)
    said = certificate(bound, other, snapshot="sha256:s", regions=("w3",))
    assert said["joint_confidence"] == 0.95
    assert said["snapshot"] == "sha256:s"
    assert said["calibration_regions"] == ["w3"]
    assert said["decline"]["orders"] == 400
    assert said["decline"]["threshold"] == bound.threshold
    assert "binomial" in said["method"]
