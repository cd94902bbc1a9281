from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapie.risk_control import BinaryClassificationController
from numpy.typing import NDArray
from scipy.stats import binom

from training.certify import (
    GRID,
    Population,
    broken_share,
    certificate,
    certify_decline,
    certify_dispatch,
    upper_bound,
)


def test_no_error_gives_the_closed_form() -> None:
    assert upper_bound(0, 300, 0.95) == pytest.approx(1 - 0.05 ** (1 / 300))
    assert upper_bound(5, 5, 0.95) == upper_bound(0, 0, 0.95) == 1.0


@given(orders=st.integers(1, 400), share=st.floats(0, 0.99), confidence=st.floats(0.5, 0.999))
def test_the_bound_is_exact(orders: int, share: float, confidence: float) -> None:
    """At the bound itself, as few errors or fewer have just the probability 1 - confidence."""
    errors = int(share * orders)
    bound = upper_bound(errors, orders, confidence)
    assert binom.cdf(errors, orders, bound) == pytest.approx(1 - confidence, rel=1e-6)


def people(scores: NDArray[np.float64], risk: float = 0.02) -> Population:
    return Population("someone", scores, risk, "nowhere")


def test_the_lowest_threshold_that_keeps_the_risk_is_chosen() -> None:
    scores = np.concatenate([np.full(5, 0.8), np.full(395, 0.1)])
    bound = certify_decline([people(scores)], confidence=0.975)
    assert bound.threshold == min(step for step in GRID if step > 0.8)  # at 0.8 the bound is 2.9 %
    assert (bound.promises[0].errors, bound.promises[0].orders) == (0, 400)
    assert bound.promises[0].upper <= 0.02


def test_every_population_must_be_spared() -> None:
    easy, hard = people(np.full(400, 0.1)), people(np.full(4000, 0.97), 0.001)
    assert certify_decline([easy], 0.975).threshold == min(step for step in GRID if step > 0.1)
    both = certify_decline([easy, hard], 0.975)
    assert both.threshold == min(step for step in GRID if step > 0.97)
    assert [promise.orders for promise in both.promises] == [400, 4000]


def test_too_few_orders_certify_nothing() -> None:
    bound = certify_decline([people(np.zeros(50))], confidence=0.975)
    assert bound.threshold is None
    assert bound.promises[0].upper > 0.02
    assert certify_dispatch([people(np.zeros(0), 0.05)], confidence=0.975).threshold is None


def test_dispatch_is_the_mirror_image() -> None:
    scores = np.concatenate([np.full(9, 0.2), np.full(391, 0.9)])
    bound = certify_dispatch([people(scores)], confidence=0.975)
    assert bound.threshold == max(step for step in GRID if step < 0.2)
    assert bound.promises[0].errors == 0
    wider = certify_dispatch([people(scores, 0.05)], confidence=0.975)
    assert wider.threshold == max(step for step in GRID if step < 0.9)


def test_thresholds_are_as_exact_as_a_decision_record() -> None:
    assert all(round(step * 1e6) / 1e6 == step for step in GRID)
    assert len(set(GRID)) == len(GRID)


def test_violations_stay_within_the_promised_share_of_resplits() -> None:
    """Scores from a known population: a threshold's true risk is known, the promise fails ≤ 5 % of times."""
    random = np.random.default_rng(7)
    population = random.beta(1, 6, 200_000)
    ordered = np.sort(population)
    violations = 0
    for _ in range(1000):
        bound = certify_decline([people(random.choice(population, 336))], confidence=0.95)
        assert bound.threshold is not None
        risk = 1 - np.searchsorted(ordered, bound.threshold) / len(ordered)
        violations += risk > 0.02
    assert violations <= 50 + 3 * np.sqrt(1000 * 0.05 * 0.95)
    assert violations > 0  # a bound that is never broken would be needlessly wide


def test_two_populations_break_a_promise_no_oftener_than_one() -> None:
    random = np.random.default_rng(8)
    two = [people(random.beta(1, 6, 600)), people(random.beta(1, 9, 4000), 0.01)]
    assert 0 < broken_share(two, certify_decline, 0.95, seed=1) <= 0.05 + 0.02
    missed = [people(random.beta(6, 1, 600), 0.05)]
    assert 0 < broken_share(missed, certify_dispatch, 0.95, seed=1) <= 0.05 + 0.02


def test_the_certificate_names_data_counts_and_method() -> None:
    bound = certify_decline([people(np.zeros(400))], 0.975)
    other = certify_dispatch([people(np.ones(400), 0.05)], 0.975)
    said = certificate(bound, other)
    assert said["joint_confidence"] == 0.95
    assert said["decline"]["threshold"] == bound.threshold
    assert said["decline"]["promises"][0] == {
        "bounds": "someone",
        "source": "nowhere",
        "risk": 0.02,
        "orders": 400,
        "errors": 0,
        "upper_bound": round(upper_bound(0, 400, 0.975), 6),
    }
    assert "binomial" in said["method"]


@pytest.mark.parametrize("seed", range(4))
def test_a_library_finds_the_same_threshold(seed: int) -> None:
    """MAPIE's risk control, told of the same grid and the same order of tests, stops where we stop."""
    scores = np.random.default_rng(seed).beta(1, 6, 500 + 300 * seed)
    control = BinaryClassificationController(
        lambda column: np.column_stack([1 - column[:, 0], column[:, 0]]),
        risk="fpr",
        target_level=0.02,
        confidence_level=0.95,
        list_predict_params=np.array(GRID),
        fwer_method="fixed_sequence",
    )
    control.calibrate(scores[:, np.newaxis], np.zeros(len(scores), dtype=int))
    ours = certify_decline([people(scores)], 0.95)
    assert ours.threshold == control.valid_predict_params.min()
