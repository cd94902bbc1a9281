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
            alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(state["momentum"], group["momentum"])
                alike.setdefault(weight.shape, []).append((weight, ahead))
            for shape, pairs in alike.items():  # matrices of one shape together: a GPU hardly notices one
                updates = orthogonal(torch.stack([ahead for _, ahead in pairs]))
                for (weight, _), update in zip(pairs, updates, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update, alpha=-group["lr"] * 0.2 * sqrt(max(shape)))


def orthogonal(matrices: Tensor) -> Tensor:
    """(…, rows, columns): the nearest matrices with orthonormal rows or columns, roughly.

    Their singular values are about 0.7 to 1.2.
    """
    first, second, third = _QUINTIC
    tall = matrices.size(-2) > matrices.size(-1)
    found = (matrices.mT if tall else matrices).to(precision())
    found = found / found.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = found @ found.mT
        found = first * found + (second * gram + third * gram @ gram) @ found
    made: Tensor = found.mT if tall else found
    return made.to(matrices.dtype)
