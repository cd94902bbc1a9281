"""Supervised training of a pooled classifier; `training/run.py` and `training/yardsticks` call it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm

from data.records import Reading
from training.batches import epoch_batches
from training.classifier import PooledClassifier
from training.device import attention, device, precision
from training.epoch_checkpoint import EpochCheckpoint, Losses
from training.examples import Example, LabelSlices
from training.muon import Muon
from training.objective import objective
from training.recipe import FinetunePlan
from training.rewording import Rewording
from training.schedule import one_cycle
from training.soup import mean_weights
from training.vocabulary import PAD, piece_id

_ROUNDED = 16  # tokens: kernels are prepared anew for every shape


def finetune(
    plan: FinetunePlan,
    encoder: Path,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    slices: LabelSlices,
    folder: Path,
    seed: int,
) -> dict[str, Any]:
    """Train on `examples` from the encoder in `encoder` and write the model to `folder`; return the figures.

    `objective.py` says what is learned and `batches.py` from what at a time. Of several members the mean
    of their weights is written (`soup.py`). Weights are written in bf16: half the size, and finer than
    the int8 that is served.
    """
    folder.mkdir(parents=True, exist_ok=True)
    members = []
    for number in range(plan.members):
        at = folder / f"member-{number}.pt"
        model, losses = train_member(plan, encoder, tokenizer, examples, slices, seed, number, at)
        members.append(model.state_dict())
    model.load_state_dict(mean_weights(members))
    model.bfloat16().save_pretrained(folder)
    for at in folder.glob("member-*.pt"):
        at.unlink()
    figures = {"examples": len(examples), "steps": losses[-1][0] + 1, "losses": losses}
    (folder / "finetuning.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return figures


def train_member(
    plan: FinetunePlan,
    encoder: Path,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    slices: LabelSlices,
    seed: int,
    number: int = 0,
    kept: Path | None = None,
) -> tuple[PooledClassifier, Losses]:
    """One model in fp32 and its loss by step. All members start alike; the order of examples differs.

    With a file `kept`, every finished epoch is kept there, and a training that was cut off goes on from it.
    """
    torch.manual_seed(seed)
    accelerator = Accelerator(
        cpu=device().type == "cpu", mixed_precision="bf16" if precision() is torch.bfloat16 else "no"
    )
    model = PooledClassifier.from_pretrained(
        encoder,
        num_labels=slices.width,
        classifier_dropout=plan.dropout,
        hidden_dropout_prob=0.0,  # a quarter of a CPU's time; rewording keeps texts from being learned
        attention_probs_dropout_prob=0.0,
        dtype=torch.float32,
        attn_implementation=attention(),
    )
    model.config.id2label = dict(enumerate(slices.names))
    model.config.label2id = {name: index for index, name in enumerate(slices.names)}
    order = seed + number
    torch.manual_seed(order)
    freeze(model, plan.frozen)
    rehearsed = plan.rehearsal.share if plan.rehearsal else 1.0
    epochs = [
        epoch_batches(examples, plan.batch, plan.weak_share, order, epoch, rehearsed)
        for epoch in range(plan.epochs)
    ]
    steps = sum(map(len, epochs))
    optimizers = _optimizers(model, plan)
    schedules = [one_cycle(optimizer, steps, plan.warmup) for optimizer in optimizers]
    model, *optimizers = accelerator.prepare(model, *optimizers)
    model.train()
    reworded = Rewording(plan.rewording, order)
    checkpoint = EpochCheckpoint(kept, model, optimizers, schedules, reworded) if kept else None
    done, losses = checkpoint.restore() if checkpoint else (0, [])
    taken = sum(map(len, epochs[:done]))
    with tqdm(initial=taken, total=steps, desc="finetune", unit="step") as bar:
        for epoch in range(done, plan.epochs):
            for rows in epochs[epoch]:
                batch = [examples[row] for row in rows]
                readings = [reworded(item) for item in batch]
                with accelerator.autocast():
                    inputs = encode(tokenizer, readings, plan.length, _ROUNDED)
                    logits = model(**{name: tensor.to(device()) for name, tensor in inputs.items()}).logits
                loss = objective(logits.float(), batch, slices, plan)
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                for optimizer, schedule in zip(optimizers, schedules, strict=True):
                    optimizer.step()
                    schedule.step()
                    optimizer.zero_grad(set_to_none=True)
                if bar.n % 10 == 0 or bar.n == steps - 1:
                    losses.append((int(bar.n), loss.item()))
                    bar.set_postfix(epoch=epoch + 1, loss=f"{loss.item():.3f}")
                bar.update()
            if checkpoint:
                checkpoint.save(epoch + 1, losses)
    trained: PooledClassifier = accelerator.unwrap_model(model)
    return trained, losses


def freeze(model: PooledClassifier, layers: int) -> None:
    """Leave the embeddings and the lowest `layers` as they are; with none of them everything trains.

    What lies below the first weight that trains needs no way back: half of eight layers save a third.
    """
    if layers:
        still = [model.bert.embeddings, *model.bert.encoder.layer[:layers]]
        for weight in (weight for part in still for weight in part.parameters()):
            weight.requires_grad_(False)


def encode(
    tokenizer: Tokenizer, readings: Sequence[Reading], length: int, rounded: int = 1
) -> dict[str, Tensor]:
    """`[CLS] title [SEP] content [SEP]`, cut at `length` and padded to the longest of the call.

    The longest is taken up to a multiple of `rounded`.
    """
    tokenizer.enable_truncation(length)
    encodings = tokenizer.encode_batch([(reading.title, reading.content) for reading in readings])
    tokenizer.no_truncation()
    longest = max(len(encoding.ids) for encoding in encodings)
    longest = min(length, -(-longest // rounded) * rounded)
    shape = (len(encodings), longest)
    ids = np.full(shape, piece_id(tokenizer, PAD), dtype=np.int64)
    types = np.zeros(shape, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding.ids)] = encoding.ids
        types[row, : len(encoding.ids)] = encoding.type_ids
        mask[row, : len(encoding.ids)] = 1
    return {
        "input_ids": torch.from_numpy(ids),
        "token_type_ids": torch.from_numpy(types),
        "attention_mask": torch.from_numpy(mask),
    }


def _optimizers(model: PooledClassifier, plan: FinetunePlan) -> list[torch.optim.Optimizer]:
    """AdamW, or Muon for the matrices inside the layers and AdamW for the rest, as in pretraining."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    layers = {id(weight) for weight in model.bert.encoder.parameters()}
    inside = [weight for weight in trained if id(weight) in layers and weight.dim() == 2]
    if plan.optimizer == "adamw" or not inside:  # where every layer is frozen
        return [torch.optim.AdamW(_decayed(trained), lr=plan.learning_rate, fused=True)]
    taken = {id(weight) for weight in inside}
    rest = [weight for weight in trained if id(weight) not in taken]
    return [
        Muon(inside, plan.learning_rate),
        torch.optim.AdamW(_decayed(rest), lr=plan.learning_rate, fused=True),
    ]


def _decayed(weights: Sequence[torch.nn.Parameter]) -> list[dict[str, Any]]:
    """Weight decay for matrices only: norms and biases stay free, as in the BERT paper."""
    matrices = [weight for weight in weights if weight.dim() > 1]
    vectors = [weight for weight in weights if weight.dim() <= 1]
    return [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
