"""What a comparison found: a table to print, its figures as JSON, a picture of latency against load."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.benchmarks.comparison import CONNECTIONS, Comparison
from tests.benchmarks.contenders import PEERS
from tests.benchmarks.load import Figures

OURS = "mingbian"
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Ratio:
    """Our rate over a peer's, round by round: a slow moment of the machine falls on both."""

    median: float
    least: float
    most: float


def ratio(ours: list[float], theirs: list[float]) -> Ratio:
    """Of rates by round; nan where the peer answered nothing."""
    each = [our / their if their else math.nan for our, their in zip(ours, theirs, strict=True)]
    return Ratio(median(each), min(each), max(each))


def table(comparison: Comparison) -> str:
    """A line for each contender, the fastest first, then who is absent and why."""
    rates = [f"p99 at {rate:g}/s" for rate in comparison.compared]
    head = ["", "rate/s", "ours/peer", "(range)", "CPU ms", *rates, "failed", "RSS MiB", "PSS MiB", "cold s"]
    names = [contender.name for contender in comparison.present()]
    rows = [_row(comparison, name) for name in sorted(names, key=comparison.saturation, reverse=True)]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [head, *rows]
    ]
    lines += [f"{name} is absent: {reason}" for name, reason in comparison.absent.items()]
    return "\n".join(lines)


def write(comparison: Comparison, ceiling: Figures, machine: str, folder: Path) -> None:
    """`peers.json` and `peers.png` in the folder; what is infinite or no number is null in JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        "machine": machine,
        "texts": str(comparison.texts),
        "connections": CONNECTIONS,
        "seconds": comparison.seconds,
        "rounds": comparison.rounds,
        "generator_ceiling": asdict(ceiling),
        "compared_rates": comparison.compared,
        "requirements": {path.parent.name: _lines(path) for path in PEERS.glob("*/requirements.txt")},
        "absent": comparison.absent,
        "cells": [asdict(cell) | asdict(seen) for cell, seen in comparison.cells.items()],
        "visits": {name: [asdict(visit) for visit in seen] for name, seen in comparison.visits.items()},
        "run_again": [asdict(cell) for cell in comparison.rerun],
        "still_stray": [asdict(cell) for cell in comparison.strays()],
    }
    text = json.dumps(_finite(found), ensure_ascii=False, indent=1, allow_nan=False)
    (folder / "peers.json").write_text(text + "\n", "utf-8")
    mpl.use("Agg")
    _picture(comparison).savefig(folder / "peers.png", dpi=120)


def _row(comparison: Comparison, name: str) -> list[str]:
    closed, ours = ([seen.figures.rate for seen in comparison.of(who, None)] for who in (name, OURS))
    over = ratio(ours, closed)
    visits = comparison.visits[name]
    failed = sum(seen.figures.failed for cell, seen in comparison.cells.items() if cell.contender == name)
    return [
        name,
        f"{comparison.saturation(name):.1f}",
        "" if name == OURS else f"{over.median:.2f}",
        "" if name == OURS else f"{over.least:.2f}-{over.most:.2f}",
        f"{median(seen.cpu for seen in comparison.of(name, None)) * 1000:.0f}",
        *(_milliseconds(_p99(comparison, name, rate)) for rate in comparison.compared),
        str(failed),
        f"{median(visit.memory.rss for visit in visits) / _MEBIBYTE:.0f}",
        f"{median(visit.memory.pss for visit in visits) / _MEBIBYTE:.0f}",
        f"{median(visit.cold_start for visit in visits):.1f}",
    ]


def _p99(comparison: Comparison, name: str, rate: float) -> float:
    return median(seen.figures.p99 for seen in comparison.of(name, rate))


def _milliseconds(seconds: float) -> str:
    if math.isnan(seconds):
        return "nobody came"
    return f"{seconds * 1000:.0f} ms" if math.isfinite(seconds) else "failed"


def _picture(comparison: Comparison) -> Figure:
    """A line ends where its contender was asked for more than it can answer."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for contender in comparison.present():
        name = contender.name
        offered = {cell.offered for cell in comparison.cells if cell.contender == name}
        rates = sorted(rate for rate in offered if rate is not None)
        points = [(rate, _p99(comparison, name, rate)) for rate in rates]
        finite = [(rate, p99 * 1000) for rate, p99 in points if math.isfinite(p99)]
        style = {"linewidth": 3, "color": "black", "zorder": 3} if name == OURS else {"linewidth": 1.2}
        axes.plot(*zip(*finite, strict=True), marker="o", label=name, **style)
    axes.set_yscale("log")
    axes.set(
        xlabel="orders offered a second (Poisson arrivals)",
        ylabel="p99 latency, ms, from the intended moment",
        title=f"Latency against offered load on two cores, {comparison.seconds:g} s a point",
    )
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    return figure


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").split()


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
