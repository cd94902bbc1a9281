"""Likeness is exact Jaccard similarity, told only between parts, whatever the script and punctuation."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.corpus.near_duplicates import SHINGLE, Likeness, likenesses, shingles


def test_shingles_are_runs_of_letters_and_digits() -> None:
    assert shingles("小区，停水 3天！") == {"小区停水3", "区停水3天"}
    assert shingles("停水") == {"停水"}
    assert shingles("") == {""}


def test_a_likeness_worked_by_hand() -> None:
    """Eight shingles each of nine-letter tails: abcdefgh and abcdefgx share 3 of 5."""
    first, second = "甲乙丙丁戊己庚辛", "甲乙丙丁戊己庚壬"
    assert SHINGLE == 5
    assert list(likenesses([first, second], ["x", "y"], 0.6)) == [Likeness(0, 1, 3 / 5)]
    assert list(likenesses([first, second], ["x", "y"], 0.61)) == []


def test_the_same_text_in_another_script_and_punctuation_is_the_same() -> None:
    texts = ["这条巷子的路灯坏了，没人修。", "這條巷子的路燈壞了沒人修"]
    assert list(likenesses(texts, ["x", "y"], 1.0)) == [Likeness(0, 1, 1.0)]


def test_the_same_text_within_a_part_is_no_matter() -> None:
    assert list(likenesses(["同一句话说两遍"] * 2, ["x", "x"], 0.1)) == []


@given(
    st.lists(st.tuples(st.text("甲乙丙", min_size=1, max_size=12), st.sampled_from("xyz")), max_size=8),
    st.sampled_from([0.2, 0.5, 1.0]),
)
def test_agrees_with_comparing_every_pair(texts: list[tuple[str, str]], threshold: float) -> None:
    expected = []
    for (first, (one, one_part)), (second, (other, other_part)) in combinations(enumerate(texts), 2):
        a, b = shingles(one), shingles(other)
        similarity = len(a & b) / len(a | b)
        if similarity >= threshold and one_part != other_part:
            expected.append((first, second, pytest.approx(similarity)))
    found = likenesses([text for text, _ in texts], [part for _, part in texts], threshold)
    assert sorted((like.first, like.second, like.similarity) for like in found) == expected
