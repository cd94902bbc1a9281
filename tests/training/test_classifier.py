from __future__ import annotations

import torch
from transformers import BertConfig

from training.classifier import PooledClassifier

CONFIG = BertConfig(
    vocab_size=50,
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=1,
    intermediate_size=64,
    num_labels=3,
)


def test_padding_changes_no_score() -> None:
    torch.manual_seed(3)
    model = PooledClassifier(CONFIG).train(False)
    ids = torch.randint(5, 50, (1, 7))
    ones = torch.ones_like(ids)
    padded = torch.cat([ids, torch.zeros(1, 5, dtype=torch.int64)], 1)
    mask = torch.cat([ones, torch.zeros(1, 5, dtype=torch.int64)], 1)
    with torch.no_grad():
        alone = model(ids, ones, ones * 0).logits
        among = model(padded, mask, mask * 0).logits
    assert torch.allclose(alone, among, atol=1e-5)


def test_one_decisive_token_reaches_the_scores() -> None:
    """The maximum carries what the mean of a long text would drown."""
    model = PooledClassifier(CONFIG).train(False)
    with torch.no_grad():
        model.classifier.weight[:, :32] = 0  # listen to the maximum alone
        ids = torch.full((1, 60), 7)
        ones = torch.ones_like(ids)
        before = model(ids, ones, ones * 0).logits
        ids[0, 40] = 9
        after = model(ids, ones, ones * 0).logits
    assert (before - after).abs().max() > 1e-3
