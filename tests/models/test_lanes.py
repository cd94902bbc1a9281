"""Who is served first, what a deadline abandons, and that a lane comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from models import lanes
from models.lanes import DeadlineExceeded, Lanes, Priority, usable_cores


@pytest.fixture
def single() -> Iterator[Lanes]:
    opened = Lanes(1)
    yield opened
    opened.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as opened:
        yield opened


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def held(single: Lanes, pool: ThreadPoolExecutor) -> tuple[threading.Event, Future[bool]]:
    """The one lane is busy until the event is set."""
    gate, begun = threading.Event(), threading.Event()

    def work() -> bool:
        begun.set()
        return gate.wait(20)

    busy = pool.submit(single.run, work, None)
    assert begun.wait(20)
    return gate, busy


def test_callers_come_first_and_each_kind_in_order_of_arrival(
    single: Lanes, pool: ThreadPoolExecutor
) -> None:
    gate, busy = held(single, pool)
    served: list[str] = []
    jobs = []
    arrivals: list[tuple[str, Priority]] = [
        ("bulk 1", "bulk"),
        ("caller 1", "interactive"),
        ("bulk 2", "bulk"),
        ("caller 2", "interactive"),
    ]
    for place, (name, priority) in enumerate(arrivals, start=1):
        jobs.append(pool.submit(single.run, lambda name=name: served.append(name), None, priority))
        until(lambda place=place: single.waiting("bulk") + single.waiting("interactive") == place)
    assert single.oldest_s() > 0
    gate.set()
    for job in [busy, *jobs]:
        job.result(20)
    assert served == ["caller 1", "caller 2", "bulk 1", "bulk 2"]
    assert single.oldest_s() == 0


def test_as_many_work_at_a_time_as_there_are_lanes(pool: ThreadPoolExecutor) -> None:
    opened = Lanes(3)
    together = threading.Barrier(3)
    jobs = [pool.submit(opened.run, lambda: together.wait(20), None) for _ in range(3)]
    assert sorted(job.result(20) for job in jobs) == [0, 1, 2]
    opened.close()


def test_what_the_work_raises_is_raised_and_the_lane_goes_on(single: Lanes) -> None:
    with pytest.raises(ZeroDivisionError):
        single.run(lambda: 1 // 0, None)
    assert single.run(lambda: 7, 5) == 7


def test_a_lane_that_outlasts_its_deadline_is_stuck_until_it_returns(
    single: Lanes, pool: ThreadPoolExecutor
) -> None:
    gate = threading.Event()
    with pytest.raises(DeadlineExceeded):
        single.run(lambda: gate.wait(20), 0.02)
    assert single.stuck()
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        single.run(lambda: 1, 10)
    assert time.monotonic() - began < 5  # at once, not at its deadline
    gate.set()
    until(lambda: not single.stuck())
    assert single.run(lambda: 1, 10) == 1


def test_who_waits_too_long_is_never_begun(single: Lanes, pool: ThreadPoolExecutor) -> None:
    gate, busy = held(single, pool)
    ran = threading.Event()
    with pytest.raises(DeadlineExceeded):
        single.run(ran.set, 0.02)
    assert not single.stuck()
    assert single.waiting("interactive") == 0
    gate.set()
    assert busy.result(20)
    single.run(lambda: None, 20)
    assert not ran.is_set()


def test_lanes_that_close_leave_nobody_waiting(single: Lanes, pool: ThreadPoolExecutor) -> None:
    gate, busy = held(single, pool)
    waiting = [pool.submit(single.run, lambda: 3, None, priority) for priority in lanes.PRIORITIES]
    until(lambda: single.waiting("bulk") + single.waiting("interactive") == 2)
    single.close()
    late = [pool.submit(single.run, lambda: 4, None, priority) for priority in lanes.PRIORITIES]
    assert [job.result(20) for job in late] == [4, 4]
    gate.set()
    assert busy.result(20)
    assert [job.result(20) for job in waiting] == [3, 3]


def test_abandoned_work_counts_as_long_as_it_was_waited_for(single: Lanes) -> None:
    gate = threading.Event()
    with pytest.raises(DeadlineExceeded):
        single.run(lambda: gate.wait(20), 0.02)
    time.sleep(0.5)
    gate.set()
    until(lambda: not single.stuck())
    assert 0 < single.mean_s < 0.02 * 0.3  # its share of the mean is a twentieth of 0.02 s, not of 0.5 s


def test_bulk_work_has_its_deadline_from_its_start(single: Lanes, pool: ThreadPoolExecutor) -> None:
    gate, busy = held(single, pool)
    bulk = pool.submit(single.run, lambda: 3, 0.2, "bulk")
    time.sleep(0.4)
    assert not bulk.done()
    gate.set()
    assert busy.result(20)
    assert bulk.result(20) == 3


def test_bulk_work_gives_up_when_every_lane_is_stuck(
    single: Lanes, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "_LOOK_EVERY_S", 0.01)
    gate, begun = threading.Event(), threading.Event()

    def hangs() -> None:
        begun.set()
        gate.wait(20)

    hanging = pool.submit(single.run, hangs, 0.3)
    assert begun.wait(20)
    bulk = pool.submit(single.run, lambda: 3, 5, "bulk")
    assert isinstance(hanging.exception(20), DeadlineExceeded)
    assert isinstance(bulk.exception(20), DeadlineExceeded)
    gate.set()


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 4), ("200000 100000", 2), ("50000 100000", 1), ("900000 100000", 4), ("?", 4)],
)
def test_a_container_s_quota_bounds_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    (tmp_path / "cpu.max").write_text(quota, "ascii")
    monkeypatch.setattr(lanes, "_CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert usable_cores() == cores
