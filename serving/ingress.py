"""What is refused before anything parses it: oversized, mistyped, ambiguous or unstorable requests."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Final, NoReturn
from urllib.parse import parse_qsl, unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data.errors import BadInput, Fault
from serving import strict_json

_BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_UTF8_JSON: Final = re.compile(r'application/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE)
_UTF8_FORM: Final = re.compile(
    r'application/x-www-form-urlencoded\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE
)
_UTF8_NDJSON: Final = re.compile(r'application/x-ndjson\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE)
_UPLOADS: Final = frozenset({"/v1/batches"})
_MAX_FORM_FIELDS: Final = 50
# Given twice, a proxy and this service could each go by another one.
_SINGLE: Final = (b"host", b"authorization", b"idempotency-key", b"if-match")
_BODY_PATIENCE_S: Final = 10.0


class ClientGone(Exception):
    """The caller hung up before the body was whole: there is nobody left to answer."""


class Ingress:
    """Pure ASGI middleware: reads a body once, up to a cap, checks it, and hands it on whole.

    Paths under `/v1/` take JSON; every other path takes HTML forms. An upload of lines is handed on as it
    comes: its route checks each line. Raises BadInput, which the envelope around it answers.
    """

    def __init__(
        self,
        app: ASGIApp,
        body_limit: int,
        known_names: Iterable[str],
        patience_s: float = _BODY_PATIENCE_S,
    ) -> None:
        """`patience_s` is for a whole body, from when its request is looked at."""
        self.app = app
        self.body_limit = body_limit
        self.patience_s = patience_s
        self.known_names = frozenset(known_names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        _check_address(scope)
        for name in _SINGLE:
            _header(scope, name)
        _check_framing(scope)
        if scope["method"] not in _BODY_METHODS:
            await self.app(scope, receive, send)
            return
        if scope["path"] in _UPLOADS:
            if scope["method"] == "POST":
                _declared_length(scope)
                _check_headers(scope)
            await self.app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self.patience_s):
                body = await self._read(scope, receive)
        except TimeoutError:
            raise BadInput("body_too_slow", f"请求体须在 {self.patience_s:.0f} 秒内发完") from None
        if body:
            _check_headers(scope)
            if scope["path"].startswith("/v1/"):
                strict_json.check(body, self.known_names)
            else:
                _check_form(body)
        await self.app(scope, _once(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body, or BadInput as soon as it is known to be too large."""
        if _declared_length(scope) > self.body_limit:
            self._too_large()
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > self.body_limit:
                self._too_large()
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    def _too_large(self) -> NoReturn:
        raise BadInput("body_too_large", f"请求体不得超过 {self.body_limit} 字节")


def _check_address(scope: Scope) -> None:
    """No NUL and nothing but UTF-8 in path and query: neither can be compared with what is stored."""
    raw = unquote_to_bytes(scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape"))
    query = unquote_to_bytes(scope["query_string"])
    for part in (raw, query):
        try:
            text = part.decode("utf-8")
        except UnicodeDecodeError:
            raise BadInput("request_malformed", "地址中含有非 UTF-8 字节") from None
        if "\0" in text:
            raise BadInput("request_malformed", "地址中含有空字符（U+0000）")


def _check_framing(scope: Scope) -> None:
    """The server undoes chunks and no other coding: what is sent `gzip, chunked` would be taken for plain."""
    coding = _header(scope, b"transfer-encoding")
    if coding is not None and coding.strip().lower() != "chunked":
        raise BadInput("request_malformed", "Transfer-Encoding 只可为 chunked")


def _declared_length(scope: Scope) -> int:
    """0 where none is declared; one of absurdly many digits is cut, and still absurd."""
    declared = _header(scope, b"content-length")
    if declared is not None and not declared.isdecimal():
        raise BadInput("request_malformed", "Content-Length 不是数字")
    return 0 if declared is None else int(declared[:20])


def _check_headers(scope: Scope) -> None:
    encoding = _header(scope, b"content-encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        raise BadInput("content_encoding", "请求体不得压缩（Content-Encoding）")
    declared = _header(scope, b"content-type") or ""
    if scope["path"] in _UPLOADS:
        if not _UTF8_NDJSON.fullmatch(declared.strip()):
            raise BadInput("unsupported_media_type", "请求体须为 UTF-8 的 application/x-ndjson")
    elif scope["path"].startswith("/v1/"):
        if not _UTF8_JSON.fullmatch(declared.strip()):
            raise BadInput("unsupported_media_type", "请求体须为 UTF-8 的 application/json")
    elif not _UTF8_FORM.fullmatch(declared.strip()):
        raise BadInput("unsupported_media_type", "表单须为 UTF-8 的 application/x-www-form-urlencoded")


def _check_form(body: bytes) -> None:
    try:
        fields = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=_MAX_FORM_FIELDS,
        )
    except ValueError:  # UnicodeError, a bad escape, or too many fields
        raise BadInput("request_malformed", "表单无法读取") from None
    if any("\0" in name or "\0" in value for name, value in fields):
        raise BadInput("text_nul", "文本中含有空字符（U+0000）", (Fault("", "文本中含有空字符（U+0000）"),))


def _header(scope: Scope, name: bytes) -> str | None:
    """A header's value; None when absent, and BadInput when it is given twice."""
    values = [value for key, value in scope["headers"] if key == name]
    if len(values) > 1:
        raise BadInput("request_malformed", "同一请求头出现多次")
    return values[0].decode("latin-1") if values else None


def _once(body: bytes, receive: Receive) -> Receive:
    """Deliver the body in one message, then whatever the server says next (that the caller left)."""
    delivered = False

    async def replay() -> Message:
        nonlocal delivered
        if delivered:
            return await receive()
        delivered = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
