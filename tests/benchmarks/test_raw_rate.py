"""What the bare runtime could do with the same texts, and how much of it is left of the whole service.

Raw is the graph alone on texts that are tokenised already, as many at a time as there are cores. The service
is asked by eight callers who wait, and who share its cores. Figures are printed, not judged;
MINGBIAN_BENCH_SECONDS (10 if not) is the length of one cell.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from statistics import median

from data.masking import read_text
from data.settings import Settings
from data.taxonomy import Taxonomy
from models.bundle import read_bundle
from models.encoder_classifier import EncoderClassifier
from models.graph_runtime import GraphRuntime
from models.lanes import usable_cores
from models.table_tokenizer import Encoded
from tests.benchmarks.contenders import Mingbian
from tests.benchmarks.load import closed_loop
from tests.benchmarks.texts import read_texts

SECONDS = float(os.environ.get("MINGBIAN_BENCH_SECONDS", "10"))
ROUNDS = 3
CALLERS = 8
LENGTHS = (64, 128, 256)  # tokens


def test_how_much_of_the_runtime_s_rate_is_left(tmp_path: Path, shipped: Path, taxonomy: Taxonomy) -> None:
    texts = read_texts(Settings().external, taxonomy)
    classifier = EncoderClassifier(read_bundle(shipped, taxonomy))
    readings = [read_text("", text).reading for text in texts.texts]
    encoded = [classifier._tokenizer.encode(reading.title, reading.content) for reading in readings]
    cores = usable_cores()
    rates: dict[str, list[float]] = {"raw, one core": [], "raw, all cores": [], "service": []}
    for turn in range(ROUNDS):  # interleaved, so that a slow moment of the machine falls on all
        rates["raw, one core"].append(_raw_rate(classifier.runtime, encoded, 1))
        rates["raw, all cores"].append(_raw_rate(classifier.runtime, encoded, cores))
        folder = tmp_path / str(turn)
        folder.mkdir()
        with Mingbian().running(texts, folder) as running:
            rates["service"].append(closed_loop(running.target, CALLERS, SECONDS, 3).rate)
    print(f"\n{texts}, {cores} cores, {classifier.runtime.name}")
    for name, measured in rates.items():
        print(f"{name:<14} {median(measured):6.1f}/s  {[round(rate, 1) for rate in measured]}")
    one, many, served = (median(measured) for measured in rates.values())
    print(f"{cores} cores / one: {many / one:.2f}; service / raw: {served / many:.0%}")


def test_what_longer_texts_take(shipped: Path, taxonomy: Taxonomy) -> None:
    runtime = EncoderClassifier(read_bundle(shipped, taxonomy)).runtime
    seconds: dict[int, list[float]] = {length: [] for length in LENGTHS}
    for _ in range(30):
        for length in LENGTHS:
            ids = [1 + place for place in range(length)]
            began = time.perf_counter()
            runtime.scores(ids, [0] * length)
            seconds[length].append(time.perf_counter() - began)
    print()
    for length, taken in seconds.items():
        print(f"{length} tokens: {median(taken) * 1000:.1f} ms on one core")
    print(f"256 / 128 tokens: {median(seconds[256]) / median(seconds[128]):.2f}")


def _raw_rate(runtime: GraphRuntime, encoded: Sequence[Encoded], threads: int) -> float:
    """Texts a second."""
    end = time.perf_counter() + SECONDS
    numbers = count()  # of CPython, whose next one is taken in one step

    def work() -> None:
        while time.perf_counter() < end:
            text = encoded[next(numbers) % len(encoded)]
            runtime.scores(text.ids, text.segments)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return next(numbers) / (time.perf_counter() - began)
