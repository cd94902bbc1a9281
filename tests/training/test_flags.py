from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.flags import FlagFigures, flag_figures, flag_threshold


def test_every_true_one_is_found_with_room_to_spare() -> None:
    p = np.concatenate([[0.9, 0.2], np.zeros(100)])
    raised = np.array([True, True] + [False] * 100)
    assert flag_threshold((p, raised)) == pytest.approx(0.125 / 1.125)


def test_no_more_than_two_in_a_hundred_others_are_raised() -> None:
    p = np.concatenate([[0.01], np.linspace(0.0, 0.4, 100)])
    raised = np.array([True] + [False] * 100)
    threshold = flag_threshold((p, raised))
    assert (p[~raised] >= threshold).sum() == 2


def test_the_bound_holds_in_each_population() -> None:
    quiet = np.concatenate([[0.01], np.zeros(100)]), np.array([True] + [False] * 100)
    loud = np.linspace(0.0, 0.4, 100), np.zeros(100, dtype=bool)
    assert flag_threshold(quiet) < 0.01
    threshold = flag_threshold(quiet, loud)
    assert (loud[0] >= threshold).sum() == 2


def test_without_a_true_one_the_threshold_is_one_half() -> None:
    assert flag_threshold((np.full(50, 0.1), np.zeros(50, dtype=bool))) == 0.5


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=200),
)
def test_the_threshold_is_a_probability_that_keeps_its_bound(rows: list[tuple[float, bool]]) -> None:
    p = np.array([score for score, _ in rows])
    raised = np.array([truth for _, truth in rows])
    threshold = flag_threshold((p, raised))
    assert 0 <= threshold <= 0.5
    if threshold < 0.5:
        assert (p[~raised] >= threshold).sum() <= 0.02 * max(1, (~raised).sum())


def test_figures_count_each_side() -> None:
    said, raised = np.array([True, False, True, False]), np.array([True, True, False, False])
    assert flag_figures(said, raised) == FlagFigures(2, 0.5, 0.5)
    assert flag_figures(said[2:], raised[2:]) == FlagFigures(0, None, 0.5)
