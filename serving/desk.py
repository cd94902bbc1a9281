"""Everything a request needs, put together once by `create_app` and reached through `DeskDep`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import Depends, Request

from data.errors import Conflict
from data.settings import Settings
from data.store.database import Database
from data.store.keyring import Keyring
from data.taxonomy import Taxonomy
from models.triage import Triage
from serving.metrics import Metrics
from serving.rates import Rates
from serving.sessions import Sessions

if TYPE_CHECKING:  # which writes statements, that are written in this file's time zone
    from serving.keeping import OrderKeeper

BEIJING: Final = timezone(timedelta(hours=8), "北京时间")


def utc_now() -> datetime:
    return datetime.now(UTC)


class Underway:
    """The idempotency keys being worked on in this process, so that a twin is told to wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: set[tuple[str, str]] = set()

    @contextmanager
    def claim(self, caller_id: str, key: str) -> Iterator[None]:
        """Hold a caller's key for the time of one request.

        Raises:
            Conflict: another request holds it.
        """
        pair = (caller_id, key)
        with self._lock:
            if pair in self._keys:
                raise Conflict("idempotency_in_progress", "相同的请求正在处理，请稍后用同一请求重试")
            self._keys.add(pair)
        try:
            yield
        finally:
            with self._lock:
                self._keys.discard(pair)


@dataclass(frozen=True, slots=True)
class Desk:
    """The services behind the routes; `now` is the one clock they read (aware, UTC)."""

    settings: Settings
    database: Database
    keyring: Keyring
    triage: Triage
    taxonomy: Taxonomy
    sessions: Sessions
    metrics: Metrics
    keeper: OrderKeeper
    rates: Rates
    underway: Underway = field(default_factory=Underway)
    now: Callable[[], datetime] = utc_now


async def desk_of(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


DeskDep = Annotated[Desk, Depends(desk_of)]
