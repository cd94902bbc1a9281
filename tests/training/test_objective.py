from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from data.records import Reading
from tests.training.conftest import TUNING
from training.examples import Example, LabelSlices
from training.objective import objective, pair_loss

SLICES = LabelSlices({"verdict": ("reasonable", "a", "b"), "kind": ("x", "y")})
PLAN = replace(TUNING, weights={"verdict": 1.0, "kind": 0.5}, weak_weight=0.5, weak_cap=3.0)
NOTHING = Reading("", "")


def test_slices_lie_end_to_end() -> None:
    assert dict(SLICES) == {"verdict": slice(0, 3), "kind": slice(3, 5)}
    assert SLICES.width == 5


def test_the_loss_is_the_weighted_sum_of_the_groups() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0, 0.0, 1.0]])
    verdict = -torch.log_softmax(torch.tensor([2.0, 0.0, 0.0]), 0)[0]
    kind = -torch.log_softmax(torch.tensor([0.0, 1.0]), 0)[0]
    loss = objective(logits, [Example(NOTHING, {"verdict": 0, "kind": 0})], SLICES, PLAN)
    assert loss.item() == pytest.approx((verdict + 0.5 * kind).item())


def test_a_missing_group_counts_for_nothing() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0, 0.0, 1.0]] * 2)
    both = [Example(NOTHING, {"verdict": 0, "kind": 0}), Example(NOTHING, {"verdict": 0})]
    alone = objective(logits[:1], both[:1], SLICES, PLAN)
    assert objective(logits, both, SLICES, PLAN).item() == pytest.approx(alone.item())
    assert math.isfinite(objective(logits[1:], [Example(NOTHING, {})], SLICES, PLAN).item())


def test_a_weak_label_counts_less_and_beyond_its_cap_not_at_all() -> None:
    def loss(score: float, *, weak: bool) -> float:
        logits = torch.tensor([[score, 0.0, 0.0, 0.0, 0.0]])
        return objective(logits, [Example(NOTHING, {"verdict": 0}, weak=weak)], SLICES, PLAN).item()

    assert loss(1.0, weak=True) == pytest.approx(0.5 * loss(1.0, weak=False))
    assert loss(-4.0, weak=False) > PLAN.weak_cap
    assert loss(-4.0, weak=True) == 0.0


def test_flags_count_where_somebody_looked() -> None:
    slices = LabelSlices({"verdict": ("reasonable", "a")}, flags=("fire", "wages"))
    plan = replace(PLAN, weights={"verdict": 0.0, "flags": 2.0})
    logits = torch.tensor([[0.0, 0.0, 3.0, -1.0], [0.0, 0.0, 9.0, 9.0]])
    looked, unlooked = Example(NOTHING, {}, flags=(0,)), Example(NOTHING, {})
    expected = math.log1p(math.exp(-3.0)) + math.log1p(math.exp(-1.0))
    assert objective(logits, [looked, unlooked], slices, plan).item() == pytest.approx(2 * expected)
    assert objective(logits[1:], [unlooked], slices, plan).item() == 0.0
    assert slices.names == ["verdict:reasonable", "verdict:a", "flag:fire", "flag:wages"]


def test_twins_are_pushed_apart_until_the_margin() -> None:
    twins = [Example(NOTHING, {"verdict": verdict}, pair="p") for verdict in (0, 2)]
    alone = Example(NOTHING, {"verdict": 1}, pair="q")

    def loss(gap: float) -> float:
        low, high = [0.0, -9.0, -9.0], [-gap, -9.0, -9.0]
        return pair_loss(torch.tensor([low, high, low]), [*twins, alone], 2.0).item()

    assert loss(0.0) == pytest.approx(math.log1p(math.exp(2.0)))
    assert loss(2.0) == pytest.approx(math.log(2.0))
    assert loss(9.0) < 0.01
    assert pair_loss(torch.zeros(1, 3), [alone], 2.0).item() == 0.0
