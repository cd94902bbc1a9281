from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from tests.training.conftest import PLAN
from training.checkpoints import Checkpoints, Progress


def trained(weight: float) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, weight)
    return model, [torch.optim.AdamW(model.parameters(), lr=0.1)]


def weight_of(model: nn.Module) -> float:
    return next(model.parameters()).item()


def test_nothing_to_restore_leaves_the_model_alone(tmp_path: Path) -> None:
    model, optimizers = trained(3.0)
    assert Checkpoints(tmp_path, PLAN).restore(model, optimizers) is None
    assert weight_of(model) == 3.0


def test_a_longer_run_goes_on_before_the_fall_and_the_same_run_after_it(tmp_path: Path) -> None:
    plan = replace(PLAN, steps=100, decay=0.25)
    checkpoints = Checkpoints(tmp_path, plan)
    for step, weight in ((50, 1.0), (75, 2.0), (90, 3.0)):
        checkpoints.save(*trained(weight), Progress(step, 1.5, [(0, 9.0)]))

    model, optimizers = trained(0.0)
    same = checkpoints.restore(model, optimizers)
    assert same == Progress(90, 1.5, [(0, 9.0)])
    assert weight_of(model) == 3.0

    longer = Checkpoints(tmp_path, replace(plan, steps=200)).restore(model, optimizers)
    assert longer is not None
    assert (longer.step, weight_of(model)) == (75, 2.0)

    # At 75 a run of 90 would have been falling already: it has to begin anew.
    assert Checkpoints(tmp_path, replace(plan, steps=90)).restore(*trained(0.0)) is None


def test_a_budget_in_minutes_falls_by_the_clock(tmp_path: Path) -> None:
    plan = replace(PLAN, steps=1000, minutes=10, decay=0.25)
    assert Progress(10, 300.0).spent(plan) == 0.5
    assert Progress(900, 300.0).spent(plan) == 0.9
    checkpoints = Checkpoints(tmp_path, plan)
    checkpoints.save(*trained(1.0), Progress(10, 300.0))
    checkpoints.save(*trained(2.0), Progress(20, 500.0))
    model, optimizers = trained(0.0)
    assert checkpoints.restore(model, optimizers) == Progress(20, 500.0)
    Checkpoints(tmp_path, replace(plan, minutes=20)).restore(model, optimizers)
    assert weight_of(model) == 1.0
