"""How a model does on parts of a test set: by region, style and length; pure. `training/run.py` calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from data.corpus.labels import LabelledOrder
from training.metrics import FALSE_FLAGS, REAL_FLAGS, Scores, pairs_ordered, recall_at, recall_within

FEWEST = 20  # of each verdict: a share of fewer says nothing


@dataclass(frozen=True, slots=True)
class Slice:
    """One part of a test set; a figure is None where the part cannot give it.

    Attributes:
        by, name: what divides the set, and which part this is.
        auc, recall_at_2pct, pairs_ordered: as in `Metrics`.
        recall_within: recall at 2 % false flags among its own orders and 0.1 % of real ones.
    """

    by: str
    name: str
    orders: int
    unreasonable: int
    auc: float
    recall_at_2pct: float
    recall_within: float | None
    pairs_ordered: float | None


def slices(orders: Sequence[LabelledOrder], score: Scores, real: Scores) -> list[Slice]:
    """Every part that holds at least `FEWEST` orders of either verdict.

    Args:
        score: (orders,), P(unreasonable).
        real: (real orders,), the same of real orders, taken to be reasonable; may be empty.
    """
    return [
        _slice(by, name, [orders[row] for row in rows], score[rows], real)
        for by, part_of in _DIVISIONS.items()
        for name, rows in _parts(orders, part_of)
    ]


def _length(order: LabelledOrder) -> str:
    size = len(order.content)
    bounds = ((40, "under 40 characters"), (121, "40 to 120"), (251, "121 to 250"))
    return next((name for bound, name in bounds if size < bound), "over 250")


_DIVISIONS: dict[str, Callable[[LabelledOrder], str]] = {
    "region": lambda order: order.region,
    "style": lambda order: order.style,
    "length": _length,
}


def _parts(
    orders: Sequence[LabelledOrder], part_of: Callable[[LabelledOrder], str]
) -> Iterator[tuple[str, list[int]]]:
    """Names in the order in which they first come, with the rows of each that is large enough."""
    names = [part_of(order) for order in orders]
    for name in dict.fromkeys(names):
        rows = [row for row, each in enumerate(names) if each == name]
        wrong = sum(orders[row].unreasonable for row in rows)
        if min(wrong, len(rows) - wrong) >= FEWEST:
            yield name, rows


def _slice(by: str, name: str, orders: Sequence[LabelledOrder], score: Scores, real: Scores) -> Slice:
    truth = np.array([order.unreasonable for order in orders])
    within = None
    if len(real):
        within = recall_within(truth, score, real, false_share=FALSE_FLAGS, real_share=REAL_FLAGS)
    return Slice(
        by,
        name,
        orders=len(orders),
        unreasonable=int(truth.sum()),
        auc=float(roc_auc_score(truth, score)),
        recall_at_2pct=recall_at(truth, score, FALSE_FLAGS),
        recall_within=within,
        pairs_ordered=pairs_ordered(orders, score),
    )
