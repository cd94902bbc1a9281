"""What a pretraining needs to go on after a cut; `training/pretrain.py` writes and reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from training.device import device
from training.recipe import PretrainPlan

_LEVEL, _FALLING = "level.pt", "falling.pt"  # the last one before and after the rate began to fall


@dataclass(slots=True)
class Progress:
    """What a run has spent and seen; part of a checkpoint."""

    step: int = 0
    seconds: float = 0.0
    losses: list[tuple[int, float]] = field(default_factory=list)

    def spent(self, plan: PretrainPlan) -> float:
        """The share of the budget that is used up, by steps or by time, whichever is more."""
        by_time = self.seconds / (60 * plan.minutes) if plan.minutes else 0.0
        return max(self.step / plan.steps, by_time)


class Checkpoints:
    """The checkpoints in a folder. One before the rate fell serves any longer run, one after it only this."""

    def __init__(self, folder: Path, plan: PretrainPlan) -> None:
        self._folder = folder
        self._plan = plan

    def restore(self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> Progress | None:
        """Load the latest that serves into the arguments; None, and they are untouched, where none does."""
        path = self._latest()
        if path is None:
            return None
        state = torch.load(path, weights_only=True, map_location=device())
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        return Progress(state["step"], state["seconds"], [tuple(pair) for pair in state["losses"]])

    def save(self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], progress: Progress) -> None:
        """Written beside and moved over, so that being cut off here leaves the previous one whole."""
        path = self._folder / (_FALLING if self._falls(progress) else _LEVEL)
        fresh = path.with_suffix(".new")
        torch.save(
            {
                "model": model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "budget": (self._plan.steps, self._plan.minutes),
                "step": progress.step,
                "seconds": progress.seconds,
                "losses": progress.losses,
            },
            fresh,
        )
        fresh.replace(path)

    def _falls(self, progress: Progress) -> bool:
        """Whether some of its steps were taken at a falling rate."""
        return progress.spent(self._plan) > 1 - self._plan.decay

    def _latest(self) -> Path | None:
        falling, level = self._folder / _FALLING, self._folder / _LEVEL
        if falling.exists():
            state = torch.load(falling, weights_only=True, mmap=True)
            if state["budget"] == (self._plan.steps, self._plan.minutes):
                return falling
        if level.exists():
            state = torch.load(level, weights_only=True, mmap=True)
            if not self._falls(Progress(state["step"], state["seconds"])):
                return level
        return None
