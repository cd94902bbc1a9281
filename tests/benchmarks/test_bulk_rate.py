"""What bulk re-scoring keeps of the bare runtime's rate, on Ray too, and what 100 million orders would take.

Figures are printed, not judged. `MINGBIAN_BENCH_TEXTS` (2,000 if not set) is how many texts a round has; real
messages are read where `MINGBIAN_EXTERNAL` has them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import pytest

from data.masking import read_text
from data.settings import Settings
from data.taxonomy import Taxonomy
from models.lanes import usable_cores
from serving.bulk import Here, Job, run
from serving.record_files import Columns, records
from serving.rescoring import rescored
from serving.result_journal import Journal
from tests.benchmarks.texts import read_texts

TEXTS = int(os.environ.get("MINGBIAN_BENCH_TEXTS", "2000"))
ROUNDS = 3
WARM_UP = 0.25  # of a run on Ray: by then every worker has its model
PAUSE_S = 0.1  # between the arrivals of two blocks
HANDED = 20_000  # rows read and written without a model
ORDERS = 100_000_000
CLUSTERS = ((1, 64), (10, 64), (50, 64))  # machines, cores of each


@pytest.fixture
def job(tmp_path: Path, shipped: Path, taxonomy: Taxonomy) -> Job:
    settings = Settings()
    texts = read_texts(settings.external, taxonomy)
    print(f"\n{TEXTS} a round, of {texts}; {usable_cores()} cores")
    source = tmp_path / "in.jsonl"
    with source.open("w", encoding="utf-8") as lines:
        for number in range(TEXTS):
            lines.write(json.dumps({"id": number, "content": texts[number]}, ensure_ascii=False) + "\n")
    return Job(source, tmp_path / "out.jsonl", Columns(), shipped, settings.text_limit, False, None)


def test_how_much_of_the_runtime_s_rate_is_kept(job: Job) -> None:
    triage = job.open_triage(job.bundle)
    classifier = triage._classifier
    assert classifier is not None
    readings = [read_text("", row.content).reading for row in records(job.source, job.columns)]

    def raw() -> None:
        with ThreadPoolExecutor(triage.lanes.count) as lanes:
            assert len(list(lanes.map(lambda reading: classifier.classify([reading]), readings))) == TEXTS

    def bulk() -> None:
        assert run(job, Here(triage)).rows == TEXTS
        job.target.unlink()

    taken: dict[str, list[float]] = {"raw": [], "bulk": []}
    parts: dict[str, Callable[[], None]] = {"raw": raw, "bulk": bulk}
    for part in parts.values():
        part()  # tables and pages that the first of them would pay for
    for _ in range(ROUNDS):  # interleaved, so that a slow moment of the machine falls on both
        for name, part in parts.items():
            began = time.perf_counter()
            part()
            taken[name].append(time.perf_counter() - began)
    triage.close()
    for name, seconds in taken.items():
        print(f"{name:<5} {TEXTS / median(seconds):7.1f} texts/s  {[round(TEXTS / s, 1) for s in seconds]}")
    shares = [raw_s / bulk_s for raw_s, bulk_s in zip(taken["raw"], taken["bulk"], strict=True)]
    print(
        f"bulk / raw, median of {ROUNDS} rounds: {median(shares):.1%}  {[f'{share:.1%}' for share in shares]}"
    )


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra `bulk`")
@pytest.mark.filterwarnings("default")
def test_workers_of_ray_and_what_100_million_orders_would_take(job: Job) -> None:
    rates = {workers: _rate_on_ray(job, workers) for workers in (1, 2)}
    reading, writing = _reading_rate(job), _writing_rate(job)
    bound = min(reading, writing)
    cores = max(rates)
    each = rates[cores] / cores
    print(
        f"measured here: one worker of one core {rates[1]:.1f} texts/s, two {rates[2]:.1f}, "
        f"{rates[2] / rates[1]:.2f} times as many, once their models are loaded; one process reads "
        f"{reading:,.0f} rows/s and writes {writing:,.0f}, enough for {bound / each:,.0f} such cores"
    )
    print(f"extrapolated to {ORDERS:,} orders like these, by {each:.1f} texts/s for every core:")
    for machines, of_each in CLUSTERS:
        rate = min(machines * of_each * each, bound)
        limit = "" if rate < bound else ", bound by the one reader and the one writer"
        print(f"  {machines:>3} machines of {of_each} cores: {ORDERS / rate / 3600:7.1f} h{limit}")
    print("not measured: more than one machine, other processors, and the network between them")


def _rate_on_ray(job: Job, workers: int) -> float:
    """Texts a second between the warm-up and the end; each worker has one core."""
    from serving.ray_bulk import Workers

    scorer = Workers(job, "local", workers, lanes=1)
    began = time.perf_counter()
    arrived = [time.perf_counter() for _ in scorer.results(job, 0)]
    scorer.close()
    assert len(arrived) == TEXTS
    # Results come a block at a time: the clock runs from one block's arrival to that of the last.
    blocks = (n for n in range(int(TEXTS * WARM_UP), TEXTS) if arrived[n] - arrived[n - 1] > PAUSE_S)
    first = next(blocks, None)
    assert first is not None, "too few texts to tell a rate; set MINGBIAN_BENCH_TEXTS"
    print(f"{workers} of Ray: the first result after {arrived[0] - began:.1f} s")
    return (TEXTS - first) / (arrived[-1] - arrived[first - 1])


def _reading_rate(job: Job) -> float:
    """Rows a second that one process reads, when nobody waits for them."""
    began = time.perf_counter()
    done = 0
    while done < HANDED:
        done += sum(1 for _ in records(job.source, job.columns))
    return done / (time.perf_counter() - began)


def _writing_rate(job: Job) -> float:
    """Results a second that one process takes from its workers and writes, when none is waited for."""
    triage = job.open_triage(job.bundle)
    line = json.dumps(rescored(next(records(job.source, job.columns)), triage, job.text_limit))
    triage.close()
    began = time.perf_counter()
    with Journal(job.target, {}) as journal:
        for _ in range(HANDED):
            journal.append(json.loads(line))
    return HANDED / (time.perf_counter() - began)
