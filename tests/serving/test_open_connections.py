"""However many connect, only so many stay; those that do nothing go first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from serving.connections import BoundedProtocol

REQUEST = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
PATIENCE_S = 20.0

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class AtMostThree(BoundedProtocol):
    max_connections = 3


class Running:
    """A real server in this process, whose requests for `/hold` last until they are let go."""

    def __init__(self, keep_alive_s: int) -> None:
        self.let_go = asyncio.Event()
        self.held = 0
        self.wires: list[Wire] = []
        self.server = uvicorn.Server(
            uvicorn.Config(
                self._answer,
                port=0,
                http=AtMostThree,
                interface="asgi3",
                lifespan="off",
                log_config=None,
                timeout_keep_alive=keep_alive_s,
                timeout_graceful_shutdown=1,
            )
        )

    async def _answer(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["path"] == "/hold":
            self.held += 1
            await self.let_go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def dial(self) -> Wire:
        (port,) = {one.getsockname()[1] for one in self.server.servers[0].sockets}
        self.wires.append(await asyncio.open_connection("127.0.0.1", port))
        return self.wires[-1]

    async def hold(self) -> Wire:
        before, wire = self.held, await self.dial()
        wire[1].write(REQUEST % b"hold")
        while self.held == before:
            await asyncio.sleep(0.01)
        return wire


@asynccontextmanager
async def running(keep_alive_s: int) -> AsyncIterator[Running]:
    found = Running(keep_alive_s)
    serving = asyncio.create_task(found.server._serve())
    while not found.server.started:
        await asyncio.sleep(0.01)
    yield found
    found.let_go.set()
    for _, writer in found.wires:
        writer.close()
    found.server.should_exit = True
    await serving


def within_patience(story: Callable[[Running], Awaitable[None]], keep_alive_s: int = 60) -> None:
    async def told() -> None:
        async with asyncio.timeout(PATIENCE_S), running(keep_alive_s) as service:
            await story(service)

    asyncio.run(told())


async def asked(wire: Wire) -> bytes:
    wire[1].write(REQUEST % b"")
    return await wire[0].readuntil(b"ok")


async def gone(wire: Wire) -> bool:
    """Whether the server has hung up, or does within a moment."""
    try:
        async with asyncio.timeout(0.3):
            return await wire[0].read(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def test_who_has_been_idle_longest_makes_room() -> None:
    async def story(service: Running) -> None:
        first, second, third = [await service.dial() for _ in range(3)]
        for wire in (first, second, third):
            await asked(wire)
        await asked(first)  # now the second has been idle longest
        fourth = await service.dial()
        assert (await asked(fourth)).startswith(b"HTTP/1.1 200")
        assert await gone(second)
        assert [await gone(wire) for wire in (first, third, fourth)] == [False] * 3

    within_patience(story)


def test_a_request_under_way_is_never_cut_off_for_a_newcomer() -> None:
    async def story(service: Running) -> None:
        held = [await service.hold() for _ in range(3)]
        assert await gone(await service.dial())
        service.let_go.set()
        for wire in held:
            assert (await wire[0].readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        assert (await asked(await service.dial())).startswith(b"HTTP/1.1 200")

    within_patience(story)


def test_heads_that_dawdle_give_way_once_nobody_is_idle() -> None:
    async def story(service: Running) -> None:
        held, dawdling = await service.hold(), await service.dial()
        dawdling[1].write(b"GET / HT")
        idle = await service.dial()
        await asked(idle)
        assert (await asked(await service.dial())).startswith(b"HTTP/1.1 200")
        assert (await gone(idle), await gone(dawdling)) == (True, False)
        replaced = await service.dial()
        replaced[1].write(b"GET / HT")
        await asyncio.sleep(0.1)
        assert (await asked(await service.dial())).startswith(b"HTTP/1.1 200")
        assert (await gone(dawdling), await gone(replaced), await gone(held)) == (True, False, False)

    within_patience(story)


@pytest.mark.parametrize(
    "said",
    [b"\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"],
    ids=["empty lines", "a body nobody waits for"],
)
def test_who_says_nothing_that_begins_a_request_is_idle(said: bytes) -> None:
    async def story(service: Running) -> None:
        wire = await service.dial()
        wire[1].write(said)
        await asyncio.sleep(0.1)
        wire[1].write(b"\r\n")
        await wire[0].read()  # until the server hangs up by itself
        assert not service.server.server_state.connections

    within_patience(story, keep_alive_s=1)
