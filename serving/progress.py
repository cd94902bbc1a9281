"""Shows on standard error how far a bulk run is: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm

Advance = Callable[[], object]

_EVERY_S: Final = 5.0


@contextmanager
def progress(total: int, done: int) -> Iterator[Advance]:
    """What to call after each row; `done` of the `total` were there before."""
    bar = _bar(total, done) if sys.stderr.isatty() else None
    if bar is None:
        yield Lines(total, done).advance
        return
    with bar:
        yield bar.update


class Lines:
    """For a log file, and where tqdm is not installed."""

    def __init__(self, total: int, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._before = self._done = done
        self._clock = clock
        self._began = self._told = clock()

    def advance(self) -> None:
        self._done += 1
        now = self._clock()
        if now - self._told < _EVERY_S:
            return
        self._told = now
        rate = (self._done - self._before) / (now - self._began)
        left = (self._total - self._done) / rate
        print(
            f"已完成 {self._done}/{self._total} 件，每秒 {rate:.1f} 件，约剩 {as_time(left)}",
            file=sys.stderr,
            flush=True,
        )


def _bar(total: int, done: int) -> tqdm[NoReturn] | None:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, initial=done, unit="件", dynamic_ncols=True)


def as_time(seconds: float) -> str:
    """Hours, minutes and seconds in Chinese."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    shown = f"{hours} 小时 " if hours else ""
    shown += f"{minutes} 分 " if hours or minutes else ""
    return f"{shown}{rest} 秒"
