"""Inference streams, one for each core: work as it arrives, callers before bulk; triage runs on them."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeVar, cast, get_args

Priority = Literal["interactive", "bulk"]
PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)

Result = TypeVar("Result")

_CPU_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
_LOOK_EVERY_S: Final = 1.0
_RECENT: Final = 0.05  # weight of the latest in the mean


class DeadlineExceeded(Exception):
    """The work was not done in time and has been abandoned."""


class Job(Generic[Result]):
    """One piece of work on its way through the lanes."""

    def __init__(self, work: Callable[[], Result], priority: Priority) -> None:
        self.work = work
        self.priority: Priority = priority
        self.since = time.monotonic()
        self.began = threading.Event()
        self.ended = threading.Event()
        self.given_up_at: float | None = None
        self.outcome: Result | Exception | None = None


class Lanes:
    """Threads that each do one piece of work at a time.

    First come, first served: shortest first would starve the long letters. Bulk work is taken up only
    while nobody waits. Work that outlasts its deadline is abandoned, but a runtime cannot be interrupted,
    so its lane stays stuck until it returns.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._changed = threading.Condition()
        self._waiting: dict[Priority, deque[Job[Any]]] = {name: deque() for name in PRIORITIES}
        self._stuck = 0
        self._closed = False
        self.mean_s = 0.0  # what one piece of work takes, by recent ones
        for number in range(count):
            # Daemons: a lane that hangs for ever must not keep the process from ending.
            threading.Thread(target=self._serve, name=f"lane-{number}", daemon=True).start()

    def stuck(self) -> bool:
        """Every lane is held by abandoned work."""
        return self._stuck >= self.count

    def waiting(self, priority: Priority) -> int:
        return len(self._waiting[priority])

    def oldest_s(self) -> float:
        """How long the first in line has waited; 0 when nobody waits."""
        with self._changed:
            first = [line[0].since for line in self._waiting.values() if line]
        return time.monotonic() - min(first) if first else 0.0

    def run(
        self, work: Callable[[], Result], deadline_s: float | None, priority: Priority = "interactive"
    ) -> Result:
        """The result of the work, or what it raised.

        A caller's deadline counts from now; bulk work, which waits for a quiet moment, has it from its start.

        Raises:
            DeadlineExceeded: it took longer, or every lane is stuck.
        """
        job = Job(work, priority)
        with self._changed:
            if self.stuck():
                raise DeadlineExceeded
            late = self._closed
            if not late:
                self._waiting[priority].append(job)
                self._changed.notify()
        if late:  # nobody would ever take it up
            return work()
        if priority == "bulk":
            while not job.began.wait(_LOOK_EVERY_S):
                if self.stuck():
                    self._abandon(job)
                    raise DeadlineExceeded
        if not job.ended.wait(deadline_s):
            self._abandon(job)
            raise DeadlineExceeded
        if isinstance(job.outcome, Exception):
            raise job.outcome
        return cast(Result, job.outcome)

    def close(self) -> None:
        """Ends the lanes when nothing waits any more; whoever comes later does its work itself."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _abandon(self, job: Job[Any]) -> None:
        with self._changed:
            if job.ended.is_set():
                return
            job.given_up_at = time.monotonic()
            if job.began.is_set():
                self._stuck += 1
            else:
                self._waiting[job.priority].remove(job)

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            began = time.monotonic()
            try:
                job.outcome = job.work()
            except Exception as error:  # noqa: BLE001 - it is raised where the work came from
                job.outcome = error
            with self._changed:
                job.ended.set()
                took_s = (job.given_up_at or time.monotonic()) - began
                self.mean_s += _RECENT * (took_s - self.mean_s)
                if job.given_up_at is not None:
                    self._stuck -= 1

    def _next(self) -> Job[Any] | None:
        with self._changed:
            while True:
                for priority in PRIORITIES:
                    if self._waiting[priority]:
                        job = self._waiting[priority].popleft()
                        job.began.set()
                        return job
                if self._closed:
                    return None
                self._changed.wait()


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and its container's quota (cgroup v2) if any."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CPU_QUOTA.read_text("ascii").split()
        return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores
