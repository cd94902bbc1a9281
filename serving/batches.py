"""Takes in an upload of many orders, line by line, and gives their results back; the batch routes call it."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.types import Receive

from data.errors import BadInput, Conflict, Unavailable
from data.records import Caller
from data.store import batches
from data.store.batch_keys import BatchKey
from data.store.batches import Batch, DecidedLine, NewLine, RefusedLine
from data.store.identifiers import new_id
from data.taxonomy import Taxonomy
from serving.batch_lines import read
from serving.batch_messages import BatchDecision, BatchRefusal
from serving.desk import Desk
from serving.errors import ProblemDetails
from serving.ndjson import RawLine, line_groups
from serving.statement import decision_message

MAX_LINES: Final = 1_000_000

_PAGE: Final = 200
_RETRY_AFTER_S: Final = 5


def may_take_batches(desk: Desk) -> bool:
    """Whether callers wait so little that an upload does not come at their expense."""
    lanes = desk.triage.lanes
    return lanes.waiting("interactive") <= 2 * lanes.count


async def take_in(
    desk: Desk, caller: Caller, key: str, from_line: int, receive: Receive, arrived: Callable[[], None]
) -> tuple[Batch, bool]:
    """Keep a body's lines as they come; the batch, and whether it had been complete before.

    Args:
        key: names the batch among the caller's.
        from_line: which line, from 1, the body begins with.
        arrived: told after each commit that there is work.

    Raises:
        ClientGone: the connection broke; whole lines are kept.
        BadInput: `batch_line_differs`, `batch_shorter`, `batch_empty`, `batch_too_long`, `upload_stalled`.
        Conflict: `batch_gap`, `batch_complete`, `batch_closed`; `batch_in_progress` or
            `idempotency_in_progress`: another request uploads it now.
        Unavailable: `overloaded`, or the database cannot be reached; lines committed before are kept.
    """
    if not may_take_batches(desk):
        desk.metrics.refused("overload")
        raise Unavailable("overloaded", "当前请求过多，请稍后再上传批次", _RETRY_AFTER_S)
    with desk.underway.claim(caller.id, f"b:{key}"):
        upload = await run_in_threadpool(Upload, desk, caller, key, from_line)
        async with aclosing(line_groups(receive, desk.settings.body_limit)) as groups:
            async for group in groups:
                await run_in_threadpool(upload.take, group)
                arrived()
        return await run_in_threadpool(upload.finish)


class Upload:
    """One request's way through the lines of a batch: those that came before are compared, the rest kept."""

    def __init__(self, desk: Desk, caller: Caller, key: str, from_line: int) -> None:
        self._desk = desk
        self._caller_id = caller.id
        self._key = key
        self._line = from_line - 1  # the last one looked at
        with desk.database.reading() as conn:
            self._batch = batches.find(conn, caller.id, key)
            wrapped = None if self._batch is None else batches.wrapped_key(conn, self._batch.id)
        self._id = new_id() if self._batch is None else self._batch.id
        self._received = 0 if self._batch is None else self._batch.received
        self._secret = (
            BatchKey.new(self._id)
            if wrapped is None
            else BatchKey.unwrap(desk.keyring.vault, self._id, wrapped)
        )
        if from_line > self._received + 1:
            raise Conflict("batch_gap", f"只收到了 {self._received} 行，from_line 不能跳过未收到的行")

    def take(self, group: Sequence[RawLine]) -> None:
        """The body's next lines, one or more."""
        first = self._line + 1
        known = min(len(group), max(0, self._received + 1 - first))
        if known:
            self._compare(first, group[:known])
        if fresh := group[known:]:
            self._keep(first + known, fresh)
        self._line += len(group)

    def finish(self) -> tuple[Batch, bool]:
        """The body ended well: the batch has no further lines."""
        if self._received == 0:
            raise BadInput("batch_empty", "请求体中没有任何一行工单")
        if self._line < self._received:
            raise BadInput("batch_shorter", f"先前已收到 {self._received} 行，这次只到第 {self._line} 行")
        if self._complete:
            with self._desk.database.reading() as conn:
                return batches.get(conn, self._id), True
        with self._desk.database.transaction() as conn:
            now = self._desk.now()
            return batches.complete(conn, self._id, self._received, self._caller_id, now), False

    @property
    def _complete(self) -> bool:
        return self._batch is not None and self._batch.completed_at is not None

    def _compare(self, first: int, lines: Sequence[RawLine]) -> None:
        with self._desk.database.reading() as conn:
            before = batches.digests(conn, self._id, first, first + len(lines) - 1)
        for number, (raw, digest) in enumerate(zip(lines, before, strict=True), start=first):
            if not hmac.compare_digest(self._secret.digest(raw.content, raw.whole), digest):
                raise BadInput("batch_line_differs", f"第 {number} 行与先前收到的不同，续传须逐字节相同")

    def _keep(self, first: int, lines: Sequence[RawLine]) -> None:
        if self._complete:
            raise Conflict("batch_complete", f"该批次已以 {self._received} 行结束，不能再增加")
        fitting = lines[: max(0, MAX_LINES + 1 - first)]
        if fitting:
            self._append([self._new(number, raw) for number, raw in enumerate(fitting, start=first)])
        if len(fitting) < len(lines):
            raise BadInput("batch_too_long", f"一个批次不得超过 {MAX_LINES} 行")

    def _new(self, number: int, raw: RawLine) -> NewLine:
        digest = self._secret.digest(raw.content, raw.whole)
        line = read(raw, self._desk.settings)
        order = line.outcome
        if isinstance(order, ProblemDetails):
            return NewLine(number, digest, line.client_ref, problem=order.model_dump_json(exclude_none=True))
        return NewLine(
            number,
            digest,
            line.client_ref,
            sealed=self._secret.seal(number, order.model_dump_json().encode()),
            name=self._secret.name(order.source, order.number),
        )

    def _append(self, lines: Sequence[NewLine]) -> None:
        now = self._desk.now()
        with self._desk.database.transaction() as conn:
            if self._received == 0:
                wrapped = self._secret.wrapped(self._desk.keyring.vault)
                batches.create(conn, self._id, wrapped, self._caller_id, self._key, now)
            batches.append(conn, self._id, lines, now)
        self._received += len(lines)
        self._desk.metrics.batch_lines("refused", sum(line.problem is not None for line in lines))


def results(desk: Desk, batch_id: str, after: int, until: int) -> Iterator[bytes]:
    """NDJSON of the lines behind `after` and up to `until`, which are done, a page at a time.

    No page holds the database while the reader takes its time: what is done does not change.
    """
    while after < until:
        last = min(after + _PAGE, until)
        with desk.database.reading() as conn:
            page = [_result(line, desk.taxonomy) for line in batches.results(conn, batch_id, after, last)]
        yield b"".join(page)
        after = last


def _result(line: DecidedLine | RefusedLine, taxonomy: Taxonomy) -> bytes:
    if isinstance(line, RefusedLine):
        problem = ProblemDetails.model_validate_json(line.problem)
        refusal = BatchRefusal(line=line.line, client_ref=line.client_ref, problem=problem)
        return refusal.model_dump_json(exclude_unset=True).encode() + b"\n"
    decision = decision_message(line.order, line.decision_id, line.decision, line.review_id, taxonomy)
    message = BatchDecision(line=line.line, client_ref=line.client_ref, decision=decision)
    return message.model_dump_json().encode() + b"\n"
