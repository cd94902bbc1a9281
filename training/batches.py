"""Which examples a step sees together; `training/finetune.py` calls it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from training.examples import Example

_POOL = 256  # families whose lengths are compared: enough to save padding, few enough to stay shuffled


def epoch_batches(
    examples: Sequence[Example],
    size: int,
    real_share: float,
    seed: int,
    epoch: int,
    learned_share: float = 1.0,
) -> list[list[int]]:
    """Rows of `examples`, batch by batch: authored ones, and real ones as `real_share` of all.

    Of the authored ones that were learned before, `learned_share` of the families is seen. They and the
    real ones are drawn anew each epoch. Whole pairs are shuffled, then texts of like length gathered,
    so that little of a batch is padding. Twins are of like length, so they mostly share a batch; a cut
    may part them, nothing scatters them.
    """
    random = np.random.default_rng((seed, epoch))
    authored = _authored(examples, learned_share, random)
    real = [row for row, example in enumerate(examples) if example.real]
    wanted = min(len(real), round(len(authored) * real_share / (1 - real_share)))
    drawn = [real[place] for place in random.permutation(len(real))[:wanted]]
    listed = _families(examples, (*authored, *drawn))
    shuffled = [listed[place] for place in random.permutation(len(listed))]
    batches = []
    for start in range(0, len(shuffled), _POOL):
        pool = sorted(shuffled[start : start + _POOL], key=lambda family: _length(examples[family[0]]))
        rows = [row for family in pool for row in family]
        batches += [rows[first : first + size] for first in range(0, len(rows), size)]
    return [batches[place] for place in random.permutation(len(batches))]


def _authored(examples: Sequence[Example], learned_share: float, random: np.random.Generator) -> list[int]:
    rows = [row for row, example in enumerate(examples) if not example.real]
    if learned_share == 1.0:
        return rows
    families = _families(examples, [row for row in rows if examples[row].learned])
    seen = random.permutation(len(families))[: round(len(families) * learned_share)]
    new = [row for row in rows if not examples[row].learned]
    return [*new, *(row for place in seen for row in families[place])]


def _families(examples: Sequence[Example], rows: Iterable[int]) -> list[list[int]]:
    """Twins together, everything else alone."""
    families: dict[str, list[int]] = {}
    for row in rows:
        families.setdefault(examples[row].pair or f"alone {row}", []).append(row)
    return list(families.values())


def _length(example: Example) -> int:
    return len(example.reading.title) + len(example.reading.content)
