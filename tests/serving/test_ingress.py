from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from data.errors import BadInput
from models.triage import Triage
from serving.errors import failure_of
from serving.ingress import Ingress
from tests.serving.staffed import Service, an_order, assert_problem

MARK = "回声qzx"
CHUNK = b" " * 65_536


@dataclass
class Heard:
    """What an application answered over bare ASGI, and how often it asked for more of the body."""

    asked: int = 0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def problem(self) -> dict[str, Any]:
        problem: dict[str, Any] = json.loads(self.body)
        return problem


def over_asgi(
    app: Any,
    headers: Iterable[tuple[bytes, bytes]],
    part: Callable[[int], dict[str, Any]],
    *,
    path: str = "/v1/orders",
) -> Heard:
    """One POST whose parts come from `part(number)`: what no well-behaved client library would send."""
    heard = Heard()

    async def receive() -> dict[str, Any]:
        heard.asked += 1
        return part(heard.asked - 1)

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            heard.status = message["status"]
            heard.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            heard.body += message.get("body", b"")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    asyncio.run(app(scope, receive, send))
    return heard


def whole(body: bytes) -> Callable[[int], dict[str, Any]]:
    return lambda _: {"type": "http.request", "body": body, "more_body": False}


JSON = (b"content-type", b"application/json")


def key_of(service: Service) -> tuple[bytes, bytes]:
    return (b"authorization", service.caller("intake").headers["authorization"].encode())


def post(service: Service, body: bytes, content_type: str | None = "application/json", **headers: str) -> Any:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        given["Content-Type"] = content_type
    return service.caller("intake").post("/v1/orders", content=body, headers=given)


def test_a_body_without_end_is_refused_at_the_cap(light: Service) -> None:
    endless = over_asgi(
        light.app, [JSON], lambda _: {"type": "http.request", "body": CHUNK, "more_body": True}
    )
    assert (endless.status, endless.problem["code"]) == (413, "body_too_large")
    assert endless.asked == light.settings.body_limit // len(CHUNK) + 1
    assert endless.headers["connection"] == "close"


def test_a_body_declared_too_large_is_not_read_at_all(light: Service) -> None:
    for declared in (b"262145", b"9" * 400):
        heard = over_asgi(light.app, [JSON, (b"content-length", declared)], whole(b"{}"))
        assert (heard.status, heard.problem["code"], heard.asked) == (413, "body_too_large", 0)


def test_a_length_that_lies_does_not_help(light: Service) -> None:
    heard = over_asgi(
        light.app,
        [JSON, (b"content-length", b"2")],
        lambda _: {"type": "http.request", "body": CHUNK, "more_body": True},
    )
    assert (heard.status, heard.problem["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("declared", [b"", b"-1", b"1e3", b"0x10", "٣".encode(), b"12, 12"])
def test_a_length_that_is_no_number_is_refused(light: Service, declared: bytes) -> None:
    heard = over_asgi(light.app, [JSON, (b"content-length", declared)], whole(b"{}"))
    assert (heard.status, heard.problem["code"]) == (400, "request_malformed")


def test_the_cap_itself_is_allowed(light: Service) -> None:
    body = json.dumps(an_order()).encode()
    limit = light.settings.body_limit
    assert post(light, body.ljust(limit)).status_code == 201
    assert_problem(post(light, body.ljust(limit + 1)), 413, "body_too_large")


def test_a_body_in_many_parts_is_read_whole(light: Service) -> None:
    body = json.dumps(an_order()).encode()

    def part(number: int) -> dict[str, Any]:
        return {
            "type": "http.request",
            "body": body[number : number + 1],
            "more_body": number < len(body) - 1,
        }

    assert over_asgi(light.app, [JSON, key_of(light)], part).status == 201


def test_nobody_is_answered_who_hung_up(light: Service) -> None:
    def part(number: int) -> dict[str, Any]:
        return (
            {"type": "http.request", "body": b"{", "more_body": True}
            if number == 0
            else {"type": "http.disconnect"}
        )

    heard = over_asgi(light.app, [JSON, key_of(light)], part)
    assert (heard.status, heard.body) == (0, b"")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/jsonx",
        "application/problem+json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=gbk",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; charset=gbk",
        "application/json, text/plain",
    ],
)
def test_only_json_is_taken(light: Service, content_type: str | None) -> None:
    answer = post(light, json.dumps(an_order(title=MARK)).encode(), content_type)
    assert_problem(answer, 415, "unsupported_media_type")
    assert MARK not in answer.text


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON;charset=UTF-8", 'application/json ; charset = "utf-8"'],
)
def test_json_by_any_spelling_is_taken(light: Service, content_type: str) -> None:
    assert post(light, json.dumps(an_order()).encode(), content_type).status_code == 201


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip", "x"])
def test_a_compressed_body_is_refused(light: Service, encoding: str) -> None:
    answer = post(light, json.dumps(an_order()).encode(), Content_Encoding=encoding)
    assert_problem(answer, 415, "content_encoding")


