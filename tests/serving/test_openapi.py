from __future__ import annotations

import json
import re
from typing import Any

from data.settings import ROOT
from data.store.database import Database
from models.triage import Triage
from serving.app import describe
from serving.errors import PROBLEM
from serving.messages import NewOrder
from tests.serving.conftest import Opened
from tests.serving.staffed import Service, an_order

COMMITTED = ROOT / "serving" / "openapi.json"


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(references(item) for item in value))
    return set()


def test_the_committed_document_is_the_one_that_is_served() -> None:
    assert json.loads(COMMITTED.read_text("utf-8")) == describe()


def test_the_service_serves_it(light: Service) -> None:
    served = light.anyone().get("/openapi.json")
    assert served.status_code == 200
    assert served.json() == describe()


def test_it_is_openapi_3_1_and_whole() -> None:
    document = describe()
    assert document["openapi"].startswith("3.1.")
    for reference in references(document):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    schemas = set(document["components"]["schemas"])
    used = {reference.rpartition("/")[2] for reference in references(document)}
    assert schemas - used == set()


def test_every_operation_says_how_it_fails_and_who_may() -> None:
    ids = []
    for path, methods in describe()["paths"].items():
        for operation in methods.values():
            ids.append(operation["operationId"])
            assert operation["summary"]
            assert PROBLEM in operation["responses"]["default"]["content"], path
            assert "422" not in operation["responses"]
            assert bool(operation.get("security")) == path.startswith("/v1/"), path
    assert len(ids) == len(set(ids))


def named_headers(document: dict[str, Any], answer: Any) -> dict[str, bool]:
    """The headers that the document names for an answer, and whether each is always there."""
    path = re.sub(r"/[0-9a-f-]{36}", "/{order_id}", answer.request.url.path)
    responses = document["paths"][path][answer.request.method.lower()]["responses"]
    response = responses.get(str(answer.status_code), responses["default"])
    found = {}
    for name, header in response["headers"].items():
        whole = document["components"]["headers"][name] if "$ref" in header else header
        found[name] = whole.get("required", False)
        if name in answer.headers:
            assert re.search(whole["schema"].get("pattern", ""), answer.headers[name]), name
    return found


def test_answers_carry_the_headers_that_the_document_names(
    opened: Opened, sqlite: Database, no_model: Triage
) -> None:
    document = describe()
    service = opened(sqlite, no_model, rate_limit=4)
    intake, anyone = service.caller("intake"), service.anyone()
    taken = intake.post("/v1/orders", json=an_order())
    answers = [
        taken,
        intake.get(f"/v1/orders/{taken.json()['order_id']}"),
        intake.post("/v1/orders", json={}),
        anyone.get("/v1/model"),
        anyone.get("/livez"),
        anyone.get("/metrics"),
        anyone.get("/readyz"),
        *(service.caller("auditor").get("/v1/model") for _ in range(12)),
    ]
    assert {answer.status_code for answer in answers} == {201, 200, 422, 401, 503, 429}
    for answer in answers:
        named = named_headers(document, answer)
        assert {name for name, always in named.items() if always} <= {
            name for name in named if name in answer.headers
        }, answer.request.url
        assert named["X-Request-Id"]
        assert ("Retry-After" in answer.headers) == ("Retry-After" in named)
        if answer.is_success:
            assert ("RateLimit" in answer.headers) == ("RateLimit" in named) == ("RateLimit-Policy" in named)


def test_every_operation_with_a_key_may_be_refused_for_now() -> None:
    for path, methods in describe()["paths"].items():
        for operation in methods.values():
            refused = {"429", "503"} & set(operation["responses"])
            expected = {"/livez": set(), "/metrics": set(), "/readyz": {"503"}}
            assert refused == expected.get(path, {"429", "503"}), path


def test_the_example_order_is_taken(light: Service) -> None:
    example = NewOrder.model_config["json_schema_extra"]["examples"][0]
    answer = light.caller("intake").post("/v1/orders", json=example)
    assert answer.status_code == 201, answer.text
    assert light.caller("intake").post("/v1/orders", json=an_order()).status_code == 201


def test_answers_have_the_members_that_the_document_names(light: Service) -> None:
    document = describe()
    answer = light.caller("intake").post("/v1/orders", json=an_order()).json()
    schema = document["components"]["schemas"]["DecisionMessage"]
    assert set(answer) == set(schema["properties"])
    assert set(schema["required"]) <= set(answer)
