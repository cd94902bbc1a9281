"""The card that lies beside an encoder: what it read, what it cost, what it is worth; `__main__` calls it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from training.encoder import FIGURES, YARDSTICKS

_CONTENDERS = ("encoder", "random weights", "TF-IDF + linear")
_ROWS = (
    # (what the row says, how its tasks' names begin, the figure, what is published)
    ("ChnSentiCorp, 1,200 test texts: accuracy", "chnsenticorp", "accuracy", "BERT-base 0.947"),
    ("ChnSentiCorp, the 870 that are not in train: accuracy", "chnsenticorp", "accuracy_unseen", ""),
    ("tipdm subjects, 15 % held out by text: accuracy", "tipdm", "accuracy", "TF-IDF + SVM 0.926"),
    ("FewCLUE tnews, mean of 5 splits: accuracy", "tnews-", "accuracy", "RoBERTa-base 0.436"),
    ("FewCLUE csldcp, mean of 5 splits: accuracy", "csldcp-", "accuracy", "RoBERTa-base 0.286"),
    ("authored orders, one region left out: verdict AUC", "authored-", "auc", ""),
    ("authored orders, one region left out: pairs ordered", "authored-", "pairs_ordered", ""),
)


def write_encoder_card(folder: Path) -> str:
    """The card as Markdown, from the figures in the folder; nothing in it is typed by hand."""
    figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
    measured = folder / YARDSTICKS
    cells = json.loads(measured.read_text(encoding="utf-8"))["cells"] if measured.exists() else {}
    recipe = figures["recipe"]
    shape, plan = recipe["shape"], recipe["pretrain"]
    return "\n".join(
        [
            f"# Encoder card: {recipe['name']}",
            "",
            f"A standard BERT of {shape['layers']} layers × {shape['width']} "
            f"({figures['parameters'] / 1e6:.1f}M parameters, bf16), for Simplified Chinese text that",
            "`data/canonical.py` has made canonical. `transformers` loads the folder as it is.",
            "",
            "Made by `python -m training pretrain training/recipes/encoder.toml`; measured by",
            f"`python -m training yardsticks models/encoders/{recipe['name']}`.",
            "",
            "## What was spent",
            "",
            f"- hardware: {figures['hardware']}",
            f"- {figures['steps']:,} steps of {plan['batch']} × {plan['length']} tokens: "
            f"{figures['tokens_seen'] / 1e6:.1f}M tokens in {figures['seconds'] / 3600:.2f} hours",
            f"- {figures['tokens_per_second']:,} tokens/s, {figures['share_of_peak']:.0%} of the "
            f"{figures['peak_gflops']} GFLOP/s that a large matrix product reaches there",
            *_start(figures, plan["start"]),
            "",
            "## What it read",
            "",
            "Shares are of the tokens drawn; passes say how often a corpus was gone through. No authored",
            "order is among them. Not all of it is licensed for reuse; none of it is in the repository.",
            "",
            "| corpus | tier | share | passes | unknown | perplexity | by frequency | random weights "
            "| top-1 | by frequency |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *_sources(figures, plan),
            "",
            f"Perplexity and top-1 are over the {plan['mask_rate']:.0%} hidden tokens of held-out documents,",
            "whole words hidden together, counted per token; beside them a guess by frequency alone, and",
            "the same shape with random weights. `loss.png` shows the loss in training.",
            "",
            "## Yardsticks",
            "",
            "All contenders get the same texts; the two networks are fine-tuned alike. ± is the standard",
            "deviation over seeds, splits or regions. FewCLUE's published figures are of fine-tuning on its",
            "splits (its repository's table); ChnSentiCorp's is a mean. In brackets: runs behind a figure.",
            "",
            "| task | this encoder | same shape, random weights | TF-IDF + linear | published |",
            "|---|---|---|---|---|",
            *_yardsticks(cells),
            "",
        ]
    )


def _start(figures: Mapping[str, Any], start: str) -> list[str]:
    """What it started from, and what that had cost."""
    if not start:
        return ["- started from statistics of the text alone"]
    legs = figures["before"]
    if not legs:
        return [f"- started from {start}"]
    tokens, seconds = (sum(leg[name] for leg in (*legs, figures)) for name in ("tokens_seen", "seconds"))
    return [
        *(
            f"- went on from {leg['recipe']}: {leg['tokens_seen'] / 1e6:.1f}M tokens in "
            f"{leg['seconds'] / 3600:.2f} hours on {leg['hardware']}"
            for leg in legs
        ),
        f"- in all: {tokens / 1e6:.1f}M tokens in {seconds / 3600:.2f} hours",
    ]


def _sources(figures: Mapping[str, Any], plan: Mapping[str, Any]) -> Iterable[str]:
    total = sum(source["share"] for source in plan["sources"].values())
    for name, source in plan["sources"].items():
        held, frequency, untrained = (
            figures[kind][name] for kind in ("held_out", "held_out_frequency", "held_out_random_weights")
        )
        yield (
            f"| {name} | {source['tier']} | {source['share'] / total:.0%} "
            f"| {figures['sources'][name]['passes']:.1f} | {figures['unknown'][name]:.3%} "
            f"| {held['perplexity']:.1f} | {frequency['perplexity']:.0f} | {untrained['perplexity']:.0f} "
            f"| {held['top1']:.1%} | {frequency['top1']:.1%} |"
        )


def _yardsticks(cells: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    for title, start, figure, published in _ROWS:
        shown = [_cell(cells, start, contender, figure) for contender in _CONTENDERS]
        yield f"| {title} | {' | '.join(shown)} | {published} |"


def _cell(cells: Mapping[str, Mapping[str, Any]], start: str, contender: str, figure: str) -> str:
    """Mean ± deviation over the cells that were measured, and their number; a dash where none was."""
    found = [
        float(cell[figure])
        for name, cell in cells.items()
        if name.startswith(start) and name.split(" | ")[1] == contender and figure in cell
    ]
    if not found:
        return "–"
    mean = f"{fmean(found):.3f}"
    return f"{mean} (1)" if len(found) == 1 else f"{mean} ± {pstdev(found):.3f} ({len(found)})"
