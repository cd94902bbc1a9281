"""A real process under what no client library would send."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from data.store.identifiers import new_id
from serving.connections import MAX_HEAD_BYTES
from tests.journeys.real_process import Installation, answered

MARK = "回声qzx"
# Far longer than any patience of the service: only a hang reaches it.
HANG_S = 60.0
FLOOD = 64 * 2**20


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Without a model, so that it starts at once; whatever it heard, it was surprised by nothing."""
    folder = tmp_path_factory.mktemp("connections")
    installation = Installation(
        folder, f"sqlite:///{folder / 'mingbian.db'}", bundle=str(folder / "none"), log_level="info"
    )
    installation.start()
    yield installation
    alive = answered_alone(installation)
    installation.kill()
    log = installation.log()
    assert alive
    assert "unexpected error" not in log
    assert "Traceback" not in log
    assert MARK not in log
    assert '"status": 500' not in log


def answered_alone(installation: Installation) -> bool:
    with installation.caller("auditor") as auditor:
        return auditor.get("/v1/model").status_code == 200


@dataclass
class Heard:
    """All that came back until the server closed, or `closed` is false: it had not within a minute."""

    text: bytes
    closed: bool

    @property
    def statuses(self) -> list[int]:
        found = re.findall(rb"(?:^|[}\n.])HTTP/1\.[01] (\d{3})", self.text)
        return [int(status) for status in found]

    @property
    def codes(self) -> list[str]:
        return re.findall(r'"type": "/problems/(\w+)"', self.text.decode("utf-8", "replace"))


def dial(installation: Installation) -> socket.socket:
    return socket.create_connection(("127.0.0.1", installation.port), HANG_S)


def heard(connection: socket.socket) -> Heard:
    text = b""
    try:
        while part := connection.recv(65_536):
            text += part
    except TimeoutError:
        return Heard(text, closed=False)
    except ConnectionResetError:
        pass  # it closed while bytes were still on their way
    return Heard(text, closed=True)


def say(installation: Installation, *parts: bytes, half_close: bool = False) -> Heard:
    with dial(installation) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return heard(connection)


def flood(installation: Installation, begin: bytes, parts: Iterable[bytes]) -> tuple[int, Heard]:
    """Send until it is refused, 64 MB at most; how many bytes went out, and the answer."""
    sent = 0
    with dial(installation) as connection:
        connection.sendall(begin)
        try:
            for part in parts:
                connection.sendall(part)
                sent += len(part)
                if sent > FLOOD:
                    break
        except (ConnectionResetError, BrokenPipeError):
            pass
        return sent, heard(connection)


def key(installation: Installation, role: str = "intake") -> bytes:
    return f"Authorization: Bearer {installation.keys[role]}\r\n".encode()


def order() -> bytes:
    body = {"source": "wire", "number": new_id(), "content": f"{MARK}：路灯不亮，希望派人修好。"}
    return json.dumps(body, ensure_ascii=False).encode()


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def post(installation: Installation, headers: bytes, body: bytes = b"", keyed: bool = True) -> bytes:
    line = b"POST /v1/orders HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    return line + (key(installation) if keyed else b"") + headers + b"\r\n" + body


def with_length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n" % len(body)


def last(installation: Installation) -> bytes:
    """A request after which the server closes, so that there is nothing to wait for."""
    return b"GET /v1/model HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + key(installation) + b"\r\n"


def log_size(installation: Installation) -> Any:
    with installation.caller("auditor") as auditor:
        return answered(auditor.get("/v1/audit/checkpoint"))["size"]


AMBIGUOUS = [
    b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 400\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"Transfer-Encoding: chunked;q=1\r\n",
    b"Transfer-Encoding: \x0bchunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    b"Transfer-Encoding:\r\n chunked\r\n",
    b"X: a\r\n Transfer-Encoding: chunked\r\n",
    b"X: a\rTransfer-Encoding: chunked\r\n",
    b"X: a\nTransfer-Encoding: chunked\r\n",
    b"X: a\0b\r\nTransfer-Encoding: chunked\r\n",
    b"Content-Length: 4\r\nContent-Length: 400\r\n",
    b"Content-Length: 4\r\nContent-Length: 4\r\n",
    b"Content-Length: 4, 4\r\n",
    b"Content-Length: +4\r\n",
    b"Content-Length: -4\r\n",
    b"Content-Length: 0x4\r\n",
    b"Content-Length: 4;\r\n",
    b"Content-Length: 1e1\r\n",
    b"Content-Length:\r\n",
    b"Content-Length: 99999999999999999999999\r\n",
]


@pytest.mark.parametrize("framing", AMBIGUOUS, ids=repr)
def test_a_body_that_could_end_in_two_places_is_refused_with_all_behind_it(
    running: Installation, framing: bytes
) -> None:
    before = log_size(running)
    answer = say(running, post(running, framing, chunked(order())) + last(running))
    assert (answer.statuses, answer.closed) == ([400], True)
    assert log_size(running) == before


