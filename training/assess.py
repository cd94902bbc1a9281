"""What a bundle makes of named files of labelled orders; `python -m training assess` calls it.

For files that no part of a split holds: what was written after a bundle was made says more of it than
the test region that its card reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from data.corpus.labels import LabelledOrder
from data.masking import read_text
from data.records import Reading, Thresholds
from data.taxonomy import Taxonomy
from models.bundle import Bundle
from models.encoder_classifier import EncoderClassifier
from models.rules import Rules
from training.evaluate import Scored, predictions, score
from training.flags import FlagFigures, flag_figures, flags_by_rules
from training.metrics import Metrics
from training.slices import slices
from training.tables import flag_table, shown, slice_table


def assess(
    bundle: Bundle, orders: Sequence[LabelledOrder], real: Sequence[Reading], rules: Rules, taxonomy: Taxonomy
) -> list[str]:
    """Markdown lines: figures by file, style and length, what the thresholds do, and the flags.

    Args:
        real: real orders, taken to be reasonable; without them R@0.1/2 is left open.
    """
    model = EncoderClassifier(bundle)
    found = score(model, orders, taxonomy)
    p_real = np.array([each.p_unreasonable for each in predictions(model, real)], dtype=np.float64)
    return [
        f"{bundle.name} {bundle.digest}, {len(orders)} orders",
        "",
        *_by_file(found),
        "",
        *slice_table(slices(found.orders, found.p_unreasonable, p_real)),
        "",
        *_outcomes(found, p_real, bundle.thresholds),
        "",
        *flag_table(flags_of(found, bundle.thresholds.flags, rules)),
    ]


def _by_file(found: Scored) -> Iterator[str]:
    yield "| file | orders | unreasonable | verdict accuracy | ground F1 | kind accuracy | subject accuracy |"
    yield "|---|---|---|---|---|---|---|"
    regions = list(dict.fromkeys(order.region for order in found.orders))
    for region in regions:
        rows = np.array([order.region == region for order in found.orders])
        yield _figures(region, _rows(found, rows).metrics(), int(found.unreasonable[rows].sum()))
    if len(regions) > 1:
        yield _figures("all", found.metrics(), int(found.unreasonable.sum()))


def _figures(name: str, of: Metrics, unreasonable: int) -> str:
    figures = (of.verdict_accuracy, of.ground_macro_f1, of.kind_accuracy, of.subject_accuracy)
    return f"| {name} | {of.orders} | {unreasonable} | {' | '.join(map(shown, figures))} |"


def _outcomes(found: Scored, p_real: NDArray[np.float64], thresholds: Thresholds) -> Iterator[str]:
    """Before flags and rules, which can only send more to a person."""
    parts = {
        "unreasonable": found.p_unreasonable[found.unreasonable],
        "reasonable": found.p_unreasonable[~found.unreasonable],
        "real, unread": p_real,
    }
    yield "| orders | recommended for declining | left to a person | dispatched |"
    yield "|---|---|---|---|"
    for name, p in parts.items():
        if len(p):
            declined = _beyond(p, thresholds.decline)
            dispatched = _beyond(-p, None if thresholds.dispatch is None else -thresholds.dispatch)
            yield f"| {name} | {declined:.2%} | {1 - declined - dispatched:.2%} | {dispatched:.2%} |"


def _beyond(p: NDArray[np.float64], threshold: float | None) -> float:
    return 0.0 if threshold is None else float(np.mean(p >= threshold))


def flags_of(found: Scored, thresholds: Mapping[str, float], rules: Rules) -> dict[str, FlagFigures]:
    """By flag, what the model and the rules find, given from which probability on the model raises each."""
    taxonomy = found.taxonomy
    readings = [read_text(order.title, order.content).reading for order in found.orders]
    by_rules = flags_by_rules(rules, readings, taxonomy)
    said = found.flags >= np.array([thresholds[code] for code in taxonomy.flag_codes])
    return {
        code: flag_figures(said[:, place], by_rules[:, place], found.raised[:, place])
        for place, code in enumerate(taxonomy.flag_codes)
    }


def _rows(found: Scored, rows: NDArray[np.bool_]) -> Scored:
    return Scored(
        [order for order, chosen in zip(found.orders, rows, strict=True) if chosen],
        found.p_unreasonable[rows],
        {group: values[rows] for group, values in found.probabilities.items()},
        {group: values[rows] for group, values in found.logits.items()},
        found.flags[rows],
        found.taxonomy,
    )
