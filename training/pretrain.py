"""Masked language modelling of a small Chinese BERT from scratch; `training/run.py` calls it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm
from transformers import BertConfig, BertForMaskedLM

from training.recipe import EncoderPlan, PretrainPlan
from training.schedule import one_cycle
from training.vocabulary import CLS, MASK, PAD, SEP, piece_id

_REPORT_EVERY = 25  # steps
_CHECKPOINT_EVERY = 100  # steps


@dataclass(frozen=True, slots=True)
class Blocks:
    """Packed token ids, (blocks, length) uint16, and whether a token opens a word, same shape, bool."""

    ids: NDArray[np.uint16]
    opens: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    def split(self, share: float, seed: int) -> tuple[Blocks, Blocks]:
        """(training, held-out): `share` of the blocks are held out, at least one."""
        order = np.random.default_rng(seed).permutation(len(self))
        held = max(1, round(share * len(self)))
        return self._take(order[held:]), self._take(order[:held])

    def _take(self, rows: NDArray[np.int64]) -> Blocks:
        return Blocks(self.ids[rows], self.opens[rows])


def pack(paragraphs: Iterable[str], tokenizer: Tokenizer, length: int) -> Blocks:
    """Tokenise canonical paragraphs and lay them end to end in blocks `[CLS] … [SEP]` of `length`.

    Paragraphs share a block and see each other: most are far shorter than a block, and in a short
    warm-up the padding saved is worth more than the leak across a `[SEP]`. Words, for whole-word
    masking, are jieba's.
    """
    cls, sep = piece_id(tokenizer, CLS), piece_id(tokenizer, SEP)
    ids: list[int] = []
    opens: list[bool] = []
    for text in paragraphs:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        starts = _word_starts(text)
        ids.extend(encoding.ids)
        opens.extend(start in starts for start, _ in encoding.offsets)
        ids.append(sep)
        opens.append(True)
    body = length - 2
    count = len(ids) // body
    rows = np.asarray(ids[: count * body], dtype=np.uint16).reshape(count, body)
    marks = np.asarray(opens[: count * body], dtype=np.bool_).reshape(count, body)
    edge = np.ones((count, 1), dtype=np.uint16)
    true = np.ones((count, 1), dtype=np.bool_)
    return Blocks(np.hstack([edge * cls, rows, edge * sep]), np.hstack([true, marks, true]))


def _word_starts(text: str) -> set[int]:
    import jieba  # reads its dictionary when first used

    jieba.setLogLevel("ERROR")
    return {start for _, start, _ in jieba.tokenize(text)}


class WholeWordMasker:
    """Chooses words at random and hides them: 80 % [MASK], 10 % another piece, 10 % as they were."""

    def __init__(self, tokenizer: Tokenizer, rate: float, seed: int) -> None:
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


def new_model(plan: EncoderPlan, tokenizer: Tokenizer) -> BertForMaskedLM:
    """A standard BERT of the recipe's shape with random weights."""
    return BertForMaskedLM(
        BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=plan.width,
            num_hidden_layers=plan.layers,
            num_attention_heads=plan.heads,
            intermediate_size=4 * plan.width,
            max_position_embeddings=plan.positions,
            pad_token_id=piece_id(tokenizer, PAD),
        )
    )


def masked_loss(model: BertForMaskedLM, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(mean cross-entropy in nats, share guessed right) over the hidden tokens only.

    The vocabulary projection is the dearest part of a small model, so it sees hidden places alone.
    """
    chosen = targets != -100
    with torch.autocast("cpu", torch.bfloat16):
        states: Tensor = model.bert(inputs).last_hidden_state
        logits: Tensor = model.cls(states[chosen])
    wanted = targets[chosen]
    loss = functional.cross_entropy(logits.float(), wanted)
    return loss, (logits.argmax(-1) == wanted).float().mean()


def pretrain(
    plan: PretrainPlan, encoder: EncoderPlan, tokenizer: Tokenizer, blocks: Blocks, folder: Path, seed: int
) -> dict[str, Any]:
    """Train, write encoder and tokenizer files to `folder` in the standard layout, return the figures.

    A run that was cut off goes on from its last checkpoint with the same batches.
    """
    torch.manual_seed(seed)
    training, held_out = blocks.split(plan.held_out, seed)
    model = new_model(encoder, tokenizer)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.learning_rate, weight_decay=0.01, betas=(0.9, 0.98)
    )
    schedule = one_cycle(optimizer, plan.steps, plan.warmup)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.pt"
    done = 0
    losses: list[tuple[int, float]] = []
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        done, losses = state["done"], state["losses"]
    model.train()
    bar = tqdm(range(done, plan.steps), initial=done, total=plan.steps, desc="pretrain", unit="step")
    for step in bar:
        inputs, targets = _batch(training, tokenizer, plan, seed, step)
        loss, _ = masked_loss(model, inputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % _REPORT_EVERY == 0:
            losses.append((step, loss.item()))
            bar.set_postfix(loss=f"{loss.item():.3f}")
        if (step + 1) % _CHECKPOINT_EVERY == 0 and step + 1 < plan.steps:
            _save(checkpoint, model, optimizer, schedule, step + 1, losses)
    rate = bar.format_dict["rate"]
    model.train(False)
    figures = {
        "parameters": sum(weight.numel() for weight in model.bert.parameters()),
        "tokens_seen": plan.steps * plan.batch * plan.length,
        "tokens_in_corpus": int(training.ids.size),
        "tokens_per_second": None if rate is None else round(rate * plan.batch * plan.length),
        "losses": losses,
        **_held_out(model, held_out, tokenizer, plan, seed),
    }
    model.save_pretrained(folder)
    (folder / "pretraining.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    checkpoint.unlink(missing_ok=True)
    return figures


def _batch(
    blocks: Blocks, tokenizer: Tokenizer, plan: PretrainPlan, seed: int, step: int
) -> tuple[Tensor, Tensor]:
    """The batch of a step follows from the seed and the step alone, so that a resumed run repeats none."""
    per_epoch = max(1, len(blocks) // plan.batch)
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng((seed, epoch)).permutation(len(blocks))
    rows = order[place * plan.batch : (place + 1) * plan.batch]
    masker = WholeWordMasker(tokenizer, plan.mask_rate, seed * 1_000_003 + step)
    return masker(Blocks(blocks.ids[rows], blocks.opens[rows]))


def _held_out(
    model: BertForMaskedLM, blocks: Blocks, tokenizer: Tokenizer, plan: PretrainPlan, seed: int
) -> dict[str, float]:
    masker = WholeWordMasker(tokenizer, plan.mask_rate, seed)
    losses, hits = [], []
    with torch.no_grad():
        for part in _parts(blocks, plan.batch):
            loss, hit = masked_loss(model, *masker(part))
            losses.append(loss.item())
            hits.append(hit.item())
    mean = float(np.mean(losses))
    return {
        "held_out_loss": mean,
        "held_out_perplexity": math.exp(mean),
        "held_out_top1": float(np.mean(hits)),
    }


def _parts(blocks: Blocks, size: int) -> Iterator[Blocks]:
    for start in range(0, len(blocks), size):
        yield Blocks(blocks.ids[start : start + size], blocks.opens[start : start + size])


def _save(
    path: Path,
    model: BertForMaskedLM,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    done: int,
    losses: list[tuple[int, float]],
) -> None:
    """Written beside and moved over, so that being cut off here leaves the previous checkpoint whole."""
    fresh = path.with_suffix(".new")
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "done": done,
            "losses": losses,
        },
        fresh,
    )
    fresh.replace(path)
