"""Says how well predictions agree with labels; the baseline and the encoder are measured by the same code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

from data.corpus.labels import LabelledOrder
from data.taxonomy import Taxonomy

Scores = NDArray[np.floating]
Truths = NDArray[np.bool_]

FALSE_FLAGS = 0.02
REAL_FLAGS = 0.001  # real orders are reasonable in 997 of 1,000 cases


@dataclass(frozen=True, slots=True)
class Metrics:
    """What one model reached on one set of orders; each figure lies between 0 and 1, and more is better.

    A figure is None where the set cannot give it: no order of one verdict, or no contrast pair.

    Attributes:
        orders: how many were scored.
        verdict_auc: chance that an unreasonable order gets a higher P(unreasonable) than a reasonable one.
        verdict_accuracy: share decided rightly at P(unreasonable) >= 0.5.
        recall_at_2pct: share of unreasonable orders found while at most 2 % of reasonable ones are flagged.
        ground_macro_f1: over truly unreasonable orders, the likeliest ground against the true one.
        kind_macro_f1: the likeliest kind against the true one.
        kind_accuracy: share of kinds named rightly.
        subject_macro_f1: the likeliest subject against the true one.
        subject_accuracy: share of subjects named rightly.
        pairs_ordered: share of contrast pairs whose unreasonable half gets the higher P(unreasonable).
    """

    orders: int
    verdict_auc: float | None
    verdict_accuracy: float
    recall_at_2pct: float | None
    ground_macro_f1: float | None
    kind_macro_f1: float
    kind_accuracy: float
    subject_macro_f1: float
    subject_accuracy: float
    pairs_ordered: float | None


def scores(
    orders: Sequence[LabelledOrder],
    *,
    p_unreasonable: Scores,
    ground_probs: Scores,
    kind_probs: Scores,
    subject_probs: Scores,
    taxonomy: Taxonomy,
) -> Metrics:
    """Every figure of `Metrics` for n orders.

    Args:
        orders: the n labelled orders.
        p_unreasonable: (n,) probabilities of `unreasonable`.
        ground_probs: (n, grounds) in the order of `taxonomy.grounds`; only a row's largest counts.
        kind_probs: (n, kinds) in the order of `taxonomy.kinds`.
        subject_probs: (n, subjects) in the order of `taxonomy.subjects`.
        taxonomy: the codes the columns stand for.

    Raises:
        ValueError: there is no order, a shape does not fit, or a score is not finite.
    """
    count, grounds, kinds, subjects = len(orders), *_codes(taxonomy)
    given = (p_unreasonable, ground_probs, kind_probs, subject_probs)
    shapes = [(count,), (count, len(grounds)), (count, len(kinds)), (count, len(subjects))]
    if not count or [each.shape for each in given] != shapes:
        raise ValueError("scores need one row per order and one column per code")
    if not all(np.isfinite(each).all() for each in given):
        raise ValueError("scores must be finite")
    unreasonable = np.array([order.unreasonable for order in orders])
    both = bool(unreasonable.any() and not unreasonable.all())
    true_grounds = [order.verdict for order in orders if order.unreasonable]
    true_kinds = [order.kind for order in orders]
    true_subjects = [order.subject for order in orders]
    said_kinds = _likeliest(kind_probs, kinds)
    said_subjects = _likeliest(subject_probs, subjects)
    return Metrics(
        orders=count,
        verdict_auc=float(roc_auc_score(unreasonable, p_unreasonable)) if both else None,
        verdict_accuracy=float(np.mean((p_unreasonable >= 0.5) == unreasonable)),
        recall_at_2pct=recall_at(unreasonable, p_unreasonable, FALSE_FLAGS) if both else None,
        ground_macro_f1=macro_f1(true_grounds, _likeliest(ground_probs[unreasonable], grounds))
        if true_grounds
        else None,
        kind_macro_f1=macro_f1(true_kinds, said_kinds),
        kind_accuracy=accuracy(true_kinds, said_kinds),
        subject_macro_f1=macro_f1(true_subjects, said_subjects),
        subject_accuracy=accuracy(true_subjects, said_subjects),
        pairs_ordered=pairs_ordered(orders, p_unreasonable),
    )


def recall_at(positive: Truths, score: Scores, false_share: float) -> float:
    """Largest share of positives above a threshold that at most `false_share` of the negatives exceed.

    The threshold lies on a negative's score, and only a score strictly above it is flagged: ties
    with that negative count as missed, so the answer never flatters a model that gives few distinct
    scores. Needs at least one of each.
    """
    negatives = np.sort(score[~positive])[::-1]
    allowed = int(np.floor(false_share * len(negatives) + 1e-9))
    if allowed >= len(negatives):
        return 1.0
    return float(np.mean(score[positive] > negatives[allowed]))


def recall_within(
    positive: Truths, score: Scores, real: Scores, *, false_share: float, real_share: float
) -> float:
    """Largest share of positives above a threshold that keeps both kinds of false flag rare.

    At most `false_share` of the negatives in `score` and at most `real_share` of `real`, scores of
    real orders that are taken to be reasonable, lie above it. Ties count as in `recall_at`.
    """
    bounds = ((score[~positive], false_share), (real, real_share))
    threshold = -np.inf
    for negatives, share in bounds:
        falling = np.sort(negatives)[::-1]
        allowed = int(np.floor(share * len(falling) + 1e-9))
        if allowed < len(falling):
            threshold = max(threshold, float(falling[allowed]))
    return float(np.mean(score[positive] > threshold))


def macro_f1(true: Sequence[str], said: Sequence[str]) -> float:
    """Mean F1 over the codes that occur in `true`: what a model says cannot change what it is divided by."""
    return float(f1_score(true, said, labels=sorted(set(true)), average="macro", zero_division=0.0))


def accuracy(true: Sequence[str], said: Sequence[str]) -> float:
    """Share of places where both say the same."""
    return float(np.mean([one == other for one, other in zip(true, said, strict=True)]))


def pairs_ordered(orders: Sequence[LabelledOrder], p_unreasonable: Scores) -> float | None:
    """Share of contrast pairs whose unreasonable order scores above its reasonable twin; a tie is half.

    Each combination of one unreasonable and one reasonable order that share `pair` counts once;
    None where there is none.
    """
    halves: dict[str, tuple[list[float], list[float]]] = {}
    for order, score in zip(orders, p_unreasonable, strict=True):
        if order.pair is not None:
            halves.setdefault(order.pair, ([], []))[order.unreasonable].append(float(score))
    won = [
        1.0 if above > below else 0.5 if above == below else 0.0
        for reasonable, unreasonable in halves.values()
        for above in unreasonable
        for below in reasonable
    ]
    return float(np.mean(won)) if won else None


def _codes(taxonomy: Taxonomy) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    return taxonomy.verdicts[1:], taxonomy.groups["kind"], taxonomy.groups["subject"]


def _likeliest(probabilities: Scores, codes: tuple[str, ...]) -> list[str]:
    return [codes[place] for place in probabilities.argmax(axis=1)]
