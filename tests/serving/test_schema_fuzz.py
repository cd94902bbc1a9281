from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data.store.database import Database
from models.triage import Triage
from serving.app import describe
from tests.serving.conftest import Opened
from tests.serving.narrowed_document import narrowed
from tests.serving.schema_fuzzer import CHECKS, fuzz
from tests.serving.staffed import Service

# Far more calls than any key may make.
UNLIMITED = 1_000_000
WATCHED = "/v1/model"


@pytest.fixture
def fuzzed(opened: Opened, sqlite: Database, no_model: Triage, tmp_path: Path) -> Service:
    """Without a model now, and none to be found while it runs."""
    return opened(sqlite, no_model, rate_limit=UNLIMITED, bundle=tmp_path / "none")


@pytest.mark.timeout(900)  # a thousand requests are 20 seconds' work for a machine that does nothing else
def test_the_service_does_what_its_document_says_and_nothing_else(fuzzed: Service) -> None:
    """The same at length, with its figures: tests/benchmarks/test_schema_fuzz.py."""
    findings = fuzz(fuzzed, examples=3, scenarios=3)
    assert findings.failures == [], "\n".join(findings.lines())
    assert findings.operations == {
        f"{method.upper()} {path}" for path, methods in describe()["paths"].items() for method in methods
    }
    assert set(findings.checks) == CHECKS
    for operation in findings.operations:
        past_the_door = set(findings.of(operation)) - {400, 401, 403, 405, 415, 422}
        assert past_the_door, f"{operation}: nothing was asked that could be answered"


def test_each_operation_has_its_own_ways_of_failing(light: Service) -> None:
    paths = narrowed(light)["paths"]
    assert all(
        "default" not in operation["responses"] for path in paths.values() for operation in path.values()
    )
    assert {"403", "404", "409", "412", "422"} <= set(
        paths["/v1/reviews/{review_id}/claim"]["post"]["responses"]
    )
    assert set(paths["/livez"]["get"]["responses"]) == {"200", "400"}


Change = Callable[[Message], None]


class Altering:
    """Around everything: changes what the watched address answers."""

    def __init__(self, app: ASGIApp, change: Change) -> None:
        self.app, self.change = app, change

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def changed(message: Message) -> None:
            self.change(message)
            await send(message)

        await self.app(scope, receive, changed if scope.get("path") == WATCHED else send)


def _status(status: int) -> Change:
    def change(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["status"] = status

    return change


def _as_text(message: Message) -> None:
    if message["type"] == "http.response.start":
        headers = [pair for pair in message["headers"] if pair[0] != b"content-type"]
        message["headers"] = [*headers, (b"content-type", b"text/plain")]


def _without_a_member(message: Message) -> None:
    if message["type"] == "http.response.start":
        message["headers"] = [pair for pair in message["headers"] if pair[0] != b"content-length"]
    elif message["body"].startswith(b'{"ready"'):
        body = json.loads(message["body"])
        del body["versions"]
        message["body"] = json.dumps(body).encode()


def _without_allow(message: Message) -> None:
    if message["type"] == "http.response.start":
        message["headers"] = [pair for pair in message["headers"] if pair[0] != b"allow"]


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (_status(500), "not_a_server_error"),
        (_status(418), "status_code_conformance"),
        (_as_text, "content_type_conformance"),
        (_without_a_member, "response_schema_conformance"),
        (_without_allow, "unsupported_method"),
        (_status(200), "ignored_auth"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_service_that_does_otherwise_is_found_out(fuzzed: Service, change: Change, check: str) -> None:
    fuzzed.app.add_middleware(Altering, change=change)
    findings = fuzz(fuzzed, examples=1, scenarios=1, only=WATCHED)
    assert check in {failure.partition(":")[0] for failure in findings.failures}, "\n".join(findings.lines())
