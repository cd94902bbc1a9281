"""What connections may cost before a request's head is whole; `serving/__main__.py` gives it to uvicorn."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 65_536
HEAD_PATIENCE_S: Final = 10.0
# Each holds a file handle, of which a process often has 1,024: the database and files need some as well.
MAX_CONNECTIONS: Final = 800
_SEPARATORS: Final = 4  # of a header's name and value, and its line's end


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with an end to idlers and to heads: in bytes, in time, before a body's trailers.

    By itself it collects a head of any size for as long as that takes, and takes fields that follow a body
    for headers: a proxy in front may have checked only those that stood before it (RFC 9110, 6.5.1). What
    is raised while the parser calls back is answered with 400.
    """

    max_head_bytes = MAX_HEAD_BYTES
    head_patience_s = HEAD_PATIENCE_S
    max_connections = MAX_CONNECTIONS

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._heads = 0
        self._in_head = False
        self._named = 0  # bytes of this head's fields that are whole
        self._unread = 0  # bytes that came while it was not whole
        self._due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._may_idle()
        if len(self.connections) > self.max_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_whole()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        begun = self._heads if self._in_head else None
        super().data_received(data)
        # A field reaches on_header only once it is whole: until then its bytes are counted here.
        if self._in_head and self._heads == begun and not self.transport.is_closing():
            self._unread += len(data)
            if self._unread > self.max_head_bytes:
                self.send_400_response("Request head too large.")
        # Empty lines, or the rest of a body that nobody waited for, stopped the clock and began nothing.
        idle = not self._in_head and not self._is_busy() and self.timeout_keep_alive_task is None
        if idle and not self.transport.is_closing():
            self._may_idle()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._heads += 1
        self._in_head, self._named, self._unread = True, 0, 0
        self._due = self.loop.call_later(self.head_patience_s, self._head_is_late)

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + _SEPARATORS)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_is_whole()
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            raise ValueError("no version that anybody speaks")  # HTTP/0.9 has no headers, so nothing to check
        super().on_headers_complete()
        self.scope["headers"] = [*self.headers]  # trailers go into the other list, where nobody looks

    def _may_idle(self) -> None:
        """Whoever says nothing yet waits no longer than between two requests."""
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _count(self, size: int) -> None:
        self._named += size
        if self._named > self.max_head_bytes:
            raise ValueError("head too large")

    def _head_is_whole(self) -> None:
        self._in_head = False
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _head_is_late(self) -> None:
        """An answer under way is waited for: its connection carries the late head as well."""
        if self._is_busy():
            self._due = self.loop.call_later(self.head_patience_s, self._head_is_late)
        elif not self.transport.is_closing():
            self.transport.close()

    def _make_room(self) -> None:
        """The one that has been idle longest goes, or has been at its head longest where none is idle.

        With a request under way on all others, the newcomer goes.
        """
        opened = [other for other in self.connections if not other.transport.is_closing()]
        if len(opened) <= self.max_connections:
            return
        waiting = [
            (place, other)
            for other in opened
            if isinstance(other, BoundedProtocol)
            and other is not self
            and (place := other._place()) is not None
        ]
        _, leaving = min(waiting, key=lambda pair: pair[0], default=(None, self))
        leaving.transport.close()

    def _place(self) -> tuple[bool, float] | None:
        """Where it stands in the order of leaving, the least first; None: a request is under way."""
        if self._is_busy():
            return None
        until = self._due if self._in_head else self.timeout_keep_alive_task
        return None if until is None else (self._in_head, until.when())
