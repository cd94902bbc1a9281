"""What a server and everything it started takes, and how it is ended; the contenders use it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import psutil

_STOP_S = 15.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a process tree: `rss` counts a page once for each process, `pss` once in all."""

    rss: int
    pss: int


class ProcessTree:
    """The process of this number with its descendants, as they are at each call."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def processes(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]

    def memory(self) -> Memory:
        rss = pss = 0
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                info = process.memory_full_info()
                rss, pss = rss + info.rss, pss + info.pss
        return Memory(rss, pss)

    def cpu_seconds(self) -> float:
        """Of processes that live; what has ended took its seconds with it."""
        total = 0.0
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                spent = process.cpu_times()
                total += spent.user + spent.system
        return total

    def stop(self) -> None:
        """The root as an operator would; whoever is left after a while, killed."""
        try:
            processes = self.processes()
            self._root.terminate()
        except psutil.NoSuchProcess:
            return
        _, left = psutil.wait_procs(processes, _STOP_S)
        for process in left:
            process.kill()
        psutil.wait_procs(left, _STOP_S)
