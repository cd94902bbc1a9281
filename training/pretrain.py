"""Masked language modelling of a small Chinese BERT from scratch; `python -m training pretrain` calls it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tqdm import tqdm
from transformers import BertForMaskedLM

from data.settings import ROOT
from training.checkpoints import Checkpoints, Progress
from training.device import device
from training.masked_model import block_positions, masked_loss, new_model, new_optimizers
from training.packing import Mixture, Packed
from training.perplexity import frequency_figures, held_out_figures
from training.recipe import EncoderRecipe
from training.schedule import plateau
from training.starting_weights import set_starting_weights
from training.throughput import flops_per_token, matmul_peak
from training.whole_words import WholeWordMasker

_REPORT_EVERY = 25  # steps
_CHECKPOINT_EVERY = 250  # steps, but
_CHECKPOINT_APART = 45.0  # seconds at least: a GPU takes as many steps in ten
_STATISTICS_BLOCKS = 100_000  # of the mixture, for the starting weights


def pretrain(
    recipe: EncoderRecipe, tokenizer: Tokenizer, corpora: Mapping[str, Packed], folder: Path
) -> dict[str, Any]:
    """Train, write the model in the standard layout to `folder` in bf16, and return the figures.

    A run that was cut off goes on from its last checkpoint with the batches it would have seen. The last
    one before the rate falls is kept, so a finished run whose recipe is given more steps goes on there.
    """
    plan = recipe.pretrain
    torch.manual_seed(recipe.seed)
    peak = matmul_peak()
    mixture = Mixture(
        {name: packed.training for name, packed in corpora.items()},
        {name: source.share for name, source in plan.sources.items()},
        draws=plan.steps * plan.batch,
        seed=recipe.seed,
    )
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(folder, plan)
    model = new_model(recipe.shape, tokenizer)
    optimizers = new_optimizers(model, plan.learning_rate)
    progress = checkpoints.restore(model, optimizers)
    if progress is None:
        progress = Progress()
        _set_first_weights(model, recipe, mixture)
    _train(recipe, tokenizer, mixture, model, optimizers, progress, checkpoints)
    figures = {
        **_spent(recipe, model, progress, peak),
        "sources": {
            name: {
                "documents": packed.documents,
                "tokens": int(packed.training.ids.size),
                "passes": round(mixture.passes[name] * progress.step / plan.steps, 2),
                "mixed_blocks": round(packed.mixed, 3),
            }
            for name, packed in sorted(corpora.items())
        },
        "losses": progress.losses,
        **_held_out(recipe, model, tokenizer, mixture, corpora),
    }
    model.bfloat16().save_pretrained(folder)
    (folder / "pretraining.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return figures


def _set_first_weights(model: BertForMaskedLM, recipe: EncoderRecipe, mixture: Mixture) -> None:
    plan = recipe.pretrain
    if plan.start:
        begin = BertForMaskedLM.from_pretrained(ROOT / plan.start, dtype=torch.float32)
        model.load_state_dict(begin.state_dict())
    else:
        sample = mixture.batch(0, min(_STATISTICS_BLOCKS, plan.steps * plan.batch))
        set_starting_weights(model, sample, recipe.seed)


def _train(
    recipe: EncoderRecipe,
    tokenizer: Tokenizer,
    mixture: Mixture,
    model: BertForMaskedLM,
    optimizers: Sequence[torch.optim.Optimizer],
    progress: Progress,
    checkpoints: Checkpoints,
) -> None:
    """Take steps until the budget is spent; what a step sees follows from the seed and its number."""
    plan = recipe.pretrain
    if device().type == "cuda":
        for layer in model.bert.encoder.layer:  # one by one: the first one's code serves them all
            layer.compile()
    model.train()
    started = time.perf_counter() - progress.seconds
    saved = progress.seconds
    bar = tqdm(initial=progress.step, total=plan.steps, desc="pretrain", unit="step")
    while (spent := progress.spent(plan)) < 1:
        step = progress.step
        masker = WholeWordMasker(tokenizer, plan.mask_rate, (recipe.seed, step))
        inputs, targets = masker(mixture.batch(step, plan.batch))
        positions = block_positions(inputs, recipe.shape.positions, (recipe.seed, step))
        loss, _ = masked_loss(model, inputs, targets, positions)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate = plan.learning_rate * plateau(step, spent, plan.warmup, plan.decay)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % _REPORT_EVERY == 0:
            progress.losses.append((step, round(loss.item(), 4)))
            bar.set_postfix(loss=f"{loss.item():.3f}")
        bar.update()
        progress.step += 1
        progress.seconds = time.perf_counter() - started
        if progress.step % _CHECKPOINT_EVERY == 0 and progress.seconds - saved >= _CHECKPOINT_APART:
            saved = progress.seconds
            checkpoints.save(model, optimizers, progress)
    bar.close()
    model.train(False)
    with torch.no_grad():  # a second segment never came up; it begins as what the layers are used to
        segments = model.bert.embeddings.token_type_embeddings.weight
        segments[1] = segments[0]


def _spent(recipe: EncoderRecipe, model: BertForMaskedLM, progress: Progress, peak: float) -> dict[str, Any]:
    plan = recipe.pretrain
    tokens = progress.step * plan.batch * plan.length
    pace = tokens / progress.seconds
    return {
        "parameters": sum(weight.numel() for weight in model.bert.parameters()),
        "steps": progress.step,
        "tokens_seen": tokens,
        "seconds": round(progress.seconds),
        "tokens_per_second": round(pace),
        "peak_gflops": round(peak / 1e9),
        "share_of_peak": round(pace * flops_per_token(model.config, plan.length, plan.mask_rate) / peak, 3),
    }


def _held_out(
    recipe: EncoderRecipe,
    model: BertForMaskedLM,
    tokenizer: Tokenizer,
    mixture: Mixture,
    corpora: Mapping[str, Packed],
) -> dict[str, Any]:
    """Figures of the model, of the same shape with random weights, and of token frequency alone."""
    held_out = {name: packed.held_out for name, packed in corpora.items()}
    torch.manual_seed(recipe.seed)
    untrained = new_model(recipe.shape, tokenizer).train(False)
    sample = mixture.batch(0, min(_STATISTICS_BLOCKS, recipe.pretrain.steps * recipe.pretrain.batch))
    rest = (tokenizer, held_out, recipe.pretrain, recipe.seed)
    return {
        "held_out": held_out_figures(model, *rest),
        "held_out_random_weights": held_out_figures(untrained, *rest),
        "held_out_frequency": frequency_figures(sample, *rest),
    }
