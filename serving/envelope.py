"""What surrounds every answer: ids, security headers, access line, and the last catch of errors."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Final
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import tracing
from serving.errors import answer
from serving.ingress import ClientGone

_SANE_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
_SECURITY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_log = logging.getLogger("mingbian.access")

Observe = Callable[[str, str, int, float], None]


class Envelope:
    """Outermost middleware but for tracing: nothing leaves without it, an exception least of all.

    `observe(method, route, status, seconds)` is told of every answer; the route is its pattern, never the
    path, which may hold an order's number.
    """

    def __init__(self, app: ASGIApp, observe: Observe) -> None:
        self.app = app
        self.observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        span = tracing.position(scope)
        began = time.perf_counter()
        status = 0

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                if span is not None:
                    headers["traceparent"] = tracing.traceparent(span)
                headers.setdefault("Cache-Control", "no-store")
                headers.update(scope["state"].get("rate", {}))
                for name, value in _SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, stamped)
        except ClientGone:
            pass
        except Exception as error:
            response = answer(Request(scope), error)
            if status:
                raise  # headers are gone: let the server cut the connection rather than pretend
            await response(scope, receive, stamped)
        finally:
            seconds = time.perf_counter() - began
            route = _route(scope)
            self.observe(scope["method"], route, status, seconds)
            _log.info(
                "answered",
                extra={
                    "request_id": request_id,
                    "trace_id": tracing.trace_id(span),
                    "method": scope["method"],
                    "route": route,
                    "status": status,
                    "ms": round(seconds * 1000, 1),
                    "caller": scope["state"].get("caller_id"),
                },
            )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _SANE_ID.fullmatch(given):
                return str(given)
    return uuid4().hex


def _route(scope: Scope) -> str:
    route = scope.get("route")
    return getattr(route, "path", "(none)")
