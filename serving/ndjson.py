"""Cuts a streamed body into lines, in groups worth a commit, never holding the whole; the uploads read it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from starlette.types import Message, Receive

from data.errors import BadInput
from serving.ingress import ClientGone

MEDIA_TYPE: Final = "application/x-ndjson"

_GROUP_LINES: Final = 500
_GROUP_BYTES: Final = 4 * 2**20
_GROUP_S: Final = 1.0
_PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line without its end; of one longer than the limit (`whole` is false) only its SHA-256."""

    content: bytes
    whole: bool = True


class LineSplitter:
    """Lines end with LF or CRLF, the last one may end with the body; blank ones are passed over."""

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes, without the line's end."""
        self._limit = limit
        self._held = bytearray()
        self._spilt: hashlib._Hash | None = None  # once the line is too long to be held

    def feed(self, part: bytes) -> list[RawLine]:
        """The lines that end in this part of the body."""
        *ending, rest = part.split(b"\n")
        lines = [line for piece in ending if (line := self._end(piece)) is not None]
        self._hold(rest)
        return lines

    def end(self) -> list[RawLine]:
        """The line that the end of the body ends."""
        line = self._end(b"")
        return [] if line is None else [line]

    def _hold(self, piece: bytes) -> None:
        if self._spilt is not None:
            self._spilt.update(piece)
            return
        self._held += piece
        if len(self._held) > self._limit + 1:  # the one may be a CR
            self._spilt = hashlib.sha256(self._held)
            self._held.clear()

    def _end(self, piece: bytes) -> RawLine | None:
        self._hold(piece)
        if self._spilt is not None:
            line = RawLine(self._spilt.digest(), whole=False)
            self._spilt = None
            return line
        content = bytes(self._held).removesuffix(b"\r")
        self._held.clear()
        if len(content) > self._limit:
            return RawLine(hashlib.sha256(content).digest(), whole=False)
        return RawLine(content) if content.strip(b" \t\r") else None


class _Group:
    """Lines that will be committed together."""

    def __init__(self) -> None:
        self.lines: list[RawLine] = []
        self.size = 0
        self.since = 0.0

    def add(self, line: RawLine, at: float) -> None:
        if not self.lines:
            self.since = at
        self.lines.append(line)
        self.size += len(line.content)

    @property
    def full(self) -> bool:
        return len(self.lines) >= _GROUP_LINES or self.size >= _GROUP_BYTES

    def due(self, heard: float) -> float:
        """When to stop waiting for more, having heard from the sender at that time."""
        return min(self.since + _GROUP_S, heard + _PATIENCE_S) if self.lines else heard + _PATIENCE_S


async def line_groups(receive: Receive, limit: int) -> AsyncGenerator[list[RawLine], None]:
    """Whole lines as they come: up to 500, or as many as have come within a second.

    While a group is worked on nothing is read, so that a fast sender is slowed down. A broken connection's
    last line is no whole line, unless its end had come.

    Raises:
        ClientGone: the connection broke; what was whole has been given before.
        BadInput: `upload_stalled`: a minute without a byte.
    """
    now = asyncio.get_running_loop().time
    splitter, group, heard, ended = LineSplitter(limit), _Group(), now(), False
    while not ended:
        message = await _received(receive, group.due(heard))
        lines: list[RawLine] = []
        if message is None:
            if not group.lines:
                raise BadInput("upload_stalled", "上传长时间没有新的数据；已收到的各行有效，可以续传")
        elif message["type"] == "http.disconnect":
            if group.lines:
                yield group.lines
            raise ClientGone
        else:
            ended = not message.get("more_body", False)
            heard = now()
            lines = splitter.feed(message.get("body", b"")) + (splitter.end() if ended else [])
        for line in lines:
            group.add(line, now())
            if group.full:
                yield group.lines
                group, heard = _Group(), now()
        if group.lines and (ended or group.due(heard) <= now()):
            yield group.lines
            group, heard = _Group(), now()


async def _received(receive: Receive, until: float) -> Message | None:
    """The next message; None when none came in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(until):
            return await receive()
    return None
