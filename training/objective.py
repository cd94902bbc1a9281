"""What a training step is asked to lower; `training/finetune.py` calls it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from training.examples import Example, LabelSlices
from training.recipe import FinetunePlan

_ABSENT = -100


def objective(logits: Tensor, batch: Sequence[Example], slices: LabelSlices, plan: FinetunePlan) -> Tensor:
    """The weighted sum of the groups' cross-entropies, of the flags' and of the twins' margin loss.

    A group counts where an example has it. A weak example counts in `verdict` with `weak_weight`, and
    not at all once its loss passes `weak_cap`: it is then more likely an exception than a lesson
    (compare Zhang & Sabuncu 2018, 3.3).

    Args:
        logits: (batch, sum of group sizes).
    """
    total = logits.new_zeros(())
    any_weak = any(example.weak for example in batch)
    weak = torch.tensor([example.weak for example in batch], device=logits.device)
    for name, where in slices:
        places = [example.labels.get(name, _ABSENT) for example in batch]
        if all(place == _ABSENT for place in places):  # asked here: a GPU would have to be waited for
            continue
        targets = torch.tensor(places, device=logits.device)
        there = targets != _ABSENT
        losses = functional.cross_entropy(logits[:, where], targets, ignore_index=_ABSENT, reduction="none")
        weights = there.to(losses.dtype)
        if name == "verdict" and any_weak:
            weights = torch.where(weak, plan.weak_weight * (losses.detach() < plan.weak_cap), weights)
        total = total + plan.weights[name] * (losses * weights).sum() / there.sum()
    looked = [row for row, example in enumerate(batch) if example.flags is not None]
    if slices.flags and looked:
        total = total + plan.weights["flags"] * flag_loss(logits[looked][:, slices.of_flags], batch, looked)
    if plan.pair_weight:
        total = total + plan.pair_weight * pair_loss(
            logits[:, dict(slices)["verdict"]], batch, plan.pair_margin
        )
    return total


def flag_loss(logits: Tensor, batch: Sequence[Example], rows: Sequence[int]) -> Tensor:
    """The binary cross-entropies of all flags, summed over flags, mean over `rows`.

    Args:
        logits: (rows, flags).
    """
    raised = torch.zeros(logits.shape)
    for place, row in enumerate(rows):
        for flag in batch[row].flags or ():
            raised[place, flag] = 1.0
    raised = raised.to(logits)
    return functional.binary_cross_entropy_with_logits(logits, raised, reduction="sum") / len(rows)


def pair_loss(verdict: Tensor, batch: Sequence[Example], margin: float) -> Tensor:
    """How far unreasonable twins fall short of scoring `margin` above their reasonable halves, softly.

    Twins share words and style, so that only what decides can set them apart. The score is the
    log-odds of any ground against `reasonable`, which is the first code; zero where no pair is whole.

    Args:
        verdict: (batch, verdicts).
    """
    score = torch.logsumexp(verdict[:, 1:], dim=1) - verdict[:, 0]
    halves: dict[str, tuple[list[int], list[int]]] = {}
    for row, example in enumerate(batch):
        if example.pair is not None:
            halves.setdefault(example.pair, ([], []))[example.labels["verdict"] != 0].append(row)
    above = [high for low_rows, high_rows in halves.values() for high in high_rows for _ in low_rows]
    below = [low for low_rows, high_rows in halves.values() for _ in high_rows for low in low_rows]
    if not above:
        return verdict.new_zeros(())
    return functional.softplus(margin - (score[above] - score[below])).mean()