@pytest.mark.parametrize(
    "body",
    [
        b"FFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n",
        b"-2\r\n{}\r\n0\r\n\r\n",
        b"0x2\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}XX0\r\n\r\n",
        b"2\n{}\n0\n\n",
        b"2\r\n{}\r\n0\r\nX\r\n\r\n",
    ],
    ids=repr,
)
def test_chunks_are_as_they_should_be_or_refused(running: Installation, body: bytes) -> None:
    answer = say(running, post(running, b"Transfer-Encoding: chunked\r\n", body) + last(running))
    assert answer.closed
    assert 201 not in answer.statuses
    assert 200 not in answer.statuses, "what stood behind a broken body was taken for a request"


@pytest.mark.parametrize("coding", [b"chunked", b"\tchunked ", b"CHUNKED"], ids=repr)
def test_chunks_are_taken_by_any_spelling_of_their_name(running: Installation, coding: bytes) -> None:
    request = post(running, b"Transfer-Encoding: %s\r\n" % coding, chunked(order()))
    assert say(running, request + last(running)).statuses == [201, 200]


def test_a_coding_that_nobody_undoes_is_refused(running: Installation) -> None:
    request = post(running, b"Transfer-Encoding: gzip, chunked\r\n", chunked(order()))
    answer = say(running, request + last(running))
    assert (answer.statuses, answer.codes) == ([400, 200], ["request_malformed"])


def test_a_field_behind_the_body_is_no_header(running: Installation) -> None:
    body = chunked(order()).removesuffix(b"\r\n") + key(running) + b"\r\n"
    request = post(running, b"Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n", body, keyed=False)
    answer = say(running, request + last(running))
    assert (answer.statuses, answer.codes) == ([401, 200], ["key_missing"])


def test_two_hosts_are_one_too_many(running: Installation) -> None:
    answer = say(running, b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n")
    assert (answer.statuses, answer.codes) == ([400], ["request_malformed"])


def test_head_is_answered_without_a_body(running: Installation) -> None:
    probe = b"HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = say(running, probe + last(running))
    assert answer.statuses == [200, 200]
    assert b"alive" not in answer.text


def test_a_length_too_short_leaves_no_request_behind(running: Installation) -> None:
    body, before = order(), log_size(running)
    answer = say(running, post(running, b"Content-Length: 5\r\n", body) + last(running))
    assert set(answer.statuses) == {400}, "the second refusal may overtake the first"
    assert answer.closed
    assert log_size(running) == before


def test_who_stalls_is_left_and_keeps_nobody_waiting(running: Installation) -> None:
    """A body promised and not sent, and a head that never ends, each in a connection of its own."""
    before = log_size(running)
    stalled = {
        "body": post(running, b"Content-Length: 500\r\n", b"{"),
        "chunk": post(running, b"Transfer-Encoding: chunked\r\n", b"1\r\n"),
        "extension": post(running, b"Transfer-Encoding: chunked\r\n", b"2;" + b"a" * 1000),
        "head": b"GET /livez HTTP/1.1\r\nHo",
        "line": b"GET /li",
    }
    answers: dict[str, Heard] = {}

    def wait(name: str, said: bytes) -> None:
        answers[name] = say(running, said)

    waiting = [threading.Thread(target=wait, args=pair) for pair in stalled.items()]
    for thread in waiting:
        thread.start()
    assert say(running, last(running)).statuses == [200]
    assert answers == {}, "whoever was asked meanwhile was not answered first"
    for thread in waiting:
        thread.join(HANG_S)
    assert all(answer.closed for answer in answers.values())
    assert {name: answer.statuses for name, answer in answers.items()} == {
        "body": [408],
        "chunk": [408],
        "extension": [408],
        "head": [],
        "line": [],
    }
    assert answers["body"].codes == ["body_too_slow"]
    assert log_size(running) == before


def test_chunks_without_end_are_cut_off_at_the_cap(running: Installation) -> None:
    part = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    begin = post(running, b"Transfer-Encoding: chunked\r\n")
    sent, answer = flood(running, begin, iter(lambda: part, None))
    assert sent < FLOOD
    assert answer.statuses in ([413], []), "an answer may be lost to the bytes still on their way"


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nX: ", b"a" * 65_536),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\n", b"a" * 65_536),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\n", b"X-Aaaaaaaaaaaaaaaa: b\r\n" * 3000),
        (b"GET /livez?", b"a" * 65_536),
        (b"GET /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n0\r\n", b"X: a\r\n" * 9000),
    ],
    ids=["value", "name", "fields", "address", "trailers"],
)
def test_a_head_without_end_is_cut_off(running: Installation, begin: bytes, part: bytes) -> None:
    sent, answer = flood(running, begin, iter(lambda: part, None))
    assert sent < FLOOD
    assert answer.closed
    assert 200 not in answer.statuses or b"\r\n0\r\n" in begin


