"""The mean of several models' weights; `training/finetune.py` calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def mean_weights(members: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Weights by name, each the mean over the members, which must have begun as one model.

    Fine-tuned from the same start they lie in one basin, where the mean forgets what each member took
    from the order of its examples (Wortsman et al. 2022, arXiv 2203.05482).
    """
    return {
        name: torch.stack([member[name] for member in members]).mean(0)
        if weight.is_floating_point()
        else weight
        for name, weight in members[0].items()
    }
