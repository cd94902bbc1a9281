from __future__ import annotations

import torch
from tokenizers import Tokenizer

from tests.training.conftest import SHAPE
from training.masked_model import block_positions, masked_loss, new_model, new_optimizers


def test_every_weight_has_one_optimizer(tokenizer: Tokenizer) -> None:
    model = new_model(SHAPE, tokenizer)
    held = [
        weight
        for optimizer in new_optimizers(model, 1e-3)
        for group in optimizer.param_groups
        for weight in group["params"]
    ]
    assert len(held) == len({id(weight) for weight in held}) == len(list(model.parameters()))


def test_half_the_blocks_begin_at_zero_and_the_rest_anywhere() -> None:
    positions = block_positions(torch.zeros(2000, 16, dtype=torch.int64), 64, (1, 2))
    assert (positions[:, 1:] - positions[:, :-1] == 1).all()
    starts = positions[:, 0]
    assert 0.45 < (starts == 0).float().mean().item() < 0.58
    assert int(starts.max()) == 64 - 16
    assert len(starts.unique()) == 64 - 16 + 1


def test_only_hidden_tokens_are_judged(tokenizer: Tokenizer) -> None:
    torch.manual_seed(1)
    model = new_model(SHAPE, tokenizer).train(False)
    inputs = torch.randint(5, 50, (2, 16))
    targets = torch.full((2, 16), -100)
    targets[0, 3], targets[1, 7] = 11, 12
    with torch.no_grad():
        loss, _ = masked_loss(model, inputs, targets)
        logits = model(inputs).logits
    chances = logits.log_softmax(-1)
    expected = -(chances[0, 3, 11] + chances[1, 7, 12]) / 2
    assert torch.allclose(loss, expected, atol=0.05)
