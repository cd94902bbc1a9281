from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest

from data.records import Reading
from training.batches import epoch_batches
from training.examples import Example

FIRM = [Example(Reading("", "字" * (number % 50)), {}, pair=f"p{number // 2}") for number in range(200)]
WEAK = [Example(Reading("", "字" * (number % 50)), {}, real=True) for number in range(500)]


def test_every_firm_example_comes_once_an_epoch() -> None:
    batches = epoch_batches(FIRM, 16, 0.0, 1, 0)
    assert sorted(chain(*batches)) == list(range(200))
    assert max(map(len, batches)) == 16


def test_weak_examples_make_up_their_share_and_change_each_epoch() -> None:
    drawn = [
        {row for row in chain(*epoch_batches(FIRM + WEAK, 16, 0.4, 1, epoch)) if row >= 200}
        for epoch in (0, 1)
    ]
    for rows in drawn:
        assert len(rows) / (len(rows) + 200) == pytest.approx(0.4, abs=0.01)
    assert drawn[0] != drawn[1]
    few = sorted(chain(*epoch_batches(FIRM + WEAK[:3], 16, 0.4, 1, 0)))
    assert few == list(range(203))  # no more than there are


def test_of_what_was_learned_before_whole_pairs_are_drawn_anew_each_epoch() -> None:
    learned = [replace(example, learned=number < 120) for number, example in enumerate(FIRM)]
    drawn = [set(chain(*epoch_batches(learned, 16, 0.0, 1, epoch, 0.25))) for epoch in (0, 1)]
    for rows in drawn:
        assert set(range(120, 200)) <= rows
        old = rows & set(range(120))
        assert len(old) == 30
        assert {row ^ 1 for row in old} == old
    assert drawn[0] != drawn[1]


def test_twins_mostly_share_a_batch() -> None:
    together = 0
    for batch in epoch_batches(FIRM, 16, 0.0, 1, 0):
        pairs = [FIRM[row].pair for row in batch]
        together += sum(pairs.count(pair) == 2 for pair in set(pairs))
    assert together > 85
