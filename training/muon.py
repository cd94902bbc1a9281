"""Muon in whatever precision the machine computes; `training/masked_model.py` calls it.

`torch.optim.Muon` orthogonalises in bf16 always, which a CPU without it emulates at a tenth of the pace of a
whole training step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from training.device import precision

_QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum whose every update is made nearly orthogonal, scaled to the size of AdamW's.

    Args:
        weights: matrices only.
        rate: as for AdamW (Liu et al. 2025, 2.2).
    """

    def __init__(
        self, weights: Iterable[Tensor], rate: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(list(weights), {"lr": rate, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, _closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Take one step; the gradients are there already, so that no closure is called."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(state["momentum"], group["momentum"])
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(orthogonal(ahead), alpha=-group["lr"] * 0.2 * sqrt(max(weight.shape)))


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix with orthonormal rows or columns, roughly: singular values of about 0.7 to 1.2."""
    first, second, third = _QUINTIC
    tall = matrix.size(0) > matrix.size(1)
    found = (matrix.T if tall else matrix).to(precision())
    found = found / found.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = found @ found.T
        found = torch.addmm(found, torch.addmm(gram, gram, gram, beta=second, alpha=third), found, beta=first)
    return (found.T if tall else found).to(matrix.dtype)
