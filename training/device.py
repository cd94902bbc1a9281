"""What the arithmetic runs on: a CUDA GPU where there is one, else the CPU; training rooms call it."""

from __future__ import annotations

import platform
from functools import cache

import torch


@cache
def device() -> torch.device:
    """The device of this process."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def attention() -> str:
    """The attention that trains fastest there at a few hundred tokens: fused on a GPU, plain on a CPU."""
    return "sdpa" if device().type == "cuda" else "eager"


def hardware() -> str:
    """What a run had, as a card may say it."""
    if device().type == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads, torch {torch.__version__}"
