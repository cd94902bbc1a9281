"""Calls every operation in every way its description allows and forbids; fuzz tests and the bench use it."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.engine import events
from schemathesis.openapi.checks import RejectedPositiveData
from starlette.types import Receive, Scope, Send

from data.records import Role
from tests.serving.narrowed_document import AFTER_CLAIMING, NDJSON, narrowed
from tests.serving.staffed import Service, a_judgement, claimed, judged, post_urgent

CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
}
# Nothing is said of who owns what in an OpenAPI document; test_orders.py holds that each caller sees its own.
LEFT_OUT = {"object_level_authorization"}
# What looks wrong and is right, by the answer's `code`, and counted: mostly a request that is valid by its
# schema and refused all the same, since a schema knows neither the state nor the city's codes.
EXCUSED = {
    "audit_range": "the log is shorter",
    "batch_empty": "no line of it is anything but blank",
    "batch_line_differs": "the key is that of a batch with other lines",
    "batch_shorter": "the key is that of a batch with more lines",
    "change_reason_missing": "a resolution says why it differs from the judgement before it",
    "code_unknown": "the taxonomy's codes are the city's, not the API's",
    "cursor_unknown": "no review has this id",
    "ground_mismatch": "a ground goes with one verdict only: a rule between two members",
    "if_match_form": "the library's boundary values lose an ETag's quotation marks on their way",
    "idempotency_mismatch": "the key was used for another request",
    "lines": "a batch takes any lines, and refuses each by itself among its results",
    "model_missing": "no model is loaded, and readiness says so: the only 5xx that is right",
    "version_stale": "If-Match names a version that has passed",
}
UNREADY = ("GET /readyz", 503, "model_missing")
DESK: tuple[Role, ...] = ("reviewer", "adjudicator")


@dataclass
class Findings:
    """What a run saw: requests by operation and status, checks made, failures found and excused."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def operations(self) -> set[str]:
        return {operation for operation, _ in self.requests}

    def of(self, operation: str) -> dict[int, int]:
        """How often each status was answered."""
        return {status: count for (name, status), count in sorted(self.requests.items()) if name == operation}

    def lines(self) -> Iterator[str]:
        for operation in sorted(self.operations):
            statuses = self.of(operation)
            spelled = "  ".join(f"{status}: {count}" for status, count in statuses.items())
            yield f"{sum(statuses.values()):>6}  {operation:<45} {spelled}"
        yield f"{self.requests.total():>6}  requests"
        yield f"{self.checks.total():>6}  checks, {len(self.failures)} of them failed"
        for code, count in self.excused.most_common():
            yield f"{count:>6}  excused: {code}, {EXCUSED[code]}"
        yield from self.failures


def fuzz(service: Service, examples: int, scenarios: int, only: str | None = None) -> Findings:
    """Every phase there is: the document's examples, its boundaries, random requests, and chains of them.

    Args:
        examples: random requests for each operation.
        scenarios: chains, in which one answer's ids go into the next request.
        only: the one path to be called.

    The same seed makes the same choices; ids differ from run to run.
    """
    findings = Findings()
    schema = schemathesis.openapi.from_dict(narrowed(service), config=_config(service, examples, scenarios))
    if only is not None:
        schema = schema.include(path=only)
    schema.app = _without_lifespan(service)
    schema.auth(refresh_interval=None)(_keys_for(service))
    schema.hook("filter_failure")(_accepting(findings))
    schema.hook("map_body")(_with_its_ground)
    worker = service.app.state.batch_worker
    worker.start()
    try:
        for event in engine.from_schema(schema).execute():
            match event:
                case events.ScenarioFinished():
                    _count(findings, event)
                case events.NonFatalError():
                    findings.failures.append(f"{event.label}: {event.value!r}")
                case events.FatalError():
                    raise event.exception
    finally:
        worker.stop()
    return findings


def _config(service: Service, examples: int, scenarios: int) -> SchemathesisConfig:
    orders, reviews = _in_every_state(service)
    taxonomy = service.triage.taxonomy
    known: dict[str, tuple[str, list[Any], float]] = {
        "orders": ("path.order_id", orders, 0.8),
        "reviews": ("path.review_id", reviews, 0.8),
        "cursors": ("query.after", reviews, 0.5),
        "etags": ("header.If-Match", ["*", "*", '"1"', '"2"', '"3"'], 0.8),
        "fences": ("body.fence", [1, 1, 2], 0.8),
        "kinds": ("body.kind", list(taxonomy.groups["kind"]), 0.9),
        "subjects": ("body.subject", list(taxonomy.groups["subject"]), 0.9),
        "grounds": ("body.ground", [ground.code for ground in taxonomy.grounds], 0.9),
    }
    refusals = [400, 401, 403, 404, 405, 409, 412, 413, 415, 422]
    # A key that is made up gets nowhere, and ignored_auth tries one by itself.
    with_real_keys = {"with-security-parameters": False}
    return SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "continue-on-failure": True,
            "generation": {"deterministic": True, "database": "none"},
            "checks": {
                **{name: {"enabled": False} for name in LEFT_OUT},
                "negative_data_rejection": {"expected-statuses": refusals},
                "positive_data_acceptance": {"expected-statuses": ["2xx", 403, 404, 409]},
            },
            "phases": {
                "fuzzing": {"generation": {"max-examples": examples, **with_real_keys}},
                "stateful": {"generation": {"max-examples": scenarios, **with_real_keys}},
            },
            "dictionaries": {name: {"values": values} for name, (_, values, _) in known.items()},
            "parameters": {
                place: {"dictionary": name, "probability": share} for name, (place, _, share) in known.items()
            },
        }
    )