def test_identity_is_no_compression(light: Service) -> None:
    assert post(light, json.dumps(an_order()).encode(), Content_Encoding="identity").status_code == 201


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\xef\xbb\xbf" + json.dumps(an_order()).encode(), "json_byte_order_mark"),
        (json.dumps(an_order()).encode("utf-16"), "json_not_utf8"),
        (json.dumps(an_order(), ensure_ascii=False).encode("gb18030"), "json_not_utf8"),
        (f'{{"source":"{MARK}'.encode(), "json_malformed"),
        (f'{{"source":"{MARK}"}} x'.encode(), "json_malformed"),
        (f'{{"source":"{MARK}","source":"{MARK}"}}'.encode(), "json_duplicate_key"),
        (f'{{"{MARK}":1,"{MARK}":1}}'.encode(), "json_duplicate_key"),
        (f'{{"{MARK}":NaN}}'.encode(), "json_number"),
        (b'{"revision":Infinity}', "json_number"),
        (b'{"revision":1e999}', "json_number"),
        (b'{"revision":9007199254740993}', "json_number"),
        (b"[" * 21 + b"]" * 21, "json_too_deep"),
        (b"[" * 100_000, "json_too_deep"),
        (f'{{"content":"{MARK}\\ud800"}}'.encode(), "text_lone_surrogate"),
        (f'{{"content":"{MARK}\\u0000"}}'.encode(), "text_nul"),
        (f'{{"content":"{MARK}'.encode() + b'\xff"}', "json_not_utf8"),
    ],
)
def test_json_that_is_ambiguous_or_unstorable_is_refused(light: Service, body: bytes, code: str) -> None:
    answer = post(light, body)
    assert_problem(answer, 400, code)
    assert MARK not in answer.text


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"x"', b"1", b"[" * 20 + b"]" * 20])
def test_json_that_is_no_order_is_refused(light: Service, body: bytes) -> None:
    assert_problem(post(light, body), 422, "request_invalid")


@pytest.mark.parametrize("name", [b"content-type", b"content-encoding", b"content-length"])
def test_a_header_that_frames_the_body_comes_once(light: Service, name: bytes) -> None:
    body = json.dumps(an_order()).encode()
    value = {b"content-type": b"application/json", b"content-encoding": b"identity"}.get(
        name, str(len(body)).encode()
    )
    others = [header for header in (JSON, key_of(light)) if header[0] != name]
    heard = over_asgi(light.app, [*others, (name, value), (name, value)], whole(body))
    assert (heard.status, heard.problem["code"]) == (400, "request_malformed")


