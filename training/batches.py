"""Which examples a step sees together; `training/finetune.py` calls it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.examples import Example

_POOL = 256  # families whose lengths are compared: enough to save padding, few enough to stay shuffled


def epoch_batches(
    examples: Sequence[Example], size: int, real_share: float, seed: int, epoch: int
) -> list[list[int]]:
    """Rows of `examples`, batch by batch: all authored ones, and real ones as `real_share` of all.

    Real ones are drawn anew each epoch. Whole pairs are shuffled, then texts of like length gathered,
    so that little of a batch is padding. Twins are of like length, so they mostly share a batch; a cut
    may part them, nothing scatters them.
    """
    random = np.random.default_rng((seed, epoch))
    authored = [row for row, example in enumerate(examples) if not example.real]
    real = [row for row, example in enumerate(examples) if example.real]
    wanted = min(len(real), round(len(authored) * real_share / (1 - real_share)))
    drawn = [real[place] for place in random.permutation(len(real))[:wanted]]
    families: dict[str, list[int]] = {}
    for row in (*authored, *drawn):
        families.setdefault(examples[row].pair or f"alone {row}", []).append(row)
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
