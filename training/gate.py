"""Whether a challenger may take the champion's place; `python -m training gate` asks and prints the answer.

Both read the same frozen orders in the same run. A figure varies with the sample, so a challenger fails
only where the paired bootstrap is sure of a loss larger than the margin.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from data.corpus.labels import LabelledOrder
from data.masking import read_text
from data.records import Reading
from data.taxonomy import Taxonomy
from models.bundle import Bundle
from models.encoder_classifier import EncoderClassifier
from training.behaviours import Capability, Suite, judge_of, run_suite
from training.evaluate import Scored, predictions, score
from training.metrics import FALSE_FLAGS, REAL_FLAGS, recall_at, recall_within
from training.style_leak import style_leak

_SURE = 0.95
_MARGIN = 0.01  # a loss of one point is let pass
_BEHAVIOUR_MARGIN = 0.02  # more failures, as a share of the cases of one kind
_SLOWER = 1.25
_REGRESSIONS = 0.005  # so many are let pass whatever is won
_SURELY = 0.9
_TIMED = 60  # orders
_BEHAVIOUR_ORDERS = 150


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the gate; `bound` is the least that the difference is, at 95 %, where it was redrawn."""

    name: str
    champion: str
    challenger: str
    passes: bool
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class FrozenSets:
    """What both bundles are tried on.

    Attributes:
        orders: labelled, none of which trained or calibrated either.
        real: real orders, taken to be reasonable; may be empty.
    """

    orders: Sequence[LabelledOrder]
    real: Sequence[Reading]
    suite: Suite


@dataclass(frozen=True, slots=True)
class _Contender:
    bundle: Bundle
    model: EncoderClassifier
    scored: Scored
    real: NDArray[np.float64]


def gate(
    champion: Bundle,
    challenger: Bundle,
    sets: FrozenSets,
    taxonomy: Taxonomy,
    seed: int,
    redraws: int = 1000,
) -> list[Check]:
    """Every check; the challenger may be promoted when all pass."""
    old, new = (_contender(bundle, sets, taxonomy) for bundle in (champion, challenger))
    return [
        *_figures(old, new, seed, redraws),
        _certificate(old, new),
        _flags(old, new, taxonomy),
        _regressions(old, new),
        _behaviours(old, new, sets),
        _leak(old, new),
        _latency(old, new, sets),
    ]


def gate_table(checks: Sequence[Check]) -> list[str]:
    """Rows of a Markdown table, and the answer."""
    rows = []
    for check in checks:
        bound = "–" if check.bound is None else f"{check.bound:+.3f}"
        answer = "pass" if check.passes else "**fail**"
        rows.append(f"| {check.name} | {check.champion} | {check.challenger} | {bound} | {answer} |")
    passed = all(check.passes for check in checks)
    verdict = "The challenger may be promoted." if passed else "**The challenger stays out.**"
    head = ["| check | champion | challenger | difference at least | |", "|---|---|---|---|---|"]
    return [*head, *rows, "", verdict]


def _contender(bundle: Bundle, sets: FrozenSets, taxonomy: Taxonomy) -> _Contender:
    model = EncoderClassifier(bundle)
    real = np.array([each.p_unreasonable for each in predictions(model, sets.real)])
    return _Contender(bundle, model, score(model, sets.orders, taxonomy), real)


def _figures(old: _Contender, new: _Contender, seed: int, redraws: int) -> Iterator[Check]:
    """Figures with the lower bound of the paired difference, over redrawn orders and real orders."""
    random = np.random.default_rng(seed)
    count, reals = len(old.scored.orders), len(old.real)
    drawn = [
        (random.integers(count, size=count), random.integers(reals, size=reals) if reals else None)
        for _ in range(redraws)
    ]
    for name, figure in _FIGURES.items():
        if name.endswith("real orders") and not reals:
            continue
        everything = (np.arange(count), np.arange(reals) if reals else None)
        before, after = (figure(each, *everything) for each in (old, new))
        gaps = [figure(new, *rows) - figure(old, *rows) for rows in drawn]
        yield Check(
            name,
            f"{before:.3f}",
            f"{after:.3f}",
            passes=float(np.quantile(gaps, _SURE)) >= -_MARGIN,
            bound=float(np.quantile(gaps, 1 - _SURE)),
        )


_Rows = NDArray[np.int64]


def _auc(each: _Contender, rows: _Rows, _: _Rows | None) -> float:
    return float(roc_auc_score(each.scored.unreasonable[rows], each.scored.p_unreasonable[rows]))


def _recall(each: _Contender, rows: _Rows, _: _Rows | None) -> float:
    return recall_at(each.scored.unreasonable[rows], each.scored.p_unreasonable[rows], FALSE_FLAGS)


