from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.records import Reading
from data.taxonomy import Taxonomy
from models.rules import Rules
from training.certify import upper_bound
from training.flags import FlagFigures, flag_figures, flag_threshold, flags_by_rules

NONE = np.zeros(0), np.zeros(0, dtype=bool)


def test_every_true_one_is_found_with_room_to_spare() -> None:
    p = np.concatenate([[0.9, 0.2], np.zeros(200)])
    raised = np.array([True, True] + [False] * 200)
    lowest = pytest.approx(0.125 / 1.125)
    assert flag_threshold((p, raised), NONE) == lowest
    assert flag_threshold((p[:2], raised[:2]), (p[2:], raised[2:])) == lowest
    assert flag_threshold((p[1:], raised[1:]), (p[:1], raised[:1])) == lowest


def test_the_messages_bound_how_many_others_are_raised() -> None:
    look_alikes = np.full(500, 0.3), np.array([True] + [False] * 499)
    messages = np.linspace(0.0, 0.4, 1000), np.zeros(1000, dtype=bool)
    look_alikes[0][0] = 0.01
    threshold = flag_threshold(look_alikes, messages)
    through = int((messages[0] >= threshold).sum())
    assert upper_bound(through, 1000, 0.9) <= 0.02 < upper_bound(through + 1, 1000, 0.9)
    assert threshold > 0.3


def test_look_alikes_bound_it_where_no_messages_were_read() -> None:
    p = np.concatenate([[0.01], np.linspace(0.0, 0.4, 1000)])
    raised = np.array([True] + [False] * 1000)
    threshold = flag_threshold((p, raised), NONE)
    assert 10 < (p[~raised] >= threshold).sum() < 20


def test_without_a_true_one_the_threshold_is_one_half() -> None:
    assert flag_threshold((np.full(50, 0.1), np.zeros(50, dtype=bool)), NONE) == 0.5


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=300),
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=300),
)
def test_the_threshold_is_a_probability_that_keeps_its_bound(
    look_alikes: list[tuple[float, bool]], messages: list[tuple[float, bool]]
) -> None:
    parts = [
        (np.array([score for score, _ in rows]), np.array([truth for _, truth in rows], dtype=bool))
        for rows in (look_alikes, messages)
    ]
    threshold = flag_threshold(*parts)
    assert 0 <= threshold <= 0.5
    p, raised = parts[1] if messages else parts[0]
    if threshold < 0.5:
        assert (p[~raised] >= threshold).sum() <= 0.02 * max(1, (~raised).sum())


def test_figures_count_each_side_and_what_the_rules_add() -> None:
    said, raised = np.array([True, False, True, False]), np.array([True, True, False, False])
    nothing, second = np.zeros(4, dtype=bool), np.array([False, True, False, False])
    assert flag_figures(said, nothing, raised) == FlagFigures(2, 0.5, 0.5, 0.5, 0.5)
    assert flag_figures(said, second, raised) == FlagFigures(2, 0.5, 0.5, 1.0, 0.5)
    assert flag_figures(said, ~nothing, raised) == FlagFigures(2, 0.5, 0.5, 1.0, 1.0)
    assert flag_figures(said[2:], nothing[2:], raised[2:]) == FlagFigures(0, None, 0.5, None, 0.5)


def test_the_rules_raise_flags_by_themselves(taxonomy: Taxonomy) -> None:
    readings = [Reading("", "我不想活了，现在就站在楼顶"), Reading("路灯", "路灯坏了")]
    found = flags_by_rules(Rules.load(taxonomy), readings, taxonomy)
    assert found.shape == (2, len(taxonomy.flags))
    assert found[0, taxonomy.flag_codes.index("self_harm")]
    assert not found[1].any()
    assert flags_by_rules(Rules.load(taxonomy), [], taxonomy).shape == (0, len(taxonomy.flags))