def _in_every_state(service: Service) -> tuple[list[str], list[str]]:
    """Orders and their reviews: open, claimed, judged and resolved, and each by some role of the desk."""
    orders, reviews = [], []
    for step in 2 * ("claim", "judgement", "resolve", "nothing"):
        order_id, review_id, _ = _waiting_for(service, step)
        orders.append(order_id)
        reviews.append(review_id)
    return orders, reviews


def _waiting_for(service: Service, step: str) -> tuple[str, str, int]:
    """A new order whose review waits for this step; both ids, and the fence."""
    decision = post_urgent(service)
    review_id = decision["review_id"]
    client = service.caller(_choice(DESK, review_id))
    fence = 0
    if step in ("release", "judgement"):
        fence = claimed(service, review_id, client)
    elif step in ("resolve", "nothing"):
        fence = judged(service, review_id, client)
    if step == "nothing":
        answer = client.post(f"/v1/reviews/{review_id}/resolve", json=a_judgement(fence))
        assert answer.status_code == 200, answer.text
    return decision["order_id"], review_id, fence


def _choice(roles: Sequence[Role], subject: str) -> Role:
    """One of the roles, always the same for what is acted on: who claimed a review also judges it."""
    return roles[zlib.crc32(subject.encode()) % len(roles)]


def _without_lifespan(service: Service) -> Any:
    """The application without its work in the background, which nobody would end before the database."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await service.app(scope, receive, send)

    return app


def _keys_for(service: Service) -> type:
    """A provider of keys whose role may do what is asked.

    Half of the valid steps of a review get, at that moment, a review that waits for just this step: by chance
    hardly any would.
    """

    class Keys:
        def get(self, case: schemathesis.Case, _: schemathesis.AuthContext) -> str:
            step = case.path.rpartition("/")[2]
            valid = case.meta is not None and case.meta.generation.mode.is_positive
            if valid and step in AFTER_CLAIMING and zlib.crc32(repr(case.body).encode()) % 2:
                _, review_id, fence = _waiting_for(service, step)
                case.path_parameters["review_id"], case.body["fence"] = review_id, fence
                case.headers.pop("If-Match", None)
            roles = case.operation.definition.raw.get("x-roles") or ["auditor"]
            # What admin sends in, intake may not read: chains would break for a good reason.
            role = roles[0] if case.method == "POST" and "{" not in case.path else None
            subject = "".join(str(value) for value in case.path_parameters.values())
            key: str = service.caller(role or _choice(roles, subject)).headers["authorization"]
            return key

        def set(self, case: schemathesis.Case, data: str, _: schemathesis.AuthContext) -> None:
            case.headers["Authorization"] = data

    return Keys


def _with_its_ground(_: Any, body: Any) -> Any:
    """Half of the judgements made consistent: by chance alone few would get past the first step."""
    match body:
        case {"verdict": "reasonable", "reason": str(reason)} if len(reason) % 2:
            return {**body, "ground": None}
        case {"verdict": "unreasonable", "reason": str(reason)} if len(reason) % 2:
            return {**body, "ground": body.get("ground") or "civil_or_market"}
    return body


def _accepting(findings: Findings) -> Any:
    """A hook that drops what is excused, and counts it."""

    def keep(_: Any, failure: Failure, case: schemathesis.Case, response: schemathesis.Response) -> bool:
        excuse = _excuse(failure, case, response)
        findings.excused.update(excuse)
        return not excuse

    return keep


def _excuse(failure: Failure, case: schemathesis.Case, response: schemathesis.Response) -> list[str]:
    """Why it is none, in one word of EXCUSED, if there is one."""
    code = _code_of(response)
    if (case.operation.label, response.status_code, code) == UNREADY:
        return [code]
    if isinstance(failure, AcceptedNegativeData):
        return ["lines"] if case.media_type == NDJSON else []
    whole_tag = code == "if_match_form" and '"' in case.headers["If-Match"]
    refused = isinstance(failure, RejectedPositiveData) and not whole_tag
    return [code] if refused and code in EXCUSED else []


def _code_of(response: schemathesis.Response) -> str:
    try:
        return str(json.loads(response.content)["code"])
    except (ValueError, KeyError, TypeError):
        return ""


@schemathesis.serializer(NDJSON)
def _as_lines(_: Any, body: Any) -> bytes:
    """One line for each item; what is no array is a line of its own."""
    if isinstance(body, bytes):
        return body
    lines = body if isinstance(body, list) else [body]
    return "\n".join(json.dumps(line) for line in lines).encode()


@schemathesis.deserializer(NDJSON)
def _from_lines(_: Any, response: schemathesis.Response) -> list[Any]:
    return [json.loads(line) for line in response.content.splitlines()]


def _count(findings: Findings, event: events.ScenarioFinished) -> None:
    recorder = event.recorder
    for case_id, interaction in recorder.interactions.items():
        label = recorder.cases[case_id].value.operation.label
        findings.requests[label, interaction.response.status_code if interaction.response else 0] += 1
    for case_id, made in recorder.checks.items():
        for check in made:
            findings.checks[check.name] += 1
            if check.failure_info is not None:
                response = recorder.interactions[case_id].response
                body = response.content.decode("utf-8", "replace")[:300] if response else ""
                said = check.failure_info.failure.message
                findings.failures.append(f"{check.name}: {said}\n{check.failure_info.code_sample}\n{body}\n")