def _recall_real(each: _Contender, rows: _Rows, reals: _Rows | None) -> float:
    return recall_within(
        each.scored.unreasonable[rows],
        each.scored.p_unreasonable[rows],
        each.real[reals],
        false_share=FALSE_FLAGS,
        real_share=REAL_FLAGS,
    )


def _right(group: str) -> Callable[[_Contender, _Rows, _Rows | None], float]:
    def figure(each: _Contender, rows: _Rows, _: _Rows | None) -> float:
        codes = each.scored.taxonomy.groups[group]
        said = each.scored.probabilities[group][rows].argmax(axis=1)
        true = [codes.index(getattr(each.scored.orders[row], group)) for row in rows]
        return float(np.mean(said == np.array(true)))

    return figure


_FIGURES: dict[str, Callable[[_Contender, _Rows, _Rows | None], float]] = {
    "verdict AUC": _auc,
    "recall at 2 % false flags": _recall,
    "recall at 2 % and at 0.1 % of real orders": _recall_real,
    "verdict and ground named rightly": _right("verdict"),
    "kind named rightly": _right("kind"),
    "subject named rightly": _right("subject"),
}


def _certificate(old: _Contender, new: _Contender) -> Check:
    """A challenger without thresholds would send every order to people."""
    before, after = (each.bundle.thresholds for each in (old, new))
    old_shown, new_shown = (f"decline {each.decline}, dispatch {each.dispatch}" for each in (before, after))
    lost = (before.decline is not None and after.decline is None) or (
        before.dispatch is not None and after.dispatch is None
    )
    return Check("certified thresholds", old_shown, new_shown, passes=not lost)


def _flags(old: _Contender, new: _Contender, taxonomy: Taxonomy) -> Check:
    """Protective flags found, all kinds together: none may become rarer by more than the margin."""
    found = []
    for each in (old, new):
        limits = np.array([each.bundle.thresholds.flags[code] for code in taxonomy.flag_codes])
        raised = each.scored.raised
        found.append(float((each.scored.flags >= limits)[raised].mean()) if raised.any() else 1.0)
    before, after = found
    return Check("flags found", f"{before:.3f}", f"{after:.3f}", passes=after >= before - _MARGIN)


def _regressions(old: _Contender, new: _Contender) -> Check:
    """Orders that one judged rightly and surely and the other wrongly: fewer may be lost than are won."""
    lost, won = (
        float((one.scored.right & (one.scored.confidence >= _SURELY) & ~other.scored.right).mean())
        for one, other in ((old, new), (new, old))
    )
    return Check(
        "surely right, and wrong by the other",
        f"{lost:.2%}",
        f"{won:.2%}",
        passes=lost <= max(won, _REGRESSIONS),
    )


def _behaviours(old: _Contender, new: _Contender, sets: FrozenSets) -> Check:
    """Failures by kind of behaviour: none may become commoner by more than the margin."""
    orders = [(order.title, order.content) for order in sets.orders[:_BEHAVIOUR_ORDERS]]
    before, after = (_failures(run_suite(judge_of(each.model), sets.suite, orders)) for each in (old, new))
    old_shown, new_shown = (
        ", ".join(f"{kind} {share:.1%}" for kind, share in shares.items()) for shares in (before, after)
    )
    worse = any(after[kind] > before[kind] + _BEHAVIOUR_MARGIN for kind in before)
    return Check("behaviours failed", old_shown, new_shown, passes=not worse)


def _failures(found: Sequence[Capability]) -> dict[str, float]:
    """Kind -> share of its cases that failed."""
    kinds = dict.fromkeys(row.kind for row in found)
    return {
        kind: sum(row.failures for row in found if row.kind == kind)
        / max(1, sum(row.cases for row in found if row.kind == kind))
        for kind in kinds
    }


def _leak(old: _Contender, new: _Contender) -> Check:
    leaks = []
    for each in (old, new):
        good = ~each.scored.unreasonable
        regions = np.array([order.region for order in each.scored.orders])
        leaks.append(style_leak(each.scored.p_unreasonable[good], regions[good], each.real))
    before, after = leaks
    old_shown, new_shown = ("–" if leak.authored is None else f"{leak.authored:.3f}" for leak in leaks)
    return Check("source told from the score", old_shown, new_shown, passes=after.passes or not before.passes)


def _latency(old: _Contender, new: _Contender, sets: FrozenSets) -> Check:
    """Turn by turn, so that whatever else the machine does slows both."""
    readings = [read_text(order.title, order.content).reading for order in sets.orders[:_TIMED]]
    spent: tuple[list[float], list[float]] = ([], [])
    for reading in readings:
        for times, each in zip(spent, (old, new), strict=True):
            started = time.perf_counter()
            each.model.logits(reading)
            times.append(time.perf_counter() - started)
    before, after = (median(times) * 1000 for times in spent)
    return Check(
        "median milliseconds an order", f"{before:.1f}", f"{after:.1f}", passes=after <= _SLOWER * before
    )
