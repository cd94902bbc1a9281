"""Half an hour at seven tenths of saturation: whether memory and p99 stay where they were.

Figures are printed and drawn to var/benchmarks/soak.png. MINGBIAN_SOAK_MINUTES (30 if not) says how long.
"""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib.pyplot as plt

from data.settings import ROOT, Settings
from data.taxonomy import Taxonomy
from tests.benchmarks.contenders import Mingbian
from tests.benchmarks.load import closed_loop, open_loop
from tests.benchmarks.texts import read_texts

MINUTES = float(os.environ.get("MINGBIAN_SOAK_MINUTES", "30"))
LOAD = 0.7
STEPS = 30
PICTURE = ROOT / "var" / "benchmarks"


def test_soak(tmp_path: Path, taxonomy: Taxonomy) -> None:
    texts = read_texts(Settings().external, taxonomy)
    seconds = 60 * MINUTES / STEPS
    rows = []
    with Mingbian(deadline_ms=Settings().deadline_ms).running(texts, tmp_path) as running:
        saturation = closed_loop(running.target, 4, 20, 3).rate
        rate = LOAD * saturation
        print(f"\n{texts}\nsaturation {saturation:.1f}/s, load {rate:.1f}/s for {MINUTES:.0f} minutes")
        print("minute  answered/s  p50 ms  p99 ms  failed  RSS MiB")
        for step in range(STEPS):
            figures = open_loop(running.target, rate, seconds, step)
            memory = running.tree.memory().rss / 2**20
            rows.append(((step + 1) * seconds / 60, figures.p99 * 1000, memory))
            print(
                f"{rows[-1][0]:6.1f}  {figures.rate:10.1f}  {figures.p50 * 1000:6.0f}"
                f"  {figures.p99 * 1000:6.0f}  {figures.failed:6}  {memory:7.0f}",
                flush=True,
            )
    PICTURE.mkdir(parents=True, exist_ok=True)
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(7, 5), sharex=True)
    minutes = [row[0] for row in rows]
    upper.plot(minutes, [row[1] for row in rows], marker=".")
    upper.set(ylabel="p99, ms", ylim=(0, None))
    lower.plot(minutes, [row[2] for row in rows], marker=".")
    lower.set(ylabel="RSS, MiB", xlabel="minutes", ylim=(0, None))
    figure.savefig(PICTURE / "soak.png", dpi=120, bbox_inches="tight")
    plt.close(figure)
