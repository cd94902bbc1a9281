"""Learning rates over a run: one cycle to fine-tune, a plateau to pretrain."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def one_cycle(optimizer: Optimizer, steps: int, warmup: float) -> LambdaLR:
    """Linear up over the share `warmup` of `steps`, then linear down to zero (Devlin et al. 2019, A.2)."""
    rising = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return max(0.0, (steps - step) / max(1, steps - rising))

    return LambdaLR(optimizer, factor)


def plateau(step: int, spent: float, warmup: int, decay: float) -> float:
    """The factor at `step` (from 0): linear up over `warmup` steps, then one, then linear down to zero.

    The fall takes the last share `decay` of the budget, of which the share `spent` is spent. Before it a
    run does not depend on how long it is meant to be, so it can be made longer (Hu et al. 2024, arXiv
    2404.06395, 4).
    """
    rising = min(1.0, (step + 1) / warmup)
    falling = min(1.0, max(0.0, 1.0 - spent) / decay)
    return min(rising, falling)
