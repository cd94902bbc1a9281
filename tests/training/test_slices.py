from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.data.corpus.invented import order
from training.slices import FEWEST, slices


def test_each_part_is_measured_by_itself() -> None:
    good = [
        replace(
            order(f"{verdict}{number}", verdict=verdict, content="字" * 10), region="easy", style="operator"
        )
        for verdict in ("reasonable", "legal_route")
        for number in range(FEWEST)
    ]
    bad = [replace(each, id=f"x{each.id}", region="hard", content="字" * 300) for each in good]
    few = [replace(good[0], id="few", region="small")]
    right = np.array([0.1] * FEWEST + [0.9] * FEWEST)
    score = np.concatenate([right, 1 - right, [0.5]])
    found = {(each.by, each.name): each for each in slices([*good, *bad, *few], score, np.array([0.95]))}
    assert set(found) == {
        ("region", "easy"),
        ("region", "hard"),
        ("style", "operator"),
        ("length", "under 40 characters"),
        ("length", "over 250"),
    }
    easy, hard = found["region", "easy"], found["region", "hard"]
    assert (easy.orders, easy.unreasonable) == (2 * FEWEST, FEWEST)
    assert (easy.auc, easy.recall_at_2pct, easy.recall_within) == (1.0, 1.0, 0.0)
    assert (hard.auc, hard.recall_at_2pct) == (0.0, 0.0)
    assert found["length", "over 250"].auc == 0.0
    without = slices(good, right, np.zeros(0))
    assert {each.recall_within for each in without} == {None}
