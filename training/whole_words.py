"""Hides whole words for masked language modelling; `training/pretrain.py` calls it."""

from __future__ import annotations

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.packing import Blocks
from training.vocabulary import CLS, MASK, PAD, SEP, piece_id


class WholeWordMasker:
    """Chooses words at random and hides them: 80 % [MASK], 10 % another piece, 10 % as they were.

    Source: Devlin et al. 2019, 3.1; whole words, Cui et al. 2021 (arXiv 1906.08101).
    """

    def __init__(self, tokenizer: Tokenizer, rate: float, seed: int | tuple[int, ...]) -> None:
        self._rate = rate
        self._random = np.random.default_rng(seed)
        self._mask = piece_id(tokenizer, MASK)
        self._size = tokenizer.get_vocab_size()
        self._special = np.array([piece_id(tokenizer, piece) for piece in (PAD, CLS, SEP)])

    def __call__(self, blocks: Blocks) -> tuple[Tensor, Tensor]:
        """(inputs, targets), both int64 of the blocks' shape; a target is -100 where nothing is hidden."""
        ids = blocks.ids.astype(np.int64)
        word = np.cumsum(blocks.opens, axis=1, dtype=np.int64)  # tokens of one word share a number
        draw = self._random.random((len(ids), ids.shape[1] + 1))
        hidden = np.take_along_axis(draw, word, axis=1) < self._rate
        hidden &= ~np.isin(ids, self._special)
        targets = np.where(hidden, ids, -100)
        fate = self._random.random(ids.shape)
        inputs = np.where(hidden & (fate < 0.8), self._mask, ids)
        strangers = self._random.integers(0, self._size, ids.shape)
        inputs = np.where(hidden & (fate >= 0.9), strangers, inputs)
        return torch.from_numpy(inputs), torch.from_numpy(targets)
