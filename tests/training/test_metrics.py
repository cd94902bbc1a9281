"""Every figure of a model is worked out by hand here once, and cannot be moved by what must not move it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.corpus.labels import LabelledOrder
from data.taxonomy import Taxonomy, load_taxonomy
from tests.data.corpus.invented import order
from training.metrics import accuracy, macro_f1, pairs_ordered, recall_at, recall_within, scores


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return load_taxonomy()


def four() -> list[LabelledOrder]:
    return [
        order("a", pair="p", kind="help", subject="land"),
        order("b", pair="p", kind="help", subject="land", verdict="legal_route"),
        order("c", pair="q", kind="praise", subject="health"),
        order("d", pair="q", kind="complaint", subject="other", verdict="harassment"),
    ]


def columns(codes: tuple[str, ...], said: list[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(len(said), len(codes)) with 0.9 for what is said."""
    return np.array([[0.9 if code == each else 0.1 for code in codes] for each in said])


def four_scores(taxonomy: Taxonomy, p_unreasonable: list[float]) -> Any:
    groups = taxonomy.groups
    return scores(
        four(),
        p_unreasonable=np.array(p_unreasonable),
        ground_probs=columns(
            groups["verdict"][1:], ["no_substance", "legal_route", "harassment", "no_substance"]
        ),
        kind_probs=columns(groups["kind"], ["help", "help", "praise", "praise"]),
        subject_probs=columns(groups["subject"], ["land", "health", "health", "other"]),
        taxonomy=taxonomy,
    )


def test_figures_of_four_orders_worked_by_hand(taxonomy: Taxonomy) -> None:
    got = four_scores(taxonomy, [0.2, 0.7, 0.5, 0.4])
    assert got.orders == 4
    # b beats a and c, d beats a and loses to c: three of four comparisons.
    assert got.verdict_auc == 3 / 4
    # a and b right; c at exactly 0.5 is called unreasonable, d is missed.
    assert got.verdict_accuracy == 1 / 2
    # None of two reasonable orders may be flagged, so the threshold is c's 0.5: only b lies above.
    assert got.recall_at_2pct == 1 / 2
    # b's ground is right (F1 1), d's is wrong (F1 0); a and c are reasonable and do not count.
    assert got.ground_macro_f1 == 1 / 2
    # help 1, praise 2/3 (one right, one too many), complaint 0.
    assert got.kind_macro_f1 == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert got.kind_accuracy == 3 / 4
    # land: 1 of 2 found, 2/3; health: one too many, 2/3; other 1.
    assert got.subject_macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert got.subject_accuracy == 3 / 4
    # p is ordered rightly, q is not.
    assert got.pairs_ordered == 1 / 2


def test_a_perfect_model_has_every_figure_at_one(taxonomy: Taxonomy) -> None:
    orders = four()
    groups = taxonomy.groups
    got = scores(
        orders,
        p_unreasonable=np.array([0.1, 0.9, 0.2, 0.8]),
        ground_probs=columns(groups["verdict"][1:], [each.verdict for each in orders]),
        kind_probs=columns(groups["kind"], [each.kind for each in orders]),
        subject_probs=columns(groups["subject"], [each.subject for each in orders]),
        taxonomy=taxonomy,
    )
    figures = (
        got.verdict_auc,
        got.verdict_accuracy,
        got.recall_at_2pct,
        got.ground_macro_f1,
        got.kind_macro_f1,
    )
    assert figures == (1.0,) * 5
    assert (got.kind_accuracy, got.subject_macro_f1, got.subject_accuracy, got.pairs_ordered) == (1.0,) * 4


def test_a_figure_that_cannot_be_given_is_none(taxonomy: Taxonomy) -> None:
    groups = taxonomy.groups
    got = scores(
        [order("a")],
        p_unreasonable=np.array([0.4]),
        ground_probs=columns(groups["verdict"][1:], ["harassment"]),
        kind_probs=columns(groups["kind"], ["complaint"]),
        subject_probs=columns(groups["subject"], ["urban_rural"]),
        taxonomy=taxonomy,
    )
    assert (got.verdict_auc, got.recall_at_2pct, got.ground_macro_f1, got.pairs_ordered) == (None,) * 4
    assert got.verdict_accuracy == got.kind_macro_f1 == got.subject_accuracy == 1.0


