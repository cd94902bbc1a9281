from __future__ import annotations

import math

import pytest
import torch
from tokenizers import Tokenizer

from tests.training.conftest import PLAN, SHAPE
from training.masked_model import new_model
from training.packing import Packed
from training.perplexity import frequency_figures, held_out_figures


def test_every_call_hides_the_same_tokens(tokenizer: Tokenizer, packed: Packed) -> None:
    torch.manual_seed(1)
    model = new_model(SHAPE, tokenizer).train(False)
    once, again = (held_out_figures(model, tokenizer, {"calls": packed.held_out}, PLAN, 5) for _ in range(2))
    assert once == again
    assert once["calls"]["perplexity"] == pytest.approx(math.exp(once["calls"]["loss"]))
    # Random weights know nothing: every piece of the vocabulary is about as likely.
    assert once["calls"]["perplexity"] == pytest.approx(tokenizer.get_vocab_size(), rel=0.3)


def test_frequency_beats_nothing_and_guesses_the_commonest(tokenizer: Tokenizer, packed: Packed) -> None:
    figures = frequency_figures(packed.training, tokenizer, {"calls": packed.held_out}, PLAN, 5)["calls"]
    assert 1 < figures["perplexity"] < tokenizer.get_vocab_size() / 4
    assert 0 <= figures["top1"] < 0.5
