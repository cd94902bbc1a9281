"""The load generator, the probe and the arithmetic of the peer comparison, each against what it must say."""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.benchmarks import comparison
from tests.benchmarks.comparison import Comparison
from tests.benchmarks.comparison_report import ratio, table, write
from tests.benchmarks.connection import Broken, Connection, Request
from tests.benchmarks.contenders import Absent, Running
from tests.benchmarks.load import Target, arrivals, ask_once, closed_loop, open_loop, percentile
from tests.benchmarks.probe import strays, worth_another_run
from tests.benchmarks.process_tree import ProcessTree
from tests.benchmarks.texts import Texts

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def served(answer: bytes, delay: float = 0.0, at_once: int = 100, hang_up: bool = False) -> Iterator[Target]:
    """A server of this answer after this delay, so many requests at once; in a thread of its own."""
    loop = asyncio.new_event_loop()
    free = asyncio.Semaphore(at_once)
    ready: list[int] = []

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                async with free:
                    await asyncio.sleep(delay)
                writer.write(answer)
                if hang_up or b"close" in answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answered, "127.0.0.1", 0)
        ready.append(server.sockets[0].getsockname()[1])
        started.set()
        await stop.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    started, stop = threading.Event(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    started.wait(10)
    (port,) = ready
    request = Request.post(f"http://127.0.0.1:{port}/", b"{}", {})
    try:
        yield Target("127.0.0.1", port, lambda number: request, lambda status, body: body == b"ok")
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([7.0], 0.99) == 7
    assert percentile([1.0, math.inf], 0.99) == math.inf
    assert math.isnan(percentile([], 0.5))


def test_arrivals_are_poisson_and_the_same_for_everyone() -> None:
    times = arrivals(rate=50, seconds=200, seed=1)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    spread = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert mean == pytest.approx(1 / 50, rel=0.05)
    assert spread == pytest.approx(mean, rel=0.05)  # of an exponential, the two are equal
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < 200
    assert times == arrivals(50, 200, seed=1) != arrivals(50, 200, seed=2)


def test_strays_are_found_on_both_sides() -> None:
    probes = {"a": 1.0, "slow": 1.3, "b": 1.02, "c": 0.98, "fast": 0.7, "edge": 1.19}
    assert strays(probes) == ["slow", "fast"]
    assert strays({}) == []


def test_strays_run_again_unless_they_are_the_rule() -> None:
    assert worth_another_run({"a": 1.0, "b": 1.0, "slow": 1.3}) == ["slow"]
    assert worth_another_run({"a": 1.0, "b": 1.0, "slow": 1.3, "slower": 2.0, "fast": 0.5}) == []


def test_a_closed_loop_counts_what_arrives_in_its_time() -> None:
    with served(OK, delay=0.05) as target:
        figures = closed_loop(target, connections=4, seconds=1.0, ramp=0.2)
    assert 0 < figures.counted <= 80  # four callers, 20 answers a second each at most
    assert figures.counted < figures.asked, "the ramp's answers are none of it"
    assert figures.failed == 0
    assert figures.p50 >= 0.05


def test_an_open_loop_counts_the_wait_of_those_who_came_meanwhile() -> None:
    came = len(arrivals(30, 1.0, seed=3))
    with served(OK, delay=0.1, at_once=1) as target:  # ten a second
        figures = open_loop(target, rate=30, seconds=1.0, seed=3)
    assert figures.counted == figures.asked == came
    assert figures.p99 > came * 0.1 - 1.0, "the last came within the second, and all the others went before"
    assert figures.rate <= 10, "what arrived late is spread over the time it took"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nok",
        b"no HTTP\r\n\r\n",
    ],
)
def test_what_is_not_fulfilled_took_forever(answer: bytes) -> None:
    with served(answer) as target:
        assert not ask_once(target)
        figures = open_loop(target, rate=40, seconds=0.5, seed=1)
    assert figures.failed == figures.counted > 0
    assert figures.p50 == math.inf
    assert figures.rate == 0


def test_nobody_there_is_a_failure() -> None:
    with served(OK) as target:
        assert ask_once(target)
    assert not ask_once(target)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
    ],
)
def test_a_connection_reads_chunks_and_opens_anew(answer: bytes) -> None:
    with served(answer) as target:

        async def twice() -> list[tuple[int, bytes]]:
            connection = Connection(target.host, target.port)
            answers = [await connection.ask(target.request(number)) for number in range(2)]
            await connection.close()
            return answers

        assert asyncio.run(twice()) == [(200, b"ok")] * 2


def test_a_connection_that_the_server_closed_meanwhile_is_no_failure() -> None:
    with served(OK, hang_up=True) as target:

        async def later() -> tuple[int, bytes]:
            connection = Connection(target.host, target.port)
            await connection.ask(target.request(0))
            while not connection.hung_up:
                await asyncio.sleep(0.01)
            answer = await connection.ask(target.request(1))
            await connection.close()
            return answer

        assert asyncio.run(later()) == (200, b"ok")


def test_a_cut_answer_is_broken() -> None:
    with served(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nok") as target:

        async def once() -> None:
            await Connection(target.host, target.port).ask(target.request(0))

        with pytest.raises(Broken):
            asyncio.run(once())


def test_ratios_are_taken_round_by_round() -> None:
    over = ratio([20.0, 10.0, 30.0], [10.0, 5.0, 10.0])
    assert (over.median, over.least, over.most) == (2, 2, 3)
    assert math.isnan(ratio([1.0], [0.0]).median)


@dataclass
class Pretended:
    """A contender that is this process with a trivial server; `missing` is why it cannot be installed."""

    name: str
    delay: float = 0.0
    missing: str = ""
    starts: int = 0
    last_start: int = 100

    def prepare(self) -> None:
        if self.missing:
            raise Absent(self.missing)

    @contextmanager
    def running(self, texts: Texts, folder: Path) -> Iterator[Running]:
        self.starts += 1
        if self.starts > self.last_start:
            raise Absent("it starts no more")
        with served(OK, self.delay) as target:
            yield Running(target, ProcessTree(os.getpid()), 0.1)


def test_a_comparison_leaves_nobody_out_silently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WARM_UP_S", "RAMP_S"):
        monkeypatch.setattr(comparison, name, 0.1)
    contenders = [
        Pretended("mingbian", delay=0.05),
        Pretended("quicker", delay=0.02),
        Pretended("uninstallable", missing="no such release"),
        Pretended("dying", last_start=1),
    ]
    run = Comparison(contenders, Texts("nowhere", ("text",)), seconds=0.2, rounds=2)
    run.run()

    assert run.absent == {"uninstallable": "no such release", "dying": "it starts no more"}
    lines = table(run).splitlines()
    assert {line.split()[0] for line in lines[1:3]} == {"quicker", "mingbian"}
    assert lines[3:] == [f"{name} is absent: {reason}" for name, reason in run.absent.items()]
    assert all(len(run.of(name, rate)) == 2 for name in ("mingbian", "quicker") for rate in run.compared)

    write(run, run.of("quicker", None)[0].figures, "a machine", tmp_path)
    found = json.loads((tmp_path / "peers.json").read_text("utf-8"))
    assert found["absent"] == run.absent
    assert len(found["cells"]) == len(run.cells)
    assert (tmp_path / "peers.png").stat().st_size > 0
