from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from data.records import Prediction, Thresholds
from models.prior import PriorShift

shares = st.floats(0.001, 0.999)
chances = st.floats(0.0, 1.0)


def prediction(p: float) -> Prediction:
    verdict = {"reasonable": 1 - p, "legal_route": 0.75 * p, "harassment": 0.25 * p}
    return Prediction(verdict, {}, {}, {"verdict": (1.0, 2.0, 3.0)}, truncated=False)


def test_the_correction_is_what_counting_gives() -> None:
    """Resample a population to another share and count: the corrected probabilities are calibrated there."""
    random = np.random.default_rng(0)
    score = random.normal(size=400_000)
    unreasonable = random.random(score.size) < 1 / (1 + np.exp(-score))  # calibrated: p = sigmoid(score)
    p = 1 / (1 + np.exp(-score))
    calibrated, city = float(unreasonable.mean()), 0.03
    kept = random.random(score.size) < np.where(unreasonable, city / calibrated, 1.0) * np.where(
        unreasonable, (1 - calibrated) / (1 - city), 1.0
    )
    assert unreasonable[kept].mean() == pytest.approx(city, abs=0.002)
    shift = PriorShift(calibrated, city)
    corrected = 1 - np.array([shift.reasonable(1 - value) for value in p[kept]])
    for low, high in ((0.0, 0.02), (0.02, 0.05), (0.05, 0.15), (0.15, 1.0)):
        inside = (corrected >= low) & (corrected < high)
        assert unreasonable[kept][inside].mean() == pytest.approx(corrected[inside].mean(), rel=0.08)


@given(chances, shares)
def test_the_same_share_changes_nothing(p: float, share: float) -> None:
    after = PriorShift(share, share).prediction(prediction(p))
    assert after.p_unreasonable == pytest.approx(p, abs=1e-9)


@given(chances, shares, shares)
def test_a_prediction_stays_a_distribution_and_grounds_keep_their_proportions(
    p: float, calibrated: float, city: float
) -> None:
    after = PriorShift(calibrated, city).prediction(prediction(p))
    assert sum(after.verdict.values()) == pytest.approx(1.0)
    assert after.verdict["legal_route"] == pytest.approx(3 * after.verdict["harassment"])
    assert after.logits == prediction(p).logits


@given(chances, chances, chances, shares, shares)
def test_no_order_crosses_a_threshold(
    p: float, decline: float, dispatch: float, calibrated: float, city: float
) -> None:
    assume(abs(p - decline) > 1e-6)
    assume(abs(p - dispatch) > 1e-6)
    # Where both probabilities round to 0 or 1, nothing can be told apart any more.
    assume(1e-6 < p < 1 - 1e-6)
    shift = PriorShift(calibrated, city)
    before = Thresholds(decline, dispatch, {"emergency": 0.3})
    after = shift.thresholds(before)
    assert after.decline is not None
    assert after.dispatch is not None
    shifted = shift.prediction(prediction(p)).p_unreasonable
    assert (shifted >= after.decline) == (p >= decline)
    assert (shifted <= after.dispatch) == (p <= dispatch)
    assert after.flags == before.flags
    assert after.base_rate == city


def test_there_is_no_threshold_where_there_was_none() -> None:
    after = PriorShift(0.5, 0.01).thresholds(Thresholds(None, None))
    assert (after.decline, after.dispatch) == (None, None)
