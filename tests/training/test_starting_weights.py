from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from tests.training.conftest import PLAN
from training.masked_model import masked_loss, new_model
from training.packing import Blocks, Packed
from training.recipe import ShapePlan
from training.starting_weights import company_embeddings, rotation, set_starting_weights, sinusoids
from training.whole_words import WholeWordMasker

SHAPE = ShapePlan(layers=2, width=128, heads=4, positions=64)
FREQUENCIES = torch.exp(torch.linspace(math.log(2.0), math.log(0.01), 16))


@pytest.mark.parametrize("offset", [-5, -1, 0, 2])
def test_a_rotation_moves_every_position_alike(offset: int) -> None:
    waves = sinusoids(40, FREQUENCIES)
    moved = waves[10:20] @ rotation(offset, FREQUENCIES).T
    assert torch.allclose(moved, waves[10 + offset : 20 + offset], atol=1e-5)


def test_local_heads_look_where_they_should(tokenizer: Tokenizer, packed: Packed) -> None:
    model = new_model(SHAPE, tokenizer)
    model.set_attn_implementation("eager")  # a fused attention does not show where it looks
    set_starting_weights(model, packed.training, seed=1)
    inputs = torch.from_numpy(packed.training.ids[:4].astype(np.int64))
    with torch.no_grad():
        first = model.bert(inputs, output_attentions=True).attentions[0]
    length = inputs.shape[1]
    for head, offset in enumerate((-1, 1, -2)):  # the fourth is left random
        inner = range(3, length - 3)
        seen = first[:, head].argmax(-1)[:, 3 : length - 3]
        wanted = torch.tensor([place + offset for place in inner])
        assert (seen == wanted).float().mean() > 0.9


def test_a_new_model_begins_at_character_frequencies(tokenizer: Tokenizer, packed: Packed) -> None:
    torch.manual_seed(0)
    plain, ready = new_model(SHAPE, tokenizer), new_model(SHAPE, tokenizer)
    set_starting_weights(ready, packed.training, seed=1)
    batch = WholeWordMasker(tokenizer, PLAN.mask_rate, 5)(packed.training)
    with torch.no_grad():
        losses = [masked_loss(model.train(False), *batch)[0].item() for model in (plain, ready)]
    assert losses[1] < losses[0] - 0.5


def test_pieces_that_keep_like_company_are_alike() -> None:
    random = np.random.default_rng(0)
    # Pieces 1 and 2 stand between 10 and 11, pieces 3 and 4 between 20 and 21.
    rows = [
        [pair[0], random.choice(middle), pair[1], 30 + random.integers(5)]
        for _ in range(300)
        for pair, middle in (((10, 11), (1, 2)), ((20, 21), (3, 4)))
    ]
    ids = np.array(rows, dtype=np.uint16)
    vectors = company_embeddings(Blocks(ids, np.ones_like(ids, dtype=np.bool_)), 40, 8, seed=1)
    alike = vectors @ vectors.T / 8
    assert alike[1, 2] > 0.9 > 0.5 > alike[1, 3]
    assert not vectors[39].any()
    assert np.linalg.norm(vectors[1]) == pytest.approx(math.sqrt(8), rel=1e-4)
