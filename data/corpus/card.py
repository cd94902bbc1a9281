"""Counts the committed labels into the tables of CARD.md; `python -m data corpus card` rewrites them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

from data.corpus.labels import STYLES, LabelledOrder
from data.errors import BadInput
from data.taxonomy import Taxonomy

CARD = Path(__file__).resolve().parent / "CARD.md"
# Words that give a writer's habit away: they should say nothing of the verdict, and do.
WATCHED = ("给我", "要求热线", "我觉得", "查", "窗口", "昨天")
_BEGIN = "<!-- counted by `python -m data corpus card`: do not edit below -->\n"
_END = "<!-- counted until here -->\n"


def tables(orders: Sequence[LabelledOrder], taxonomy: Taxonomy) -> str:
    """The Markdown tables: sizes, styles, verdicts, kinds, subjects and flags, each by region."""
    groups = taxonomy.groups
    sections = [
        ("Size by region", _sizes(orders)),
        ("Style by region", _crossed(orders, STYLES, lambda order: (order.style,))),
        ("Verdict by style", _by_style(orders)),
        ("Share of unreasonable orders among those that say a word, by region", _leaks(orders)),
        ("Verdict by region", _crossed(orders, groups["verdict"], lambda order: (order.verdict,))),
        ("Kind by region", _crossed(orders, groups["kind"], lambda order: (order.kind,))),
        ("Subject by region", _crossed(orders, groups["subject"], lambda order: (order.subject,))),
        (
            "Flags by region (an order may carry several)",
            _crossed(orders, [flag.code for flag in taxonomy.flags], lambda order: order.flags),
        ),
    ]
    return "\n".join(f"### {title}\n\n{table}" for title, table in sections)


def with_tables(card: str, counted: str) -> str:
    """The card's text with its counted part replaced.

    Raises:
        BadInput: the marks around the counted part are not there once each, in order.
    """
    before, found, rest = card.partition(_BEGIN)
    _, closed, after = rest.partition(_END)
    if not found or not closed or _BEGIN in rest or _END in after:
        raise BadInput("card_unmarked", "数据说明中缺少统计表的起止标记")
    return f"{before}{_BEGIN}\n{counted}\n{_END}{after}"


def _sizes(orders: Sequence[LabelledOrder]) -> str:
    regions = _regions(orders)
    rows = [_size(region, [order for order in orders if order.region == region]) for region in regions]
    head = [
        "region",
        "orders",
        "reasonable",
        "unreasonable",
        "pairs",
        "alone",
        "shortest",
        "median",
        "longest",
    ]
    return _table(head, [*rows, _size("all", orders)])


def _size(name: str, orders: Sequence[LabelledOrder]) -> list[object]:
    unreasonable = sum(order.unreasonable for order in orders)
    halves = Counter(order.pair for order in orders if order.pair is not None)
    pairs = sum(count > 1 for count in halves.values())
    alone = sum(order.pair is None or halves[order.pair] == 1 for order in orders)
    lengths = [len(order.content) for order in orders]
    counted = [len(orders), len(orders) - unreasonable, unreasonable, pairs, alone]
    return [name, *counted, min(lengths), round(median(lengths)), max(lengths)]


def _by_style(orders: Sequence[LabelledOrder]) -> str:
    rows = []
    for style in STYLES:
        own = [order for order in orders if order.style == style]
        unreasonable = sum(order.unreasonable for order in own)
        rows.append([style, len(own), unreasonable, f"{unreasonable / max(1, len(own)):.0%}"])
    return _table(["style", "orders", "unreasonable", "share"], rows)


def _leaks(orders: Sequence[LabelledOrder]) -> str:
    regions = _regions(orders)
    rows = []
    for word in ("", *WATCHED):
        verdicts = [
            [o.unreasonable for o in orders if o.region == region and word in o.content] for region in regions
        ]
        shares = [f"{sum(own) / len(own):.0%} of {len(own)}" if own else "none" for own in verdicts]
        rows.append([word or "(any)", *shares])
    return _table(["word", *regions], rows)


def _crossed(
    orders: Sequence[LabelledOrder],
    codes: Iterable[str],
    codes_of: Callable[[LabelledOrder], tuple[str, ...]],
) -> str:
    regions = _regions(orders)
    counts = Counter((code, order.region) for order in orders for code in codes_of(order))
    rows = []
    for code in codes:
        own = [counts[code, region] for region in regions]
        rows.append([code, *own, sum(own)])
    return _table(["", *regions, "all"], rows)


def _regions(orders: Sequence[LabelledOrder]) -> list[str]:
    return sorted({order.region for order in orders})


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)
