"""Figures as lines of Markdown tables; cards, records and `assess.py` share them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from training.flags import FlagFigures
from training.slices import Slice


def shown(figure: float | None) -> str:
    """Three digits, or a dash where there is no figure."""
    return "–" if figure is None else f"{figure:.3f}"


def slice_table(parts: Sequence[Slice]) -> Iterable[str]:
    """One line a part, after the head."""
    yield "| part | orders | unreasonable | AUC | recall at 2 % | and 0.1 % of real | pairs ordered |"
    yield "|---|---|---|---|---|---|---|"
    for part in parts:
        yield (
            f"| {part.by}: {part.name} | {part.orders} | {part.unreasonable} | {part.auc:.3f} "
            f"| {part.recall_at_2pct:.3f} | {shown(part.recall_within)} | {shown(part.pairs_ordered)} |"
        )


def flag_table(flags: Mapping[str, FlagFigures]) -> Iterable[str]:
    """One line a flag, after the head."""
    yield "| flag | true ones | found by the model | raised wrongly | found with the rules | raised wrongly |"
    yield "|---|---|---|---|---|---|"
    for code, flag in flags.items():
        yield (
            f"| {code} | {flag.raised} | {shown(flag.recall)} | {flag.false_share:.1%} "
            f"| {shown(flag.served_recall)} | {flag.served_false_share:.1%} |"
        )
