"""The arithmetic of a training step and the most this machine can do; `training/pretrain.py` calls it."""

from __future__ import annotations

import time

import torch
from transformers import BertConfig

from training.device import device, precision

_SIDE = 2048
_ROUNDS = 12


def flops_per_token(config: BertConfig, length: int, masked: float) -> float:
    """Floating-point operations to train on one token: six for every weight that it meets.

    Counts matrix products only, forward and backward: projections, attention over `length` tokens, and
    the vocabulary for the share `masked` of tokens (Kaplan et al. 2020, 2.1, with attention added).
    """
    width, inner = config.hidden_size, config.intermediate_size
    layer = 4 * width * width + 2 * width * inner + 2 * length * width
    head = width * width + width * config.vocab_size
    return 6.0 * (config.num_hidden_layers * layer + masked * head)


def matmul_peak() -> float:
    """The operations a second that a large matrix product reaches here, in `precision`: the best of a few."""
    gpu = device().type == "cuda"
    side = 4 * _SIDE if gpu else _SIDE
    left, right = (torch.randn(side, side, device=device(), dtype=precision()) for _ in range(2))
    best = 0.0
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        torch.mm(left, right)
        if gpu:
            torch.cuda.synchronize()
        best = max(best, 2.0 * side**3 / (time.perf_counter() - started))
    return best
