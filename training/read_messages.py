"""How a model does on real messages that readers labelled, kept from training; `training/run.py` calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.records import Prediction
from data.taxonomy import Taxonomy
from models.rules import Rules
from training.examples import Example
from training.flags import FlagFigures, Flagged, flag_figures, flags_by_rules
from training.metrics import accuracy, macro_f1


@dataclass(frozen=True, slots=True)
class ReadMessages:
    """Figures over `messages` read messages; macro-F1 is over the kinds that occur.

    That flags are seldom raised wrongly is no news: their thresholds were set on these messages too.
    """

    messages: int
    kind_accuracy: float
    kind_macro_f1: float
    subject_accuracy: float
    flags: Mapping[str, FlagFigures]


def read_flags(
    messages: Sequence[Example], predictions: Sequence[Prediction], taxonomy: Taxonomy
) -> list[Flagged]:
    """For each flag, its probabilities of the read messages and whether their reader raised it."""
    rows = _read(messages, predictions)
    return [
        (
            np.array([said.flags[code] for _, said in rows], dtype=np.float64),
            np.array([place in (each.flags or ()) for each, _ in rows], dtype=np.bool_),
        )
        for place, code in enumerate(taxonomy.flag_codes)
    ]


def read_messages(
    messages: Sequence[Example],
    predictions: Sequence[Prediction],
    thresholds: Mapping[str, float],
    rules: Rules,
    taxonomy: Taxonomy,
) -> ReadMessages | None:
    """Compare what is predicted of the read ones among `messages` with the reader; None where none was read.

    Args:
        thresholds: from which probability on each flag is raised.
    """
    rows = _read(messages, predictions)
    if not rows:
        return None
    kinds, subjects = (
        (
            [taxonomy.groups[group][each.labels[group]] for each, _ in rows],
            [_likeliest(getattr(said, group)) for _, said in rows],
        )
        for group in ("kind", "subject")
    )
    flagged = zip(taxonomy.flag_codes, read_flags(messages, predictions, taxonomy), strict=True)
    by_rules = flags_by_rules(rules, [each.reading for each, _ in rows], taxonomy)
    return ReadMessages(
        messages=len(rows),
        kind_accuracy=accuracy(*kinds),
        kind_macro_f1=macro_f1(*kinds),
        subject_accuracy=accuracy(*subjects),
        flags={
            code: flag_figures(p >= thresholds[code], by_rules[:, place], raised)
            for place, (code, (p, raised)) in enumerate(flagged)
        },
    )


def _read(messages: Sequence[Example], predictions: Sequence[Prediction]) -> list[tuple[Example, Prediction]]:
    pairs = zip(messages, predictions, strict=True)
    return [(each, said) for each, said in pairs if each.flags is not None]


def _likeliest(probabilities: Mapping[str, float]) -> str:
    return max(probabilities, key=probabilities.__getitem__)
