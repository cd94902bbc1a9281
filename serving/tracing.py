"""A request's place in its caller's trace, and spans for a collector; `envelope` and `create_app` call it."""

from __future__ import annotations

import logging
import os
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# FastAPI's own telemetry would export paths, queries and the messages of exceptions, and those quote orders.
NO_TELEMETRY_OF_ITS_OWN: Final[TelemetryConfig] = {
    "auto_configure": False,
    "tracing": False,
    "metrics": False,
    "logs": False,
}
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PROPAGATOR: Final = TraceContextTextMapPropagator()

_log = logging.getLogger("mingbian.tracing")


def install(app: FastAPI) -> None:
    """Send a span of every request to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names, if it is set.

    To be the last middleware added: a span around everything knows how the request ended. The other
    `OTEL_*` variables mean what the OpenTelemetry specification says; the transport is OTLP over HTTP.
    """
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return
    provider = _exporting()
    if provider is None:
        _log.warning("traces are asked for, but the extra `telemetry` is not installed")
        return
    app.add_middleware(Tracing, provider=provider)


def position(scope: Scope) -> SpanContext | None:
    """The request's own span, or else what a valid `traceparent` says of the caller's (W3C Trace Context)."""
    known: SpanContext | None = scope.get("state", {}).get("span")
    if known is not None:
        return known
    given = _given(scope)
    # Several of them, and nobody can say which one is meant.
    carrier = {"traceparent": given[0]} if len(given) == 1 else {}
    found = trace.get_current_span(_PROPAGATOR.extract(carrier)).get_span_context()
    return found if found.is_valid else None


def trace_id(at: SpanContext | None) -> str | None:
    """As 32 hexadecimal digits."""
    return None if at is None else trace.format_trace_id(at.trace_id)


def traceparent(at: SpanContext) -> str:
    """The header's value, version 00."""
    return f"00-{trace.format_trace_id(at.trace_id)}-{trace.format_span_id(at.span_id)}-{at.trace_flags:02x}"


class Tracing:
    """Pure ASGI middleware: one span a request, with its method, its route's pattern, its status and its id.

    Never a path, a query, a header or a body. Of the caller's context only `traceparent` is read: what
    stands in `tracestate` and `baggage` is anybody's text.
    """

    def __init__(self, app: ASGIApp, provider: TracerProvider) -> None:
        self.app = app
        self._provider = provider
        self._tracer = provider.get_tracer("mingbian")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._traced(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            if scope["type"] == "lifespan":
                # The API's provider has no such method; the SDK's sends what it still holds.
                await run_in_threadpool(getattr(self._provider, "shutdown", lambda: None))

    async def _traced(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        caller = position(scope)
        parent = None if caller is None else trace.set_span_in_context(trace.NonRecordingSpan(caller))
        status = 0

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        # An exception is not recorded: its message may quote what was sent.
        with self._tracer.start_as_current_span(
            method, parent, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            scope.setdefault("state", {})["span"] = span.get_span_context()
            try:
                await self.app(scope, receive, observed)
            finally:
                route = getattr(scope.get("route"), "path", None)
                span.update_name(method if route is None else f"{method} {route}")
                span.set_attribute("http.request.method", method)
                span.set_attribute("mingbian.request_id", scope["state"].get("request_id", ""))
                if route is not None:
                    span.set_attribute("http.route", route)
                if status:
                    span.set_attribute("http.response.status_code", status)
                if not status or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    span.set_status(StatusCode.ERROR)


def _given(scope: Scope) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"]


def _exporting() -> TracerProvider | None:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider as ExportingProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        return None
    named = Resource({"service.name": "mingbian"}).merge(OTELResourceDetector().detect())
    # Ended with the application, which the process outlives only in tests.
    provider = ExportingProvider(resource=named, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
