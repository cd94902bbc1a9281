"""`python -m tests.benchmarks.echo PORT` answers every POST at once: what the load generator itself can do.

The bench calls `ceiling`, to show that it measures the contenders and not its own limits.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

from data.settings import ROOT
from tests.benchmarks.connection import Request
from tests.benchmarks.load import Figures, Target, ask_once, closed_loop
from tests.journeys.real_process import free_port

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Echo(asyncio.Protocol):
    """One connection; whatever is asked, the answer is the same."""

    _transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._pending = b""

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            head = self._pending[:end].lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(self._pending) < end + 4 + length:
                return
            self._pending = self._pending[end + 4 + length :]
            self._transport.write(_ANSWER)


def ceiling(text: str, connections: int, seconds: float) -> Figures:
    """The closed loop against the echo server, on the same cores as all contenders."""
    port = free_port()
    request = Request.post(f"http://127.0.0.1:{port}/echo", text.encode(), {})
    target = Target("127.0.0.1", port, lambda number: request, lambda status, body: status == 200)
    process = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.echo", str(port)], cwd=ROOT)
    try:
        while not ask_once(target):
            assert process.poll() is None, "the echo server did not start"
            time.sleep(0.05)
        return closed_loop(target, connections, seconds, ramp=0.5)
    finally:
        process.terminate()
        process.wait()


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
