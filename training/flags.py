"""When the model raises a flag, and how often rightly; pure. `training/run.py` calls it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.masking import read_text
from data.records import Reading
from data.taxonomy import Taxonomy
from models.rules import Rules
from training.certify import upper_bound

Flagged = tuple[NDArray[np.float64], NDArray[np.bool_]]

_HIGHEST = 0.5
_FALSE_SHARE = 0.02
_CONFIDENCE = 0.9
_CAUTION = 0.5  # of the odds of the least likely true one: the next true one may be less likely still


@dataclass(frozen=True, slots=True)
class FlagFigures:
    """How one flag did: of `raised` true ones `recall` was found, and `false_share` of the others flagged.

    The model alone; `served_…` with the rules, either of which raises a flag in service. Recalls are None
    where no order has the flag.
    """

    raised: int
    recall: float | None
    false_share: float
    served_recall: float | None
    served_false_share: float


def flag_threshold(look_alikes: Flagged, messages: Flagged) -> float:
    """The probability from which on a flag is raised: low enough for every true one that was seen.

    Missing a person in danger is the worse error, so the threshold lies at half the odds of the least
    likely true one. But it is no lower than lets 2 % of the messages without the flag through, at 90 %
    confidence, and no higher than one half. Look-alikes were written to be taken for danger: how many of
    them are says nothing of a hotline, so they set that bound only where no messages were read.

    Args:
        look_alikes: authored orders that trained nothing: calibrated probabilities and the truth, (orders,).
        messages: real ones that a reader labelled, the same.
    """
    wanted = _HIGHEST
    true_ones = np.concatenate([p[raised] for p, raised in (look_alikes, messages)])
    if len(true_ones):
        lowest = float(true_ones.min())
        odds = _CAUTION * lowest / max(1.0 - lowest, 1e-9)
        wanted = min(_HIGHEST, odds / (1.0 + odds))
    p, raised = messages if len(messages[0]) else look_alikes
    return min(max(wanted, _floor(p[~raised])), _HIGHEST)


def _floor(others: NDArray[np.float64]) -> float:
    """What keeps all but 2 % of those without the flag below; zero where there are none."""
    allowed = 0
    while allowed < len(others) and upper_bound(allowed + 1, len(others), _CONFIDENCE) <= _FALSE_SHARE:
        allowed += 1
    if allowed >= len(others):
        return 0.0
    return float(np.nextafter(np.sort(others)[::-1][allowed], 1.0))  # the first of them that must stay below


def flag_figures(
    said: NDArray[np.bool_], by_rules: NDArray[np.bool_], raised: NDArray[np.bool_]
) -> FlagFigures:
    """Compare what the model and the rules said of n orders with the truth, each (orders,)."""
    served = said | by_rules
    return FlagFigures(
        raised=int(raised.sum()),
        recall=_share(said[raised]),
        false_share=_share(said[~raised]) or 0.0,
        served_recall=_share(served[raised]),
        served_false_share=_share(served[~raised]) or 0.0,
    )


def flags_by_rules(rules: Rules, readings: Sequence[Reading], taxonomy: Taxonomy) -> NDArray[np.bool_]:
    """(orders, flags): which flags the rules raise by themselves."""
    found = [{hit.flag for hit in rules.hits(read_text(each.title, each.content))} for each in readings]
    rows = [[code in raised for code in taxonomy.flag_codes] for raised in found]
    return np.array(rows, dtype=np.bool_).reshape(len(rows), len(taxonomy.flags))


def _share(of: NDArray[np.bool_]) -> float | None:
    return float(of.mean()) if len(of) else None
