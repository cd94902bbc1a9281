from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.precedents import (
    Precedent,
    Precedents,
    deflated,
    directions,
    packed,
    read_precedents,
)

WIDTH, DIMENSIONS = 6, 3
ORDERS = [
    Precedent(f"w{number}", "标题", f"第{number}件\n的内容", verdict, "决定的事实", 1.0)
    for number, verdict in enumerate(["reasonable", "legal_route", "reasonable", "harassment"])
]


def states(seed: int, count: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


@pytest.fixture
def precedents() -> Precedents:
    centre, projection = states(1, 1)[0], states(2, WIDTH)[:, :DIMENSIONS].copy()
    vectors = packed(directions(states(3, len(ORDERS)), centre, projection))
    unreasonable = np.array([order.verdict != "reasonable" for order in ORDERS])
    return Precedents(centre, projection, vectors, unreasonable, deflated(ORDERS))


def test_an_order_is_its_own_nearest_on_its_side(precedents: Precedents) -> None:
    for order, state in zip(ORDERS, states(3, len(ORDERS)), strict=True):
        nearest = precedents.nearest(state, 2)
        side = nearest.reasonable if order.verdict == "reasonable" else nearest.unreasonable
        assert replace(side[0], similarity=1.0) == order
        assert side[0].similarity == pytest.approx(1.0, abs=0.01)
        assert all(each.verdict == "reasonable" for each in nearest.reasonable)
        assert all(each.verdict != "reasonable" for each in nearest.unreasonable)
        assert [each.similarity for each in side] == sorted((each.similarity for each in side), reverse=True)


def test_no_more_are_given_than_asked_for_or_than_there_are(precedents: Precedents) -> None:
    state = states(3, 1)[0]
    for asked, given in ((1, 1), (2, 2), (9, 2)):
        nearest = precedents.nearest(state, asked)
        assert (len(nearest.reasonable), len(nearest.unreasonable)) == (given, given)


def test_similarity_is_the_cosine_to_a_hundredth(precedents: Precedents) -> None:
    state = states(9, 1)[0]
    (ours,) = directions(state[np.newaxis], precedents.centre, precedents.projection)
    theirs = directions(states(3, len(ORDERS)), precedents.centre, precedents.projection)
    nearest = precedents.nearest(state, len(ORDERS))
    for each in (*nearest.reasonable, *nearest.unreasonable):
        assert each.similarity == pytest.approx(float(theirs[int(each.id[1:])] @ ours), abs=0.01)


def test_a_state_at_the_centre_is_like_nothing(precedents: Precedents) -> None:
    nearest = precedents.nearest(precedents.centre, 2)
    assert {each.similarity for each in (*nearest.reasonable, *nearest.unreasonable)} == {0.0}


def test_what_is_written_is_read_and_alike_to_the_byte(precedents: Precedents) -> None:
    content = precedents.content()
    assert read_precedents(content).content() == content
    assert read_precedents(content).nearest(states(5, 1)[0], 2) == precedents.nearest(states(5, 1)[0], 2)


def test_what_is_no_precedents_is_refused(precedents: Precedents) -> None:
    broken = (
        b"",
        b"no archive",
        precedents.content()[:-40],
        replace(precedents, orders=b"not compressed").content(),
        replace(precedents, orders=deflated(ORDERS[:-1])).content(),
        replace(precedents, centre=precedents.centre[:-1]).content(),
        replace(precedents, vectors=precedents.vectors[:, :-1]).content(),
        replace(precedents, unreasonable=precedents.unreasonable[1:]).content(),
        replace(precedents, vectors=precedents.vectors.astype(np.int16)).content(),  # type: ignore[arg-type]
    )
    for content in broken:
        with pytest.raises(ValueError, match="precedents"):
            read_precedents(content)
