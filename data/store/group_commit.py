"""Lets concurrent writers share a transaction, since each commit costs a disk flush; the intake uses it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from sqlalchemy import Connection

from data.errors import MingbianError
from data.store.database import Database

Item = TypeVar("Item")
Result = TypeVar("Result")
Observe = Callable[[int, float], None]

# A commit takes as long as what two or three orders add to one. While others are about to come, the leader
# waits for as many as make it cheap, and not so long that a caller would notice.
_ENOUGH: Final = 4
_LINGER_S: Final = 0.02


class _Slot(Generic[Item, Result]):
    """One caller's item on its way: `turn` wakes the caller, to lead the next group or to go home."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.turn = threading.Event()
        self.outcome: Result | Exception | None = None


class GroupCommit(Generic[Item, Result]):
    """Group commit without a thread of its own: who comes while a group commits waits and is in the next one.

    Whoever finds nobody at work leads at once, so a lone writer waits for nothing. The leader writes
    for everybody who waits, and hands the lead to the first who came meanwhile. While there is a crowd it
    waits a moment first.
    """

    def __init__(
        self,
        database: Database,
        write: Callable[[Connection, Sequence[Item]], Sequence[Result | MingbianError]],
        observe: Observe | None = None,
        most: int = 128,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        """`write` gives each item its result or its error, in order; an error of one must leave the others'
        work valid. `observe` is told each group's size and seconds. At most `most` items share a commit.
        `crowded` says whether more items are about to come than a leader should commit one by one."""
        self._database = database
        self._write = write
        self._observe = observe
        self._most = most
        self._crowded = crowded
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)
        self._waiting: list[_Slot[Item, Result]] = []
        self._led = False

    def keep(self, item: Item) -> Result:
        """The item's result, once it is committed.

        Raises:
            MingbianError: the item's own, or Unavailable: the database did not take the group.
        """
        slot: _Slot[Item, Result] = _Slot(item)
        with self._lock:
            self._waiting.append(slot)
            leads = not self._led
            self._led = True
            self._came.notify()
        if not leads:
            slot.turn.wait()
        if slot.outcome is None:
            self._lead()
        if isinstance(slot.outcome, Exception):
            raise slot.outcome
        assert slot.outcome is not None  # noqa: S101 - whoever leads is in its own group
        return slot.outcome

    def _lead(self) -> None:
        with self._lock:
            self._linger()
            group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        try:
            self._commit(group)
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                self._led = following is not None
            for slot in group:
                slot.turn.set()
            if following is not None:
                following.turn.set()

    def _linger(self) -> None:
        """Until enough wait, the crowd is gone, or it takes too long."""
        until = time.monotonic() + _LINGER_S
        while len(self._waiting) < _ENOUGH and self._crowded():
            if not self._came.wait(until - time.monotonic()):
                return

    def _commit(self, group: Sequence[_Slot[Item, Result]]) -> None:
        began = time.perf_counter()
        try:
            with self._database.transaction() as conn:
                results = self._write(conn, [slot.item for slot in group])
        except MingbianError as error:
            results = [error] * len(group)
        except Exception as error:  # noqa: BLE001 - it is raised where its item came from
            # A defect that one item meets must not cost the others their answer: each is tried alone.
            if len(group) > 1:
                for slot in group:
                    self._commit([slot])
                return
            group[0].outcome = error
            return
        for slot, result in zip(group, results, strict=True):
            slot.outcome = result
        if self._observe is not None:
            self._observe(len(group), time.perf_counter() - began)
