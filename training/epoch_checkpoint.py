"""What a fine-tuning needs to go on after a cut, kept every epoch; `training/finetune.py` uses it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from training.device import device
from training.rewording import Rewording

Losses = list[tuple[int, float]]


class EpochCheckpoint:
    """The state of one training in one file; a resumed run ends as an uncut one would have."""

    def __init__(
        self,
        path: Path,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        schedules: Sequence[LRScheduler],
        reworded: Rewording,
    ) -> None:
        self._path = path
        self._parts: list[Any] = [model, *optimizers, *schedules]
        self._reworded = reworded

    def save(self, epochs: int, losses: Losses) -> None:
        """Keep it after so many epochs; written beside and moved over, so that a cut here loses nothing."""
        fresh = self._path.with_suffix(".new")
        state = {
            "parts": [part.state_dict() for part in self._parts],
            "torch": torch.get_rng_state(),
            "rewording": json.dumps(self._reworded.state),
            "epochs": epochs,
            "losses": losses,
        }
        torch.save(state, fresh)
        fresh.replace(self._path)

    def restore(self) -> tuple[int, Losses]:
        """Load what was saved; (epochs done, losses), or (0, []) where nothing was."""
        if not self._path.exists():
            return 0, []
        state = torch.load(self._path, weights_only=True, map_location=device())
        for part, saved in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(saved)
        torch.set_rng_state(state["torch"].cpu())
        self._reworded.state = json.loads(state["rewording"])
        return state["epochs"], [(step, loss) for step, loss in state["losses"]]
