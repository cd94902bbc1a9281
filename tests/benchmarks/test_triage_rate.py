"""How much of one order's triage is the model, and how much is everything around it; figures are printed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from data.corpus.labels import read_folder
from data.masking import read_text
from data.taxonomy import Taxonomy
from models.triage import open_triage

ROUNDS = 3
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_parts_of_a_triage(shipped: Path, taxonomy: Taxonomy) -> None:
    orders = [order for order in read_folder(taxonomy) if order.region == "w4"][:200]
    triage = open_triage(shipped)
    classifier = triage._classifier
    assert classifier is not None
    texts = [read_text(order.title, order.content) for order in orders]
    parts: dict[str, Callable[[], object]] = {
        "whole": lambda: [triage.decide(order.title, order.content, NOW) for order in orders],
        "reading": lambda: [read_text(order.title, order.content) for order in orders],
        "rules": lambda: [triage.rules.hits(text) for text in texts],
        "model": lambda: classifier.classify([text.reading for text in texts]),
    }
    taken: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(ROUNDS):  # interleaved, so that a slow moment of the machine falls on every part
        for name, part in parts.items():
            began = time.perf_counter()
            part()
            taken[name].append(time.perf_counter() - began)
    triage.close()
    whole = median(taken["whole"])
    print(f"\n{len(orders) / whole:.0f} orders/s, one at a time")
    for name, seconds in taken.items():
        each = median(seconds)
        print(f"{name:<8} {each / len(orders) * 1000:6.2f} ms an order, {each / whole:5.0%}")
