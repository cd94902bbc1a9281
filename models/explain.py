"""Which clauses of an order its verdict rests on, shown only when leaving them out proves it.

Reviewers and auditors read it as a hint. It is computed on demand and never changes a decision.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from data.masking import MaskedText
from data.records import Field, Prediction, Reading, Span, Verdict
from models.classifier import Classifier

_CLAUSE = re.compile(r"[^，,。.！!？?；;\n]+[，,。.！!？?；;\n]*")
_MOST_CLAUSES = 40
_MOST_SHOWN = 3
_WORTH_SHOWING = 0.2  # log-odds that a single clause must carry
_NEEDED = 1.0  # log-odds that all shown clauses must carry together ...
_MARGIN = 2.0  # ... and how many times what as many others carry
_OTHERS_TRIED = 8


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the verdict rests on.

    Attributes:
        spans: clauses in the order as it was sent, in reading order.
        carried: the log-odds towards the verdict that go when they are left out.
        others: the most that went when as many other clauses were left out.
    """

    spans: tuple[Span, ...]
    carried: float
    others: float


@dataclass(frozen=True, slots=True)
class _Clause:
    field: Field
    start: int
    end: int


def explain(text: MaskedText, classifier: Classifier, verdict: Verdict) -> Explanation | None:
    """The clauses that carry the verdict, or None where no few clauses demonstrably do.

    Each clause is left out in turn (occlusion, Zeiler & Fergus 2014); the strongest are then left out
    together. Unless that moves the verdict's log-odds by one at least, and twice as far as leaving out
    others does, nothing is shown: a weak explanation misleads more than none.

    Raises:
        NonFinite: a score is NaN or infinite.
    """
    clauses = _clauses(text.reading)
    if not 2 <= len(clauses) <= _MOST_CLAUSES:
        return None
    whole, *without = classifier.classify(
        [text.reading, *(_left_out(text.reading, [clause]) for clause in clauses)]
    )
    drops = [_towards(whole, verdict) - _towards(each, verdict) for each in without]
    ranked = sorted(range(len(clauses)), key=lambda place: -drops[place])
    chosen = [place for place in ranked[:_MOST_SHOWN] if drops[place] >= _WORTH_SHOWING]
    rest = [place for place in range(len(clauses)) if place not in chosen]
    if not chosen or not rest:
        return None
    groups = [chosen, *_other_groups(rest, len(chosen))]
    after = classifier.classify(
        [_left_out(text.reading, [clauses[place] for place in group]) for group in groups]
    )
    carried, *others = (_towards(whole, verdict) - _towards(each, verdict) for each in after)
    most = max(0.0, *others)
    if carried < _NEEDED or carried < _MARGIN * most:
        return None
    spans = tuple(_as_sent(text, clauses[place]) for place in sorted(chosen))
    return Explanation(spans, carried, most)


def _clauses(reading: Reading) -> list[_Clause]:
    """Title first; what separates clauses belongs to the clause before it."""
    fields: tuple[tuple[Field, str], ...] = (("title", reading.title), ("content", reading.content))
    return [
        _Clause(field, match.start(), match.end())
        for field, text in fields
        for match in _CLAUSE.finditer(text)
        if match.group().strip()
    ]


def _left_out(reading: Reading, clauses: Sequence[_Clause]) -> Reading:
    def cut(field: Field, text: str) -> str:
        for clause in sorted(clauses, key=lambda clause: -clause.start):
            if clause.field == field:
                text = text[: clause.start] + text[clause.end :]
        return text

    return Reading(cut("title", reading.title), cut("content", reading.content))


def _other_groups(rest: Sequence[int], size: int) -> list[list[int]]:
    """Up to eight groups of other clauses, the same on every call."""
    random = Random(size)  # noqa: S311 - drawn for comparison, not for secrecy
    size = min(size, len(rest))
    return [random.sample(rest, size) for _ in range(_OTHERS_TRIED)]


def _towards(prediction: Prediction, verdict: Verdict) -> float:
    """The log-odds of the verdict, bounded so that certainty stays finite."""
    p = min(max(prediction.p_unreasonable, 1e-7), 1 - 1e-7)
    odds = math.log(p / (1 - p))
    return odds if verdict == "unreasonable" else -odds


def _as_sent(text: MaskedText, clause: _Clause) -> Span:
    mapped = text.title if clause.field == "title" else text.content
    return Span(clause.field, *mapped.span(clause.start, clause.end))