def test_a_head_just_below_the_limit_is_read(running: Installation) -> None:
    filler = b"X: " + b"a" * (MAX_HEAD_BYTES - 1000) + b"\r\n"
    head = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    assert say(running, head + filler + b"\r\n").statuses == [200]
    assert say(running, head + filler + filler + b"\r\n").statuses == [400]


def test_a_large_body_counts_for_no_head(running: Installation) -> None:
    """However the bytes fall: a head cut in two, its body in the second half, the next head behind that."""
    body = order().ljust(200_000)
    request = post(running, with_length(body), body)
    assert say(running, request[:30], request[30:] + last(running)).statuses == [201, 200]


def test_requests_in_one_breath_are_answered_in_turn(running: Installation) -> None:
    body, ids = order(), [new_id() for _ in range(3)]
    named = [b"X-Request-Id: %s\r\n" % given.encode() for given in ids]
    address = b"GET /v1/model HTTP/1.1\r\nHost: a\r\n" + key(running)
    answer = say(
        running,
        address + named[0] + b"\r\n",
        post(running, named[1] + with_length(body), body)
        + address
        + named[2]
        + b"Connection: close\r\n\r\n"
        + last(running),
    )
    assert answer.statuses == [200, 201, 200], "one behind Connection: close is not answered"
    assert re.findall(rb"x-request-id: (\S+)", answer.text) == [given.encode() for given in ids]


def test_an_order_is_kept_once_or_not_at_all_whatever_half_closes(running: Installation) -> None:
    body, before = order(), log_size(running)
    say(running, post(running, with_length(body), body[:-1]), half_close=True)
    say(running, post(running, b"Transfer-Encoding: chunked\r\n", chunked(body)[:-2]), half_close=True)
    assert log_size(running) == before
    say(running, post(running, with_length(body), body), half_close=True)
    repeat = post(running, with_length(body) + b"Connection: close\r\n", body)
    while (again := say(running, repeat)).codes == ["idempotency_in_progress"]:
        pass
    assert again.statuses == [201], "whether or not the first was kept, it is answered in the end"
    kept = log_size(running)
    assert say(running, repeat).statuses == [201]
    assert log_size(running) == kept


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 64,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /livez HTTP/1.1\nHost: a\n\n",
        b"GET /livez\r\n\r\n",
        b"GET /livez HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /v1/\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G\0T /livez HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n" * 100 + b"x",
    ],
    ids=lambda said: repr(said[:24]),
)
def test_what_is_no_http_is_refused(running: Installation, said: bytes) -> None:
    answer = say(running, said)
    assert answer.closed
    assert answer.statuses in ([400], [])


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c", b"x"])
def test_nobody_is_let_into_another_protocol(running: Installation, protocol: bytes) -> None:
    upgrade = b"Connection: Upgrade, close\r\nUpgrade: %s\r\nSec-WebSocket-Version: 13\r\n" % protocol
    line = b"GET /v1/model HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    answer = say(running, line + upgrade + b"\r\n" + last(running))
    assert answer.closed
    assert answer.statuses in ([401], [403]), answer.text


def test_nobody_is_told_to_go_on_with_what_is_too_large(running: Installation) -> None:
    expecting = b"Expect: 100-continue\r\nConnection: close\r\n"
    answer = say(running, post(running, expecting + b"Content-Length: 99999999\r\n"))
    assert answer.statuses == [413]
    body = order()
    assert say(running, post(running, expecting + with_length(body), body)).statuses == [100, 201]


@pytest.mark.parametrize(
    "headers",
    [
        b"traceparent: \xff\xfe-zz\r\ntracestate: " + b"," * 900 + b"\r\n",
        b"traceparent: 00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01\r\n",
        b"X-Request-Id: a\tb\xff\r\n",
        b"X-Request-Id: " + b"a" * 5000 + b"\r\n",
        b"Accept: " + b"text/html,*/*;q=" * 1000 + b"\r\n",
        b"Cookie: " + b"mingbian_session=..;" * 500 + b"\r\n",
    ],
    ids=range(6),
)
def test_headers_of_no_use_do_no_harm(running: Installation, headers: bytes) -> None:
    for path in (b"/v1/model", b"/review"):
        head = b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" % path
        answer = say(running, head + headers + b"\r\n")
        assert answer.statuses in ([401], [303]), answer.text
        assert b"aaaaa" not in answer.text


def test_nothing_said_is_repeated(running: Installation) -> None:
    said = MARK.encode()
    for request in (
        post(running, b"Content-Length: %d\r\nConnection: close\r\n" % len(said), said),
        b"GET /v1/%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % said.hex("%").upper().encode(),
        b"GET /v1/orders/%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (b"%E5%9B%9E", said),
        b"GET /livez HTTP/1.1\r\nHost: a\r\n%s: a\r\n\r\n" % said,
        b"%s /livez HTTP/1.1\r\nHost: a\r\n\r\n" % said,
    ):
        answer = say(running, request)
        assert answer.closed
        assert 400 <= answer.statuses[0] < 500
        assert said not in answer.text
