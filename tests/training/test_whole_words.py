from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from tests.training.conftest import DOCUMENTS
from training.packing import Blocks, Packed, pack
from training.vocabulary import CLS, MASK, SEP, piece_id
from training.whole_words import WholeWordMasker


def test_words_are_hidden_whole(tokenizer: Tokenizer) -> None:
    blocks = pack([["路灯坏了"]] * 3 + DOCUMENTS * 4, tokenizer, 32, 0.1).training
    _, targets = WholeWordMasker(tokenizer, 0.3, seed=1)(blocks)
    chosen = (targets != -100).numpy()
    word = np.cumsum(blocks.opens, axis=1)
    for row in range(len(blocks)):
        for number in np.unique(word[row])[1:]:  # the first holds [CLS] and what a cut word left over
            inside = chosen[row][word[row] == number]
            assert inside.all() or not inside.any()
    assert (~blocks.opens).any()  # jieba found words of more than one character


def test_the_rate_and_the_three_fates_are_as_said(tokenizer: Tokenizer, packed: Packed) -> None:
    blocks = packed.training
    many = Blocks(np.tile(blocks.ids, (30, 1)), np.tile(blocks.opens, (30, 1)))
    inputs, targets = WholeWordMasker(tokenizer, 0.15, seed=3)(many)
    hidden = targets != -100
    framed = torch.from_numpy(np.isin(many.ids, [piece_id(tokenizer, CLS), piece_id(tokenizer, SEP)]))
    assert not (hidden & framed).any()
    assert hidden[~framed].float().mean().item() == pytest.approx(0.15, abs=0.02)
    masked = (inputs == piece_id(tokenizer, MASK)) & hidden
    assert masked.sum().item() / hidden.sum().item() == pytest.approx(0.8, abs=0.02)
    kept = (inputs == targets) & hidden
    assert kept.sum().item() / hidden.sum().item() == pytest.approx(0.1, abs=0.02)
    assert (inputs == torch.from_numpy(many.ids.astype(np.int64)))[~hidden].all()


def test_the_same_seed_hides_the_same_words(tokenizer: Tokenizer, packed: Packed) -> None:
    first, again, other = (WholeWordMasker(tokenizer, 0.2, seed)(packed.training)[0] for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