@pytest.mark.parametrize("name", [b"host", b"authorization", b"idempotency-key", b"if-match"])
def test_a_header_that_decides_comes_once(light: Service, name: bytes) -> None:
    """Two parsers on the way could each believe another one."""
    value = {key_of(light)[0]: key_of(light)[1]}.get(name, b'"1"')
    headers = [header for header in (JSON, key_of(light)) if header[0] != name]
    body = json.dumps(an_order()).encode()
    heard = over_asgi(light.app, [*headers, (name, value), (name, value)], whole(body))
    assert (heard.status, heard.problem["code"]) == (400, "request_malformed")
    assert over_asgi(light.app, [*headers, (name, value)], whole(body)).status == 201


@pytest.mark.parametrize("path", ["/v1/orders/%00", "/v1/orders/%FF", "/v1/orders/%ED%A0%80"])
def test_an_address_is_text(light: Service, path: str) -> None:
    assert_problem(light.caller("intake").get(path), 400, "request_malformed")


@pytest.mark.parametrize("query", ["status=%00", "after=%FF", "x=%C0%80"])
def test_a_query_is_text(light: Service, query: str) -> None:
    assert_problem(light.caller("reviewer").get(f"/v1/reviews?{query}"), 400, "request_malformed")


def test_what_ingress_refuses_needs_no_key(light: Service) -> None:
    """Nothing is looked up for a body that nobody can read."""
    answer = light.anyone().post("/v1/orders", content=b"{", headers={"Content-Type": "application/json"})
    assert_problem(answer, 400, "json_malformed")


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("application/x-www-form-urlencoded", b"key=%00", 400),
        ("application/x-www-form-urlencoded", b"key=%FF", 400),
        ("application/x-www-form-urlencoded", "key=钥".encode(), 400),
        ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 60), 400),
    ],
)
def test_pages_take_plain_forms_only(light: Service, content_type: str, body: bytes, status: int) -> None:
    answer = light.anyone().post("/login", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text


def test_a_body_must_come_within_its_time(light: Service) -> None:
    ingress = Ingress(light.app, body_limit=100, known_names=(), patience_s=0.05)

    async def stalled() -> dict[str, Any]:
        await asyncio.sleep(3600)
        raise AssertionError

    async def nobody(_: Any) -> None:
        raise AssertionError("nothing is to be said here")

    scope = {"type": "http", "method": "POST", "path": "/v1/orders", "query_string": b"", "headers": [JSON]}
    with pytest.raises(BadInput) as caught:
        asyncio.run(ingress(scope, stalled, nobody))
    assert caught.value.code == "body_too_slow"
    failure = failure_of(caught.value)
    assert (failure.status, failure.headers) == (408, {"Connection": "close"})


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity", b""])
def test_a_transfer_is_coded_in_chunks_or_not_at_all(light: Service, coding: bytes) -> None:
    headers = [JSON, key_of(light), (b"transfer-encoding", coding)]
    heard = over_asgi(light.app, headers, whole(json.dumps(an_order()).encode()))
    assert (heard.status, heard.problem["code"]) == (400, "request_malformed")


@pytest.mark.parametrize("coding", [b"chunked", b" Chunked "])
def test_chunks_are_read(light: Service, coding: bytes) -> None:
    headers = [JSON, key_of(light), (b"transfer-encoding", coding)]
    assert over_asgi(light.app, headers, whole(json.dumps(an_order()).encode())).status == 201


@pytest.mark.parametrize(("length", "status"), [(20_000, 201), (20_001, 422)])
def test_a_text_is_measured_before_anything_reads_it(
    light: Service, monkeypatch: pytest.MonkeyPatch, length: int, status: int
) -> None:
    """In code points: one above the Basic Multilingual Plane counts once, and its escapes once as well."""
    read: list[int] = []
    decide = Triage.decide

    def counted(triage: Triage, title: str, content: str, *rest: Any, **options: Any) -> Any:
        read.append(len(content))
        return decide(triage, title, content, *rest, **options)

    monkeypatch.setattr(Triage, "decide", counted)
    answer = post(light, json.dumps(an_order(content="😀" * length), ensure_ascii=length % 2 == 0).encode())
    assert answer.status_code == status, answer.text
    assert read == ([length] if status == 201 else [])
