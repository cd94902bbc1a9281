"""Mingbian beside other ways to serve a classifier, on the same two cores; figures are printed, not judged.

`MINGBIAN_BENCH_SECONDS` is the length of one cell, `MINGBIAN_BENCH_ROUNDS` how many rounds there are, and
`MINGBIAN_BENCH_PEERS=pipeline,mosec` names the peers that are asked. A whole run takes about half an hour,
the first one longer by what installing the peers below `var/peers` takes.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

import pytest

from data.settings import ROOT, Settings
from data.taxonomy import Taxonomy
from tests.benchmarks.comparison import CONNECTIONS, Comparison
from tests.benchmarks.comparison_report import OURS, table, write
from tests.benchmarks.contenders import PEERS_COMPARED, Mingbian
from tests.benchmarks.echo import ceiling
from tests.benchmarks.texts import read_texts

SECONDS = float(os.environ.get("MINGBIAN_BENCH_SECONDS", "10"))
ROUNDS = int(os.environ.get("MINGBIAN_BENCH_ROUNDS", "3"))
NAMED = tuple(filter(None, os.environ.get("MINGBIAN_BENCH_PEERS", "").split(",")))


@pytest.fixture
def two_cores() -> Iterator[str]:
    """Generator and contenders share two cores, however many there are; what the machine is."""
    if not hasattr(os, "sched_setaffinity"):
        yield f"{platform.platform()}, all {os.cpu_count()} cores: none can be set apart here"
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:2])
    yield f"{platform.platform()}, {min(2, len(allowed))} of {os.cpu_count()} cores"
    os.sched_setaffinity(0, allowed)


@pytest.mark.timeout(0)
def test_peers(two_cores: str, taxonomy: Taxonomy) -> None:
    peers = [peer for peer in PEERS_COMPARED if not NAMED or peer.name in NAMED or peer.folder in NAMED]
    texts = read_texts(Settings().external, taxonomy)
    comparison = Comparison([Mingbian(), *peers], texts, SECONDS, ROUNDS)
    print(f"\n{two_cores}\n{texts}")
    generator = ceiling(texts[0], CONNECTIONS, min(SECONDS, 5))
    print(f"the load generator alone: {generator.rate:.0f} requests/s against an echo server")
    comparison.run()
    assert OURS not in comparison.absent, comparison.absent[OURS]
    print(f"\nmedians of {ROUNDS} rounds of {SECONDS:g} s, {CONNECTIONS} connections")
    print(table(comparison))
    busiest = max(seen.figures.busy for seen in comparison.cells.values())
    print(f"the generator took {busiest:.0%} of a core at most")
    print(f"{len(comparison.rerun)} cells run again, {len(comparison.strays())} still off the machine's pace")
    write(comparison, generator, two_cores, ROOT / "var" / "benchmarks")
