"""What becomes of callers when more come than can be served: at once, twice and five times what saturates it.

Figures are printed and drawn to var/benchmarks/overload.png; `generator` is the share of one core that making
the load took from the service. MINGBIAN_BENCH_SECONDS (20 if not) is the length of each load.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt

from data.settings import ROOT, Settings
from data.taxonomy import Taxonomy
from tests.benchmarks.connection import Broken, Connection
from tests.benchmarks.contenders import Mingbian
from tests.benchmarks.load import GIVE_UP_S, Target, arrivals, closed_loop, percentile
from tests.benchmarks.process_tree import ProcessTree
from tests.benchmarks.texts import read_texts

SECONDS = float(os.environ.get("MINGBIAN_BENCH_SECONDS", "20"))
MULTIPLES = (1, 2, 5)
PICTURE = ROOT / "var" / "benchmarks"
ACCEPTED, BY_RULES, REFUSED, LOST = "accepted", "by rules", "refused", "lost"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One caller: `at` and `seconds` run from the moment the request should have been sent."""

    at: float
    seconds: float
    kind: str


def test_overload(tmp_path: Path, taxonomy: Taxonomy) -> None:
    texts = read_texts(Settings().external, taxonomy)
    deadline_s = Settings().deadline_ms / 1000
    with Mingbian(deadline_ms=Settings().deadline_ms).running(texts, tmp_path) as running:
        saturation = closed_loop(running.target, 4, SECONDS, 3).rate
        calm = asyncio.run(under_load(running.target, 0.3 * saturation, SECONDS / 2, 0))
        usual = p(0.95, calm, ACCEPTED)
        print(f"\n{texts}\nsaturation {saturation:.1f}/s; accepted p95 at 0.3 of it {usual:.0f} ms")
        print(
            "   load  offered/s  goodput/s  p50 ms  p99 ms  by rules  refused  refusal p99 ms  lost  MiB"
            "  generator"
        )
        runs = {}
        for multiple in MULTIPLES:
            worked = time.process_time()
            outcomes = asyncio.run(under_load(running.target, multiple * saturation, SECONDS, multiple))
            worked = time.process_time() - worked
            runs[multiple] = outcomes
            good = [o for o in outcomes if o.kind == ACCEPTED and o.seconds <= deadline_s]
            kinds = [outcome.kind for outcome in outcomes]
            print(
                f"{multiple:>6}×  {len(outcomes) / SECONDS:9.1f}  {len(good) / SECONDS:9.1f}"
                f"  {p(0.5, outcomes, ACCEPTED):6.0f}  {p(0.99, outcomes, ACCEPTED):6.0f}"
                f"  {kinds.count(BY_RULES):8}  {kinds.count(REFUSED):7}  {p(0.99, outcomes, REFUSED):14.0f}"
                f"  {kinds.count(LOST):4}  {mebibytes(running.tree):3.0f}"
                f"  {worked / SECONDS:8.0%}"
            )
        after = asyncio.run(under_load(running.target, 0.3 * saturation, SECONDS / 2, 9))
        print(f"recovered {recovery(after, usual):.1f} s after the last of them")
    draw(runs, deadline_s)


async def under_load(target: Target, rate: float, seconds: float, seed: int) -> list[Outcome]:
    """Open loop: everybody comes at their time, whatever becomes of the others."""
    outcomes: list[Outcome] = []
    idle: list[Connection] = []
    begin = time.perf_counter()

    async def come(number: int, at: float) -> None:
        connection = idle.pop() if idle else Connection(target.host, target.port)
        kind = LOST
        try:
            async with asyncio.timeout(GIVE_UP_S):
                status, body = await connection.ask(target.request(number))
            kind = kind_of(target, status, body)
        except (TimeoutError, Broken, OSError, ValueError):
            pass
        outcomes.append(Outcome(at, time.perf_counter() - begin - at, kind))
        idle.append(connection)

    tasks = []
    for number, at in enumerate(arrivals(rate, seconds, seed)):
        await asyncio.sleep(max(0.0, begin + at - time.perf_counter()))
        tasks.append(asyncio.create_task(come(number, at)))
    await asyncio.gather(*tasks)
    for connection in idle:
        await connection.close()
    return outcomes


def kind_of(target: Target, status: int, body: bytes) -> str:
    if target.fulfilled(status, body):
        return ACCEPTED
    if status == 201:
        return BY_RULES
    return REFUSED if status in (429, 503) else LOST


def p(share: float, outcomes: Iterable[Outcome], kind: str) -> float:
    """Milliseconds."""
    return 1000 * percentile([outcome.seconds for outcome in outcomes if outcome.kind == kind], share)


def recovery(outcomes: Sequence[Outcome], usual_ms: float) -> float:
    """When the last caller had come who was not served about as soon as usual, in seconds."""
    slow = [o.at for o in outcomes if o.kind != ACCEPTED or o.seconds * 1000 > 1.5 * usual_ms]
    return max(slow, default=0.0)


def mebibytes(tree: ProcessTree) -> float:
    return tree.memory().rss / 2**20


def draw(runs: dict[int, list[Outcome]], deadline_s: float) -> None:
    PICTURE.mkdir(parents=True, exist_ok=True)
    figure, panels = plt.subplots(1, len(runs), figsize=(4 * len(runs), 3.5), sharey=True)
    colours = {ACCEPTED: "tab:green", BY_RULES: "tab:orange", REFUSED: "tab:blue", LOST: "tab:red"}
    for panel, (multiple, outcomes) in zip(panels, runs.items(), strict=True):
        for kind, colour in colours.items():
            chosen = [outcome for outcome in outcomes if outcome.kind == kind]
            panel.scatter(
                [o.at for o in chosen], [o.seconds * 1000 for o in chosen], s=5, color=colour, label=kind
            )
        panel.axhline(deadline_s * 1000, color="black", linewidth=0.8, linestyle="--")
        panel.set(title=f"{multiple}× saturation", xlabel="s", yscale="log")
    panels[0].set_ylabel("ms until answered or refused")
    panels[-1].legend(loc="upper right", fontsize=8)
    figure.savefig(PICTURE / "overload.png", dpi=120, bbox_inches="tight")
    plt.close(figure)
