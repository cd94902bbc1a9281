from __future__ import annotations

import numpy as np
import pytest

from data.corpus.labels import LabelledOrder, read_folder
from data.taxonomy import Taxonomy
from models.precedents import read_precedents
from training.precedents import States, fit_precedents, precedent_figures

WIDTH = 48


@pytest.fixture(scope="module")
def orders(taxonomy: Taxonomy) -> list[LabelledOrder]:
    return [order for order in read_folder(taxonomy) if order.region == "w9"][:200]


def by_subject(orders: list[LabelledOrder], seed: int) -> States:
    """States of an encoder that knows subjects and little else, all in one corner of their space."""
    places = {code: place for place, code in enumerate(sorted({order.subject for order in orders}))}
    states = 0.3 * np.random.default_rng(seed).normal(size=(len(orders), WIDTH)) + 20.0
    for row, order in enumerate(orders):
        states[row, places[order.subject]] += 3.0
    return states.astype(np.float32)


def test_precedents_are_the_orders_they_were_made_of(orders: list[LabelledOrder]) -> None:
    made = fit_precedents(by_subject(orders, 0), orders, 16, seed=1)
    read = read_precedents(made.content())
    nearest = read.nearest(by_subject(orders, 0)[7], 1)
    first = (nearest.unreasonable if orders[7].unreasonable else nearest.reasonable)[0]
    expected = orders[7]
    assert (first.id, first.title, first.content) == (expected.id, expected.title, expected.content)
    assert (first.verdict, first.why) == (expected.verdict, expected.why)
    assert first.similarity > 0.98
    assert read.vectors.shape == (len(orders), 16)


def test_figures_tell_an_encoder_that_knows_from_one_that_does_not(orders: list[LabelledOrder]) -> None:
    half = len(orders) // 2
    known, asked = orders[:half], orders[half:]
    states = by_subject(orders, 2)
    knowing = fit_precedents(states[:half], known, 16, seed=1)
    figures = precedent_figures(knowing, known, states[half:], asked)
    noise = np.random.default_rng(3).normal(size=states.shape).astype(np.float32)
    blind = precedent_figures(fit_precedents(noise[:half], known, 16, seed=1), known, noise[half:], asked)
    assert figures.subject > 0.9
    assert blind.subject < 0.4
    assert figures.subject_by_words == blind.subject_by_words
    assert 0.2 < figures.subject_by_words < 1.0


def test_fewer_orders_than_dimensions_are_enough(orders: list[LabelledOrder]) -> None:
    few = orders[:5]
    assert fit_precedents(by_subject(few, 0), few, 128, seed=1).vectors.shape[1] <= 5
