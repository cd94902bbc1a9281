"""A standard BERT and one step of masked language modelling on it; `training/pretrain.py` calls it."""

from __future__ import annotations

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from transformers import BertConfig, BertForMaskedLM

from training.device import attention, autocast, device
from training.muon import Muon
from training.recipe import ShapePlan
from training.vocabulary import PAD, piece_id


def new_model(shape: ShapePlan, tokenizer: Tokenizer) -> BertForMaskedLM:
    """A standard BERT of the recipe's shape with random weights, without dropout: nothing is seen often."""
    model: BertForMaskedLM = BertForMaskedLM(
        BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=4 * shape.width,
            max_position_embeddings=shape.positions,
            pad_token_id=piece_id(tokenizer, PAD),
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            attn_implementation=attention(),  # type: ignore[call-arg]
        )
    )
    model.to(device())  # type: ignore[arg-type]
    return model


def new_optimizers(model: BertForMaskedLM, rate: float) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices inside the layers (Jordan et al. 2024), AdamW for everything else.

    With AdamW alone this post-norm model stays for thousands of steps at character frequencies.
    """
    layers = (model.bert.encoder, model.cls.predictions.transform)
    matrices = [weight for part in layers for weight in part.parameters() if weight.dim() == 2]
    inside = {id(weight) for weight in matrices}
    rest = [weight for weight in model.parameters() if id(weight) not in inside]
    return (
        Muon(matrices, rate),
        torch.optim.AdamW(rest, lr=rate, weight_decay=0.01, betas=(0.9, 0.98), fused=True),
    )


def block_positions(inputs: Tensor, positions: int, seed: tuple[int, ...]) -> Tensor:
    """Positions of every token, int64 of the shape of `inputs`: half the blocks begin at 0, half anywhere.

    So all `positions` are trained although a block is shorter.
    """
    count, length = inputs.shape
    random = np.random.default_rng((*seed, 1))
    offsets = np.where(random.random(count) < 0.5, 0, random.integers(0, positions - length + 1, count))
    return torch.from_numpy(offsets[:, np.newaxis] + np.arange(length))


def masked_loss(
    model: BertForMaskedLM,
    inputs: Tensor,
    targets: Tensor,
    positions: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(mean cross-entropy in nats, share guessed right) over the hidden tokens only.

    The vocabulary projection is the dearest part of a small model, so it sees hidden places alone. They
    are looked up before anything is sent to the device, which then need not be waited for.

    Args:
        inputs, targets, positions: (blocks, length) on the CPU.
    """
    at = device()
    places = (targets != -100).flatten().nonzero().squeeze(1)
    wanted = targets.flatten()[places].to(at, non_blocking=True)
    where = None if positions is None else positions.to(at, non_blocking=True)
    with autocast():
        states = model.bert(inputs.to(at, non_blocking=True), position_ids=where).last_hidden_state
        chosen = states.flatten(0, 1)[places.to(at, non_blocking=True)]
        logits: Tensor = model.cls(chosen)
    loss = functional.cross_entropy(logits.float(), wanted)
    return loss, (logits.argmax(-1) == wanted).float().mean()
