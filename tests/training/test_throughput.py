from __future__ import annotations

import pytest
from transformers import BertConfig

from training.throughput import flops_per_token, matmul_peak


def test_a_token_costs_six_operations_a_weight_and_the_attention() -> None:
    config = BertConfig(
        vocab_size=1000, hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=256
    )
    weights = 2 * (4 * 64 * 64 + 2 * 64 * 256)
    attention = 2 * (2 * 128 * 64)
    head = 64 * 64 + 64 * 1000
    assert flops_per_token(config, 128, 0.2) == pytest.approx(6 * (weights + attention + 0.2 * head))


def test_the_peak_is_more_than_a_billion_operations_a_second() -> None:
    assert matmul_peak() > 1e9
