from __future__ import annotations

import json
from typing import Any

from data.settings import ROOT
from serving.app import describe
from serving.errors import PROBLEM
from serving.messages import NewOrder
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
