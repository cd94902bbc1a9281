"""Decisions persisted and audited a second, inference left out: one is made, and kept again and again.

Set MINGBIAN_BENCH_ORDERS (100,000 if not) to say how far the database grows while the time of a commit is
watched. Figures are printed; the growth is drawn to var/benchmarks/keeping.png.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median

import matplotlib.pyplot as plt
import psutil
import pytest

from data.records import Caller, Decision, WorkOrder
from data.settings import ROOT
from data.store.database import Database
from data.store.identifiers import new_id
from data.taxonomy import Taxonomy
from models.triage import open_triage
from serving.keeping import Arrival, OrderKeeper
from serving.messages import NewOrder
from serving.metrics import Metrics
from serving.once import attempt, by_natural_key
from tests.benchmarks.load import percentile

ORDERS = int(os.environ.get("MINGBIAN_BENCH_ORDERS", "100000"))
ROUNDS = 3
IN_A_ROUND = 2_000
GROUP = 256
PICTURE = ROOT / "var" / "benchmarks"
TITLE, CONTENT = "路灯不亮", "来电人反映幸福路东段三盏路灯坏了三天，晚上看不清路，希望派人维修。"


class Stream:
    """Orders that differ in their numbers, each with the same decision."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision
        self._numbers = count()
        self._caller = Caller(new_id(), "bench", "intake")

    def next(self) -> Arrival:
        number = f"GD-{next(self._numbers):09}"
        message = NewOrder(source="bench", number=number, title=TITLE, content=CONTENT, revision=1)
        order = WorkOrder(new_id(), "bench", number, 1, TITLE, CONTENT, datetime.now(UTC))
        keyed = attempt(self._caller.id, None, "POST /v1/orders", message)
        return Arrival(self._caller, order, self._decision, keyed, by_natural_key(keyed, "bench", number, 1))


@pytest.fixture
def decision(shipped: Path) -> Decision:
    triage = open_triage(shipped)
    made = triage.decide(TITLE, CONTENT, datetime.now(UTC))
    triage.close()
    assert made.prediction is not None
    return made


@pytest.fixture
def keeper(database: Database, taxonomy: Taxonomy) -> OrderKeeper:
    return OrderKeeper(database, bytes(32), taxonomy, Metrics(), lambda: datetime.now(UTC))


def test_decisions_a_second(
    database: Database, keeper: OrderKeeper, decision: Decision, request: pytest.FixtureRequest
) -> None:
    stream = Stream(decision)

    def alone() -> None:
        for _ in range(IN_A_ROUND // 10):
            keeper.keep(stream.next())

    def together(callers: int) -> Callable[[], None]:
        def work() -> None:
            with ThreadPoolExecutor(callers) as pool:
                list(pool.map(lambda _: keeper.keep(stream.next()), range(IN_A_ROUND)))

        return work

    def in_bulk() -> None:
        for _ in range(IN_A_ROUND // GROUP):
            arrivals = [stream.next() for _ in range(GROUP)]
            with database.transaction() as conn:
                keeper.keep_all(conn, arrivals)

    ways = {
        "one caller": (alone, IN_A_ROUND // 10),
        "8 callers": (together(8), IN_A_ROUND),
        "64 callers": (together(64), IN_A_ROUND),
        f"groups of {GROUP}": (in_bulk, IN_A_ROUND // GROUP * GROUP),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (work, orders) in ways.items():
            began = time.perf_counter()
            work()
            rates[name].append(orders / (time.perf_counter() - began))
    print(f"\n{request.node.name}: decisions kept and audited a second, inference left out")
    for name, measured in rates.items():
        print(f"  {name:<14} {median(measured):6.0f}/s  (from {min(measured):.0f} to {max(measured):.0f})")


def test_growth(
    database: Database, keeper: OrderKeeper, decision: Decision, request: pytest.FixtureRequest
) -> None:
    stream = Stream(decision)
    steps = [size for power in range(3, 7) for size in (10**power, 3 * 10**power) if size <= ORDERS]
    kept, rows = 0, []
    for size in steps:
        seconds = []
        while kept < size:
            arrivals = [stream.next() for _ in range(min(GROUP, size - kept))]
            began = time.perf_counter()
            with database.transaction() as conn:
                keeper.keep_all(conn, arrivals)
            seconds.append(time.perf_counter() - began)
            kept += len(arrivals)
        last = seconds[-100:]
        memory = psutil.Process().memory_info().rss / 2**20
        rows.append((size, percentile(last, 0.5), percentile(last, 0.99), memory))
    print(f"\n{request.node.name}: groups of {GROUP}, the last hundred before each size")
    print("    orders   p50 ms   p99 ms   memory MiB")
    for size, p50, p99, memory in rows:
        print(f"{size:>10,} {p50 * 1000:8.0f} {p99 * 1000:8.0f} {memory:12.0f}")
    PICTURE.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(6, 4))
    axes.plot([row[0] for row in rows], [row[1] * 1000 for row in rows], marker="o", label="p50")
    axes.plot([row[0] for row in rows], [row[2] * 1000 for row in rows], marker="o", label="p99")
    axes.set(
        xscale="log", xlabel="orders in the database", ylabel=f"ms for a group of {GROUP}", ylim=(0, None)
    )
    axes.legend()
    kind = "postgresql" if "postgresql" in request.node.name else "sqlite"
    figure.savefig(PICTURE / f"keeping-{kind}.png", dpi=120, bbox_inches="tight")
    plt.close(figure)
