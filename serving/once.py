"""Every POST happens once: the first answer is stored with the change and given again to a repeat."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated

import rfc8785
from fastapi import Header
from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.responses import Response

from data.store import idempotency
from serving.desk import Desk

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[!-~]{1,128}$",
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
