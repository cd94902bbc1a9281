from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from data.errors import BadInput
from training.calibrate import expected_calibration_error, fit_flag_temperature, fit_temperature


def test_flags_share_one_temperature() -> None:
    random = np.random.default_rng(0)
    true = random.normal(size=(4000, 3)) * 2
    raised = random.random(true.shape) < 1 / (1 + np.exp(-true))
    assert fit_flag_temperature(true * 3, raised) == pytest.approx(3, rel=0.1)


def test_the_temperature_that_made_the_labels_is_found() -> None:
    random = np.random.default_rng(1)
    true = random.normal(size=(20_000, 4)) * 2
    labels = np.array([random.choice(4, p=row) for row in softmax(true, axis=1)])
    assert fit_temperature(true * 3.0, labels) == pytest.approx(3.0, rel=0.05)
    assert fit_temperature(true / 2.0, labels) == pytest.approx(0.5, rel=0.05)


def test_nothing_to_fit_on_is_refused() -> None:
    with pytest.raises(BadInput):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    with pytest.raises(BadInput):
        fit_temperature(np.array([[np.nan, 0.0]]), np.array([0]))


def test_calibration_error_is_the_gap() -> None:
    confidence = np.full(100, 0.9)
    assert expected_calibration_error(confidence, np.ones(100, dtype=bool)) == pytest.approx(0.1)
    right = np.tile(np.arange(10) < 9, 10)  # nine of ten in each bin
    assert expected_calibration_error(confidence, right) == pytest.approx(0.0)
