"""What the arithmetic runs on: a CUDA GPU where there is one, else the CPU; training rooms call it."""

from __future__ import annotations

import platform
from functools import cache

import torch


@cache
def device() -> torch.device:
    """The device of this process."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@cache
def precision() -> torch.dtype:
    """bf16 where the hardware computes it; elsewhere it is emulated, a hundred times slower than fp32."""
    if device().type == "cuda":
        return torch.bfloat16
    able = torch.cpu.get_capabilities()
    # Arm names it `bf16`, x86 by its instruction sets.
    quick = any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.bfloat16 if quick else torch.float32


def autocast() -> torch.autocast:
    """A context in which matrix products run in `precision`."""
    return torch.autocast(device().type, torch.bfloat16, enabled=precision() is torch.bfloat16)


def attention() -> str:
    """The attention that trains fastest at a few hundred tokens: fused, but for bf16 on a CPU."""
    plain = device().type == "cpu" and precision() is torch.bfloat16
    return "eager" if plain else "sdpa"


def hardware() -> str:
    """What a run had, as a card may say it."""
    if device().type == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    numbers = "bf16" if precision() is torch.bfloat16 else "fp32"
    return (
        f"{platform.machine()} CPU, {torch.get_num_threads()} threads in {numbers}, torch {torch.__version__}"
    )
