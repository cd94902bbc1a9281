"""Supervised training of a pooled classifier; `training/run.py` and `training/yardsticks` call it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from data.records import Reading
from training.classifier import PooledClassifier
from training.recipe import FinetunePlan
from training.schedule import one_cycle
from training.vocabulary import PAD, piece_id

_POOL = 256  # families whose lengths are compared: enough to save padding, few enough to stay shuffled


@dataclass(frozen=True, slots=True)
class Example:
    """One reading and, per label group, the position of its true code."""

    reading: Reading
    labels: Mapping[str, int]
    pair: str | None = None


@dataclass(frozen=True, slots=True)
class LabelSlices:
    """Where each label group lies in the classifier's logits, in the order of the taxonomy's groups."""

    groups: Mapping[str, tuple[str, ...]]

    def __iter__(self) -> Iterator[tuple[str, slice]]:
        start = 0
        for name, codes in self.groups.items():
            yield name, slice(start, start + len(codes))
            start += len(codes)

    @property
    def width(self) -> int:
        return sum(len(codes) for codes in self.groups.values())


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

    The loss is the weighted sum of one cross-entropy per label group. Contrast twins mostly share a
    batch, so that a step sees what sets them apart.
    """
    torch.manual_seed(seed)
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    model = PooledClassifier.from_pretrained(
        encoder,
        num_labels=slices.width,
        classifier_dropout=plan.dropout,
        hidden_dropout_prob=plan.dropout,
        attention_probs_dropout_prob=plan.dropout,
        dtype=torch.float32,
        attn_implementation="eager",  # with dropout, faster than the fused one on a CPU
    )
    names = [f"{group}:{code}" for group, codes in slices.groups.items() for code in codes]
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: index for index, name in enumerate(names)}
    epochs = [_batches(examples, plan.batch, seed, epoch) for epoch in range(plan.epochs)]
    steps = sum(map(len, epochs))
    optimizer = torch.optim.AdamW(_decayed(model), lr=plan.learning_rate)
    schedule = one_cycle(optimizer, steps, plan.warmup)
    model, optimizer = accelerator.prepare(model, optimizer)
    model.train()
    losses: list[tuple[int, float]] = []
    with tqdm(total=steps, desc="finetune", unit="step") as bar:
        for epoch, batches in enumerate(epochs):
            for rows in batches:
                batch = [examples[row] for row in rows]
                with accelerator.autocast():
                    logits = model(**encode(tokenizer, [item.reading for item in batch], plan.length)).logits
                loss = grouped_loss(logits.float(), batch, slices, plan.weights)
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad(set_to_none=True)
                if bar.n % 10 == 0:
                    losses.append((int(bar.n), loss.item()))
                    bar.set_postfix(epoch=epoch + 1, loss=f"{loss.item():.3f}")
                bar.update()
    accelerator.unwrap_model(model).save_pretrained(folder)
    figures = {"examples": len(examples), "steps": steps, "losses": losses}
    (folder / "finetuning.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return figures


def grouped_loss(
    logits: Tensor, batch: Sequence[Example], slices: LabelSlices, weights: Mapping[str, float]
) -> Tensor:
    """The weighted sum of the groups' cross-entropies; `logits` is (batch, sum of group sizes)."""
    parts = []
    for name, where in slices:
        targets = torch.tensor([item.labels[name] for item in batch])
        parts.append(weights[name] * functional.cross_entropy(logits[:, where], targets))
    return torch.stack(parts).sum()


def encode(tokenizer: Tokenizer, readings: Sequence[Reading], length: int) -> dict[str, Tensor]:
    """`[CLS] title [SEP] content [SEP]`, cut at `length` and padded to the longest of the call."""
    tokenizer.enable_truncation(length)
    encodings = tokenizer.encode_batch([(reading.title, reading.content) for reading in readings])
    tokenizer.no_truncation()
    longest = max(len(encoding.ids) for encoding in encodings)
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


def _batches(examples: Sequence[Example], size: int, seed: int, epoch: int) -> list[list[int]]:
    """Shuffle whole pairs, then gather texts of like length, so that little of a batch is padding.

    Twins are of like length, so they mostly share a batch; a cut may part them, nothing scatters them.
    """
    families: dict[str, list[int]] = {}
    for row, example in enumerate(examples):
        families.setdefault(example.pair or f"alone {row}", []).append(row)
    random = np.random.default_rng((seed, epoch))
    listed = list(families.values())
    shuffled = [listed[place] for place in random.permutation(len(listed))]
    batches = []
    for start in range(0, len(shuffled), _POOL):
        pool = sorted(shuffled[start : start + _POOL], key=lambda family: _length(examples[family[0]]))
        rows = [row for family in pool for row in family]
        batches += [rows[first : first + size] for first in range(0, len(rows), size)]
    return [batches[place] for place in random.permutation(len(batches))]


def _length(example: Example) -> int:
    return len(example.reading.title) + len(example.reading.content)


def _decayed(model: torch.nn.Module) -> list[dict[str, Any]]:
    """Weight decay for matrices only: norms and biases stay free, as in the BERT paper."""
    matrices = [weight for weight in model.parameters() if weight.dim() > 1]
    vectors = [weight for weight in model.parameters() if weight.dim() <= 1]
    return [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
