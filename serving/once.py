"""Every POST happens once: the first answer is stored with the change and given again to a repeat."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import rfc8785
from fastapi import Header
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema
from sqlalchemy import Connection
from starlette.responses import Response

from data.errors import BadInput
from data.store import idempotency
from data.store.pending_rows import PendingRows

if TYPE_CHECKING:
    from serving.desk import Desk

Answers = Mapping[tuple[str, str], idempotency.StoredAnswer]

IdempotencyKey = Annotated[
    Annotated[str, Field(pattern=r"^[!-~]{1,128}$")] | SkipJsonSchema[None],
    Header(
        alias="Idempotency-Key",
        description="幂等键：重复的请求得到第一次的答复（逐字节相同，并带 `Idempotent-Replayed: true`）；"
        "同一键用于不同内容得 422，前一请求仍在处理得 409。Kept for at least 24 hours.",
    ),
]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's bytes, before any response object: what is stored is exactly what is sent."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    replayed: bool = False

    def response(self) -> Response:
        headers = {**self.headers, **({"Idempotent-Replayed": "true"} if self.replayed else {})}
        return Response(self.body, self.status, headers, "application/json")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request as idempotency knows it; without a key it may happen again."""

    caller_id: str
    key: str | None
    request_hash: str

    @property
    def name(self) -> tuple[str, str] | None:
        """What its answer is stored under."""
        return None if self.key is None else (self.caller_id, self.key)

    @contextmanager
    def underway(self, desk: Desk) -> Iterator[None]:
        """Refuse a twin with Conflict while this request is worked on in this process."""
        if self.key is None:
            yield
            return
        with desk.underway.claim(self.caller_id, self.key):
            yield

    def answer(self, conn: Connection, desk: Desk, work: Callable[[], Answer]) -> Answer:
        """Do the work inside the caller's transaction, or give the answer it had.

        Raises:
            BadInput: `idempotency_mismatch`.
            Conflict: `idempotency_running`.
        """
        if self.key is None:
            return work()
        stored = idempotency.start(conn, self.caller_id, self.key, self.request_hash, desk.now())
        if stored is not None:
            return Answer(stored.status, stored.body, stored.headers, replayed=True)
        answer = work()
        idempotency.finish(conn, self.caller_id, self.key, answer.status, answer.body, answer.headers)
        return answer

    def earlier(self, answered: Answers) -> Answer | None:
        """The answer that it was given before, among those that were looked up.

        Raises:
            BadInput: `idempotency_mismatch`.
        """
        stored = None if self.name is None else answered.get(self.name)
        if stored is None:
            return None
        if stored.request_hash != self.request_hash:
            raise BadInput("idempotency_mismatch", "同一幂等键已用于不同的请求。")
        return Answer(stored.status, stored.body, stored.headers, replayed=True)

    def store(self, rows: PendingRows, answer: Answer, at: datetime) -> None:
        """Keep its answer with the rows of the change."""
        if self.key is not None:
            kept = idempotency.StoredAnswer(self.request_hash, answer.status, answer.headers, answer.body)
            idempotency.put(rows, self.caller_id, self.key, kept, at)


def attempt(caller_id: str, key: str | None, operation: str, body: BaseModel | None) -> Attempt:
    """The attempt that a request is; `operation` names the route and what it acts on, so that one key
    cannot be meant for two."""
    content = None if body is None else body.model_dump(mode="json")
    digest = hashlib.sha256(rfc8785.dumps([operation, content])).hexdigest()
    return Attempt(caller_id, None if key is None else f"k:{key}", digest)


def by_natural_key(made: Attempt, *parts: str | int) -> Attempt:
    """The same attempt under a key made of what names its subject, apart from what a caller may choose."""
    digest = hashlib.sha256(rfc8785.dumps(list(parts))).hexdigest()
    return replace(made, key=f"n:{digest}")
