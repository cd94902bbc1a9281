from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from data.errors import BadInput
from serving import ndjson
from serving.ingress import ClientGone
from serving.ndjson import LineSplitter, RawLine, line_groups

LIMIT = 20


def split(parts: Sequence[bytes], limit: int = LIMIT) -> list[RawLine]:
    splitter = LineSplitter(limit)
    return [line for part in parts for line in splitter.feed(part)] + splitter.end()


def whole(*lines: bytes) -> list[RawLine]:
    return [RawLine(line) for line in lines]


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"", []),
        (b"\n", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"a\r", [b"a"]),
        (b"a\r\r\n", [b"a\r"]),
        (b"a\rb\n", [b"a\rb"]),
        (b"\n\r\n \t\r\na\n\n\nb\n\n", [b"a", b"b"]),
        (b" a \n", [b" a "]),
        (b"\x0b\n\x00\n", [b"\x0b", b"\x00"]),
        (b"\xff\n\xe8\xb7\n", [b"\xff", b"\xe8\xb7"]),
        ("路灯\n不亮".encode(), ["路灯".encode(), "不亮".encode()]),
    ],
)
def test_lines_wherever_the_body_is_cut(body: bytes, lines: list[bytes]) -> None:
    assert split([body]) == whole(*lines)
    assert split([body[place : place + 1] for place in range(len(body))]) == whole(*lines)
    for cut in range(len(body) + 1):
        assert split([body[:cut], b"", body[cut:]]) == whole(*lines)


def test_the_limit_is_of_a_line_without_its_end() -> None:
    fits = b"x" * LIMIT
    for end in (b"", b"\n", b"\r\n"):
        assert split([fits + end]) == whole(fits)
        (line,) = split([fits + b"y" + end])
        assert not line.whole


def test_of_a_line_too_long_only_a_hash_is_held() -> None:
    splitter = LineSplitter(LIMIT)
    for _ in range(1000):
        assert splitter.feed(b"z" * 1000) == []
        assert len(splitter._held) <= LIMIT + 1
    found = splitter.feed(b"\nshort\n")
    assert found == [RawLine(hashlib.sha256(b"z" * 1_000_000).digest(), whole=False), RawLine(b"short")]


def test_a_long_line_is_the_same_wherever_it_is_cut() -> None:
    chance = random.Random(1)
    body = b"a" * 50 + b"\r\n" + b"b" * (LIMIT + 1) + b"\n" + b"c"
    expected = split([body])
    assert [line.whole for line in expected] == [False, False, True]
    for _ in range(50):
        cuts = sorted(chance.randrange(len(body)) for _ in range(5))
        parts = [body[low:high] for low, high in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        assert split(parts) == expected


GONE = {"type": "http.disconnect"}


def part(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def grouped(receive: Callable[[], Awaitable[Any]]) -> tuple[list[list[bytes]], Exception | None]:
    """The groups that came, and how it ended."""

    async def scene() -> tuple[list[list[bytes]], Exception | None]:
        groups = []
        try:
            async for group in line_groups(receive, LIMIT):
                groups.append([line.content for line in group])
        except (BadInput, ClientGone) as error:
            return groups, error
        return groups, None

    return asyncio.run(scene())


def saying(*messages: dict[str, Any]) -> Callable[[], Awaitable[Any]]:
    coming = iter(messages)

    async def receive() -> Any:
        return next(coming)

    return receive


def test_the_end_of_the_body_ends_the_last_line() -> None:
    assert grouped(saying(part(b"a\nb"), part(b"c\nd", more=False))) == ([[b"a", b"bc", b"d"]], None)
    assert grouped(saying(part(b"", more=False))) == ([], None)


def test_a_broken_connection_leaves_whole_lines_only() -> None:
    groups, error = grouped(saying(part(b"a\nb\nhal"), GONE))
    assert groups == [[b"a", b"b"]]
    assert isinstance(error, ClientGone)


def test_a_group_is_no_larger_than_a_commit_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "_GROUP_LINES", 3)
    groups, _ = grouped(saying(part(b"a\nb\n"), part(b"c\nd\ne\nf\ng\n"), part(b"h", more=False)))
    assert groups == [[b"a", b"b", b"c"], [b"d", b"e", b"f"], [b"g", b"h"]]
    monkeypatch.setattr(ndjson, "_GROUP_LINES", 500)
    monkeypatch.setattr(ndjson, "_GROUP_BYTES", 10)
    groups, _ = grouped(saying(part(b"12345\n12345\n1\n"), part(b"2", more=False)))
    assert groups == [[b"12345", b"12345"], [b"1", b"2"]]


def test_what_has_come_does_not_wait_for_what_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow sender's lines are committed while it is slow."""
    monkeypatch.setattr(ndjson, "_GROUP_S", 0.05)
    seen: list[list[bytes]] = []

    async def scene() -> None:
        taken = asyncio.Event()
        messages = iter([part(b"a\n"), None, part(b"b\n", more=False)])

        async def receive() -> Any:
            message = next(messages)
            if message is None:  # nothing comes until the first line is taken
                await taken.wait()
                raise AssertionError("what waited here was not given up")
            return message

        async with asyncio.timeout(20):
            async for group in line_groups(receive, LIMIT):
                seen.append([line.content for line in group])
                taken.set()

    asyncio.run(scene())
    assert seen == [[b"a"], [b"b"]]


def test_a_sender_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "_GROUP_S", 0.02)
    monkeypatch.setattr(ndjson, "_PATIENCE_S", 0.1)
    messages = [part(b"a\n")]

    async def receive() -> Any:
        return messages.pop() if messages else await asyncio.get_running_loop().create_future()

    groups, error = grouped(receive)
    assert groups == [[b"a"]]
    assert isinstance(error, BadInput)
    assert error.code == "upload_stalled"
