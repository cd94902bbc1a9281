"""How well hidden tokens of held-out text are guessed; `training/pretrain.py` calls it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import BertForMaskedLM

from training.masked_model import masked_loss
from training.packing import Blocks
from training.recipe import PretrainPlan
from training.whole_words import WholeWordMasker

_EVALUATED_BLOCKS = 256  # of each corpus's held-out text


def held_out_figures(
    model: BertForMaskedLM,
    tokenizer: Tokenizer,
    held_out: Mapping[str, Blocks],
    plan: PretrainPlan,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Per corpus: loss in nats, perplexity and top-1 accuracy over hidden tokens of text that never trained.

    Every call hides the same tokens.
    """
    figures = {}
    for name, blocks in sorted(held_out.items()):
        masker = WholeWordMasker(tokenizer, plan.mask_rate, seed)
        losses, hits, weights = [], [], []
        with torch.no_grad():
            for part in blocks.take(np.arange(min(len(blocks), _EVALUATED_BLOCKS))).parts(plan.batch):
                inputs, targets = masker(part)
                loss, hit = masked_loss(model, inputs, targets)
                losses.append(loss.item())
                hits.append(hit.item())
                weights.append(int((targets != -100).sum()))
        mean = float(np.average(losses, weights=weights))
        figures[name] = {
            "loss": mean,
            "perplexity": math.exp(mean),
            "top1": float(np.average(hits, weights=weights)),
            "tokens": sum(weights),
        }
    return figures


def frequency_figures(
    training: Blocks, tokenizer: Tokenizer, held_out: Mapping[str, Blocks], plan: PretrainPlan, seed: int
) -> dict[str, dict[str, float]]:
    """The same for a guess by how often each token occurs in `training`, whatever stands around it."""
    counts = np.bincount(training.ids.ravel(), minlength=tokenizer.get_vocab_size()) + 0.5
    surprise = -np.log(counts / counts.sum())
    figures = {}
    for name, blocks in sorted(held_out.items()):
        _, targets = WholeWordMasker(tokenizer, plan.mask_rate, seed)(
            blocks.take(np.arange(min(len(blocks), _EVALUATED_BLOCKS)))
        )
        hidden = targets[targets != -100].numpy()
        mean = float(surprise[hidden].mean())
        figures[name] = {
            "loss": mean,
            "perplexity": math.exp(mean),
            "top1": float((hidden == counts.argmax()).mean()),
            "tokens": len(hidden),
        }
    return figures
