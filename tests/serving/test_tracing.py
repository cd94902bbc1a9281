from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from serving import tracing
from tests.serving.staffed import Service, an_order, everything, judged

MARK = "密语qzx"
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{CALLER}-01"


@pytest.fixture
def spans(light: Service) -> Iterator[InMemorySpanExporter]:
    """What `light` would send to its collector."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    light.app.add_middleware(tracing.Tracing, provider=provider)
    yield exporter
    provider.shutdown()


def of_orders(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == "POST /v1/orders"]


def line_of(caplog: pytest.LogCaptureFixture) -> dict[str, object]:
    (record,) = [record for record in caplog.records if record.name == "mingbian.access"]
    return vars(record)


def test_a_span_tells_how_a_request_went_and_belongs_to_the_caller_s_trace(
    light: Service, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mingbian.access"):
        answer = light.caller("intake").post("/v1/orders", json=an_order(), headers={"traceparent": GIVEN})
    (span,) = of_orders(spans)
    assert span.kind is SpanKind.SERVER
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == CALLER
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/orders",
        "http.response.status_code": 201,
        "mingbian.request_id": answer.headers["x-request-id"],
    }
    assert answer.headers["traceparent"] == f"00-{TRACE}-{span.context.span_id:016x}-01"
    assert line_of(caplog)["trace_id"] == TRACE


def test_without_a_caller_s_trace_one_begins(
    light: Service, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mingbian.access"):
        light.caller("intake").post("/v1/orders", json=an_order())
    (span,) = of_orders(spans)
    assert span.parent is None
    assert line_of(caplog)["trace_id"] == f"{span.context.trace_id:032x}"


def test_what_was_refused_and_what_failed_has_a_span_too(
    light: Service, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    light.caller("intake").post("/v1/orders", content=b"{", headers={"Content-Type": "application/json"})
    light.anyone().request("BREW", "/livez")

    def broken(*_: object) -> None:
        raise RuntimeError(MARK)

    monkeypatch.setattr("serving.routes.health.Health", broken)
    assert light.anyone(raise_server_exceptions=False).get("/livez").status_code == 500
    refused, unknown, failed = spans.get_finished_spans()
    assert refused.name == "POST"
    assert refused.attributes["http.response.status_code"] == 400
    assert refused.status.status_code is StatusCode.UNSET
    assert unknown.attributes["http.request.method"] == "_OTHER"
    assert failed.name == "GET /livez"
    assert failed.status.status_code is StatusCode.ERROR
    assert MARK not in failed.to_json()


def test_no_word_of_an_order_is_in_a_span(light: Service, spans: InMemorySpanExporter) -> None:
    order = an_order(title=f"{MARK}题", content=f"{MARK}文。不想活了，站在楼顶边上", number=f"{MARK}号")
    free_text = {
        "traceparent": GIVEN,
        "tracestate": "a=qzxqzx",
        "baggage": "b=qzxqzx",
        "User-Agent": "qzxqzx",
    }
    decision = light.caller("intake").post("/v1/orders", json=order, headers=free_text).json()
    judged(light, decision["review_id"])
    auditor = light.caller("auditor")
    auditor.get(f"/v1/orders/{decision['order_id']}/record")
    auditor.get(f"/v1/orders/{MARK}?cursor={MARK}")
    light.caller("intake").post("/v1/orders", json={**order, MARK: MARK})
    finished = spans.get_finished_spans()
    assert len(finished) == 6
    for span in finished:
        assert span.events == ()
        written = everything(json.loads(span.to_json()))
        for secret in (MARK, "qzx", decision["order_id"], decision["review_id"]):
            assert secret not in written


@pytest.mark.parametrize("given", [[GIVEN], [GIVEN.replace("00-", "01-", 1) + "-later"]])
def test_without_a_collector_the_log_and_the_answer_still_know_the_caller_s_trace(
    light: Service, caplog: pytest.LogCaptureFixture, given: list[str]
) -> None:
    with caplog.at_level(logging.INFO, "mingbian.access"):
        answer = light.anyone().get("/livez", headers=[("traceparent", value) for value in given])
    assert line_of(caplog)["trace_id"] == TRACE
    assert answer.headers["traceparent"].startswith(f"00-{TRACE}-{CALLER}-")


@pytest.mark.parametrize(
    "given",
    [
        [],
        [GIVEN, GIVEN.replace("4bf9", "aaaa")],
        [GIVEN + "-more"],
        [GIVEN.upper()],
        [f"ff-{TRACE}-{CALLER}-01"],
        [f"00-{'0' * 32}-{CALLER}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        ["qzx"],
        ["0" * 600],
    ],
)
def test_what_is_no_traceparent_is_nobody_s_trace(
    light: Service, caplog: pytest.LogCaptureFixture, given: list[str]
) -> None:
    with caplog.at_level(logging.INFO, "mingbian.access"):
        answer = light.anyone().get("/livez", headers=[("traceparent", value) for value in given])
    assert answer.status_code == 200
    assert line_of(caplog)["trace_id"] is None
    assert "traceparent" not in answer.headers


def test_spans_reach_the_collector_that_the_environment_names(
    light: Service, monkeypatch: pytest.MonkeyPatch, collector: tuple[str, list[bytes]]
) -> None:
    url, received = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    tracing.install(light.app)
    with light.caller("intake") as intake:  # as a server does, it starts and stops the application
        intake.post("/v1/orders", json=an_order(content=MARK), headers={"traceparent": GIVEN})
    message = ExportTraceServiceRequest()
    for body in received:
        message.MergeFromString(body)
        assert MARK.encode() not in body
    (resource,) = message.resource_spans
    named = {item.key: item.value.string_value for item in resource.resource.attributes}
    assert named["service.name"] == "mingbian"
    (span,) = resource.scope_spans[0].spans
    assert (span.name, span.trace_id.hex()) == ("POST /v1/orders", TRACE)


def test_nothing_is_installed_unasked_or_without_the_extra(
    light: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = list(light.app.user_middleware)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    tracing.install(light.app)
    assert caplog.records == []
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    tracing.install(light.app)
    assert [record.name for record in caplog.records] == ["mingbian.tracing"]
    assert light.app.user_middleware == before


def test_the_framework_s_own_telemetry_is_off(light: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would export paths and the messages of exceptions as soon as anything configures a provider."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace.get_tracer_provider", lambda: provider)
    light.caller("intake").post("/v1/orders", json=an_order())
    assert exporter.get_finished_spans() == ()
    provider.shutdown()


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """The address of an OTLP receiver, and the bodies it was sent."""
    received: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                received.append(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    thread.join()
    server.server_close()
