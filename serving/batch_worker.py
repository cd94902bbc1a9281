"""Decides the lines of batches in the background, whenever callers leave room; `serving/app.py` runs one."""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from data.errors import MingbianError
from data.records import Caller
from data.store import batch_queue
from data.store.batch_keys import BatchKey
from data.store.batch_queue import Claim, Settled, WaitingLine
from serving import errors
from serving.desk import Desk
from serving.intake import work_order
from serving.keeping import Arrival
from serving.messages import NewOrder
from serving.once import Answer, attempt, by_natural_key

_CHUNK: Final = 16  # so many orders share a transaction, for which every other writer waits
_LEASE: Final = timedelta(seconds=30)
_RENEW_S: Final = 10.0
_PUT_BACK: Final = timedelta(seconds=1)
_IDLE_S: Final = 1.0
_RETRY_S: Final = 3.0
_STOP_S: Final = 15.0

_log = logging.getLogger("mingbian.batches")


@dataclass(frozen=True, slots=True)
class _Triaged:
    """A line, and the decided order that it is, or why it is none."""

    line: int
    outcome: Arrival | Exception


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Lines taken together, on their way through the lanes."""

    claim: Claim
    under_way: Sequence[Future[_Triaged | None]]


class BatchWorker:
    """One thread that takes lines and keeps what was decided, and some that triage.

    Lines are taken on a lease, renewed while they are worked on: several processes share a database's
    lines, and those of one that died are free again when its lease runs out.
    """

    def __init__(self, desk: Callable[[], Desk], chunk: int = _CHUNK) -> None:
        """`desk` is the one in use now: another model brings its own."""
        self._desk = desk
        self._chunk = chunk
        self._holder = secrets.token_hex(16)
        self._unsettled = 0  # chunks taken and neither kept nor given back
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the work that was started; lines that are not decided yet are given back."""
        assert self._thread is not None  # noqa: S101
        self._stopping.set()
        self.wake()
        self._thread.join(_STOP_S)
        if self._thread.is_alive():
            _log.error("the batch worker did not end in time; its lines are free when its lease runs out")

    def wake(self) -> None:
        """Lines have come."""
        self._woken.set()

    def work_off(self) -> None:
        """Decides lines until none is free.

        Raises:
            Unavailable: the database cannot be reached, or a batch's key not be opened.
        """
        if not self._any_free():
            return
        # One more than there are lanes: a text is prepared while others are in them.
        with ThreadPoolExecutor(self._desk().triage.lanes.count + 1, "batch") as pool:
            try:
                current = self._take(pool)
                while current is not None and not self._stopping.is_set():
                    following = self._take(pool)  # so that no lane is idle while these are kept
                    self._finish(current)
                    current = following
            finally:
                pool.shutdown(cancel_futures=True)
                self._give_back()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.wait(self._turn())
            self._woken.clear()

    def _turn(self) -> float:
        """Works, and says for how many seconds to rest."""
        try:
            self.work_off()
        except MingbianError as error:
            _log.warning("batches have to wait", extra={"code": error.code})
            return _RETRY_S
        except Exception as error:  # noqa: BLE001 - whatever it is, the next try may go well
            errors.record(error)
            return _RETRY_S
        return _IDLE_S

    def _any_free(self) -> bool:
        desk = self._desk()
        with desk.database.reading() as conn:
            return batch_queue.any_free(conn, desk.now())

    def _take(self, pool: Executor) -> _Chunk | None:
        if not self._any_free():  # asked as a reader: writers are not kept waiting for a no
            return None
        desk = self._desk()
        with desk.database.transaction() as conn:
            now = desk.now()
            claim = batch_queue.claim(conn, self._holder, now, now + _LEASE, self._chunk)
        if claim is None:
            return None
        self._unsettled += 1
        secret = BatchKey.unwrap(desk.keyring.vault, claim.batch_id, claim.wrapped)
        return _Chunk(claim, [pool.submit(self._triage, claim, secret, line) for line in claim.lines])

    def _triage(self, claim: Claim, secret: BatchKey, waiting: WaitingLine) -> _Triaged | None:
        """Nothing once the worker is to stop."""
        if self._stopping.is_set():
            return None
        try:
            message = NewOrder.model_validate_json(secret.unseal(waiting.line, waiting.sealed))
            desk = self._desk()
            decision = desk.triage.decide(message.title, message.content, desk.now(), "bulk")
            made = attempt(claim.caller_id, None, "POST /v1/orders", message)
            natural = by_natural_key(made, message.source, message.number, message.revision)
            caller = Caller(claim.caller_id, name="", role="intake")  # of which keeping needs the id alone
            arrival = Arrival(caller, work_order(message, waiting.received_at), decision, made, natural)
        except MingbianError as error:
            return _Triaged(waiting.line, error)
        except Exception as error:  # noqa: BLE001 - it becomes the line's problem
            errors.record(error, batch=claim.batch_id)
            return _Triaged(waiting.line, error)
        return _Triaged(waiting.line, arrival)

    def _finish(self, chunk: _Chunk) -> None:
        while wait(chunk.under_way, _RENEW_S).not_done:
            self._renew()
        triaged = [done for future in chunk.under_way if (done := future.result()) is not None]
        if self._stopping.is_set():
            return
        self._keep(chunk.claim.batch_id, triaged)
        self._unsettled -= 1

    def _keep(self, batch_id: str, triaged: Sequence[_Triaged]) -> None:
        try:
            self._keep_together(batch_id, triaged)
        except MingbianError:
            raise
        except Exception as error:  # noqa: BLE001 - a defect that one line meets must not hold up the rest
            if len(triaged) > 1:
                for one in triaged:
                    self._keep(batch_id, [one])
                return
            errors.record(error, batch=batch_id)
            self._keep_together(batch_id, [replace(triaged[0], outcome=error)])

    def _keep_together(self, batch_id: str, triaged: Sequence[_Triaged]) -> None:
        """Orders, decisions, leaves, reviews and what became of the lines live or fail together."""
        desk, began = self._desk(), time.perf_counter()
        with desk.database.transaction() as conn:
            lines = [one.line for one in triaged]
            turn = batch_queue.in_turn(conn, self._holder, batch_id, lines, desk.now() + _PUT_BACK)
            mine = [one for one in triaged if one.line in turn]
            arrivals = [one.outcome for one in mine if isinstance(one.outcome, Arrival)]
            kept = iter(desk.keeper.keep_all(conn, arrivals))
            done = [(one, next(kept) if isinstance(one.outcome, Arrival) else one.outcome) for one in mine]
            if done:
                settled = [_settled(one.line, outcome) for one, outcome in done]
                batch_queue.settle(conn, batch_id, settled, desk.now())
        if not done:
            return
        desk.metrics.committed(len(arrivals), time.perf_counter() - began)
        for one, outcome in done:
            failed = isinstance(outcome, Exception)
            desk.metrics.batch_lines("refused" if failed else "decided", 1)
            if isinstance(one.outcome, Arrival) and isinstance(outcome, Answer) and not outcome.replayed:
                desk.metrics.decided(one.outcome.decision, None)

    def _renew(self) -> None:
        desk = self._desk()
        with desk.database.transaction() as conn:
            batch_queue.renew(conn, self._holder, desk.now() + _LEASE)

    def _give_back(self) -> None:
        if not self._unsettled:
            return
        self._unsettled = 0
        try:
            with self._desk().database.transaction() as conn:
                batch_queue.release(conn, self._holder)
        except MingbianError as error:
            _log.warning("lines are free when their lease runs out", extra={"code": error.code})


def _settled(line: int, outcome: Answer | Exception) -> Settled:
    if isinstance(outcome, Exception):
        return Settled(line, problem=errors.details_of(outcome).model_dump_json(exclude_none=True))
    return Settled(line, decision_id=json.loads(outcome.body)["decision_id"])
