"""The learning-rate schedule that pretraining and fine-tuning share."""

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