@pytest.mark.parametrize("bad", [[0.1, 0.2, 0.3], [0.1, 0.2, 0.3, float("nan")]])
def test_refuses_scores_that_do_not_fit(bad: list[float], taxonomy: Taxonomy) -> None:
    with pytest.raises(ValueError, match="scores"):
        four_scores(taxonomy, bad)


def test_refuses_no_order_at_all(taxonomy: Taxonomy) -> None:
    nothing = np.zeros((0, 0))
    with pytest.raises(ValueError, match="one row per order"):
        scores(
            [],
            p_unreasonable=np.zeros(0),
            ground_probs=nothing,
            kind_probs=nothing,
            subject_probs=nothing,
            taxonomy=taxonomy,
        )


def test_recall_at_two_per_cent_of_a_hundred() -> None:
    """Of 100 reasonable orders at 0.00 to 0.99 two may be flagged, so only what exceeds 0.97 is found."""
    negatives = [place / 100 for place in range(100)]
    positives = [0.97, 0.971, 0.5, 1.0]
    positive = np.array([False] * 100 + [True] * 4)
    assert recall_at(positive, np.array(negatives + positives), 0.02) == 1 / 2
    assert recall_at(positive, np.array(negatives + positives), 0.0) == 1 / 4
    assert recall_at(positive, np.array(negatives + positives), 1.0) == 1.0


def test_recall_does_not_flatter_a_constant() -> None:
    assert recall_at(np.array([True, False] * 50), np.full(100, 0.5), 0.02) == 0.0


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=60),
    st.sampled_from([0.02, 0.1, 0.5]),
)
def test_recall_is_the_best_that_any_threshold_reaches(drawn: list[tuple[bool, int]], share: float) -> None:
    positive = np.array([each for each, _ in drawn])
    score = np.array([float(each) for _, each in drawn])
    if positive.all() or not positive.any():
        return
    best = max(
        float(np.mean(score[positive] > threshold))
        for threshold in [-1.0, *score]
        if np.mean(score[~positive] > threshold) <= share + 1e-9
    )
    assert recall_at(positive, score, share) == best


def test_macro_f1_divides_by_the_codes_that_occur() -> None:
    """A code that is only ever said, never true, costs its victims and adds no term of its own."""
    assert macro_f1(["x", "x", "y"], ["x", "z", "y"]) == pytest.approx((2 / 3 + 1) / 2)
    assert accuracy(["x", "x", "y"], ["x", "z", "y"]) == pytest.approx(2 / 3)


def test_pairs_count_ties_as_half_and_skip_those_of_one_verdict() -> None:
    orders = [
        order("a", pair="tie"),
        order("b", pair="tie", verdict="harassment"),
        order("c", pair="same"),
        order("d", pair="same"),
        order("e"),
        order("f", verdict="harassment"),
        order("g", pair="three", verdict="harassment"),
        order("h", pair="three"),
        order("i", pair="three"),
    ]
    score = np.array([0.5, 0.5, 0.1, 0.9, 0.9, 0.1, 0.6, 0.5, 0.7])
    assert pairs_ordered(orders, score) == pytest.approx((0.5 + 1 + 0) / 3)
    assert pairs_ordered(orders[2:6], score[2:6]) is None


def test_recall_within_two_bounds_takes_the_stricter() -> None:
    positive = np.array([True] * 4 + [False] * 50)
    score = np.concatenate([[0.9, 0.7, 0.5, 0.3], np.linspace(0.0, 0.6, 50)])
    quiet, loud = np.full(1000, 0.1), np.concatenate([np.full(998, 0.1), [0.8, 0.75]])
    kwargs = {"false_share": 0.02, "real_share": 0.001}
    # One of the fifty may lie above: the threshold is the second highest of them, below 0.6.
    assert recall_within(positive, score, quiet, **kwargs) == 0.5
    # One of the thousand real ones may: the threshold rises to 0.75.
    assert recall_within(positive, score, loud, **kwargs) == 0.25
