from __future__ import annotations

import numpy as np
import pytest

from data.errors import BadInput
from training.second_opinion import fit_flags_opinion, fit_second_opinion


def drawn(logits: np.ndarray, seed: int) -> np.ndarray:
    """A label for each row, drawn from softmax(logits)."""
    noise = np.random.default_rng(seed).gumbel(size=logits.shape)
    labels: np.ndarray = (logits + noise).argmax(axis=1)
    return labels


def test_weight_and_temperature_are_recovered() -> None:
    random = np.random.default_rng(1)
    encoder, ngrams = random.normal(size=(2, 20_000, 4)) * 2
    labels = drawn((encoder + 0.6 * ngrams) / 1.5, 2)
    found = fit_second_opinion(encoder, ngrams, labels)
    assert found.weight == pytest.approx(0.6, rel=0.1)
    assert found.temperature == pytest.approx(1.5, rel=0.1)


def test_an_opinion_that_knows_nothing_hardly_counts() -> None:
    random = np.random.default_rng(3)
    encoder, noise = random.normal(size=(2, 20_000, 3)) * 2
    found = fit_second_opinion(encoder, noise, drawn(encoder, 4))
    assert found.weight < 0.03
    assert found.temperature == pytest.approx(1.0, rel=0.05)


def test_an_opinion_that_errs_is_not_turned_round() -> None:
    random = np.random.default_rng(5)
    encoder = random.normal(size=(5_000, 3)) * 2
    assert fit_second_opinion(encoder, -encoder, drawn(encoder, 6)).weight <= 1.0
    labels = drawn(encoder, 7)
    assert fit_second_opinion(encoder, -np.eye(3)[labels], labels).weight == 0.0


def test_flags_are_fitted_one_by_one_and_together() -> None:
    random = np.random.default_rng(8)
    encoder, ngrams = random.normal(size=(2, 6_000, 5)) * 2
    chances = 1 / (1 + np.exp(-(encoder + 2 * ngrams) / 2))
    found = fit_flags_opinion(encoder, ngrams, random.random(chances.shape) < chances)
    assert found.weight == pytest.approx(2.0, rel=0.1)
    assert found.temperature == pytest.approx(2.0, rel=0.1)


def test_nothing_to_fit_on_is_refused() -> None:
    with pytest.raises(BadInput):
        fit_second_opinion(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    with pytest.raises(BadInput):
        fit_second_opinion(np.zeros((1, 2)), np.array([[np.inf, 0.0]]), np.array([0]))
