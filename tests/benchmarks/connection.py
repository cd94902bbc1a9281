"""A lean HTTP/1.1 client connection on asyncio streams; the load generator asks through it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """One POST, rendered once: the generator shares the cores with who is measured."""

    raw: bytes

    @classmethod
    def post(cls, url: str, body: bytes, headers: dict[str, str]) -> Request:
        parts = urlsplit(url)
        lines = [
            f"POST {parts.path} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        return cls("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


class Broken(Exception):
    """The server closed or spoke something that is no HTTP/1.1 response."""


class Connection:
    """Keeps one connection alive, and opens it anew when the server closed it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def hung_up(self) -> bool:
        """Whether the server has closed it, as servers do with one that was idle for long."""
        return self._streams is not None and self._streams[0].at_eof()

    async def ask(self, request: Request) -> tuple[int, bytes]:
        """(status, body). Raises: Broken, OSError; the next call then starts with a fresh connection."""
        try:
            if self.hung_up:
                await self.close()
            if self._streams is None:
                self._streams = await asyncio.open_connection(*self._address)
            reader, writer = self._streams
            writer.write(request.raw)
            status, body, kept = await _response(reader)
        except asyncio.IncompleteReadError as error:
            await self.close()
            raise Broken("the server closed the connection") from error
        except BaseException:
            # Cancelled or broken half-way: what would be read next belongs to this request.
            await self.close()
            raise
        if not kept:
            await self.close()
        return status, body

    async def close(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()
            # The transport's socket is closed by a callback: an event loop that ends before would leak it.
            await asyncio.sleep(0)


async def _response(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """(status, body, whether the connection stays open)."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, _, rest = head[0].partition(" ")
    if not version.startswith("HTTP/1."):
        raise Broken(f"not HTTP/1.1: {head[0][:60]}")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(rest[:3]), body, headers.get("connection", "").lower() != "close"


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    while (await reader.readline()).strip():
        pass  # trailers
    return body
