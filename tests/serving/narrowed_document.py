"""The API's description with more said than it says, so that more can be found wrong; the fuzzer reads it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

from tests.serving.staffed import Service

NDJSON: Final = "application/x-ndjson"
AFTER_CLAIMING: Final = ("release", "judgement", "resolve")
_ORDER: Final = "/v1/orders/{order_id}"
_REVIEW: Final = "/v1/reviews/{review_id}"
_FENCE: Final = {"fence": "$response.body#/fence"}
# Whose answer's ids go into which request: its path, the status, that path, the parameters, the body.
_CHAINS: Final[tuple[tuple[str, str, str, dict[str, str], dict[str, str]], ...]] = (
    ("/v1/orders", "201", _ORDER, {"order_id": "$response.body#/order_id"}, {}),
    ("/v1/orders", "201", f"{_ORDER}/record", {"order_id": "$response.body#/order_id"}, {}),
    ("/v1/orders", "201", f"{_REVIEW}/claim", {"review_id": "$response.body#/review_id"}, {}),
    *(
        (f"{_REVIEW}/claim", "200", f"{_REVIEW}/{step}", {"review_id": "$response.body#/id"}, _FENCE)
        for step in AFTER_CLAIMING
    ),
    (
        f"{_REVIEW}/judgement",
        "200",
        f"{_REVIEW}/resolve",
        {"review_id": "$response.body#/id"},
        {"fence": "$request.body#/fence"},
    ),
    ("/v1/batches", "202", "/v1/batches/{batch_id}", {"batch_id": "$response.body#/batch_id"}, {}),
    ("/v1/batches", "202", "/v1/batches/{batch_id}/results", {"batch_id": "$response.body#/batch_id"}, {}),
)


def narrowed(service: Service) -> dict[str, Any]:
    """The served document, made stricter and longer.

    `default` allows an operation every way of failing, so each gets a list of its own. Lines are described as
    arrays, which a generator and a validator can read. Links name the chains.
    """
    document: dict[str, Any] = deepcopy(service.anyone().get("/openapi.json").json())
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            responses = operation["responses"]
            problem = responses.pop("default")
            for refused in ("429", "503"):  # nobody calls too often here, and nothing is missing but a model
                responses.pop(refused, None)
            responses |= {str(status): problem for status in _problems(path, method, operation)}
            for spoken in (operation.get("requestBody", {}), *responses.values()):
                lines = spoken.get("content", {}).get(NDJSON)
                if lines is not None:
                    lines["schema"] = lines["schema"]["contentSchema"]
    for source, status, target, parameters, body in _CHAINS:
        _link(document["paths"], source, status, target, parameters, body)
    return document


def _problems(path: str, method: str, operation: dict[str, Any]) -> list[int]:
    parameters = {parameter["name"] for parameter in operation.get("parameters", ())}
    statuses = [400]
    if path == "/readyz":
        statuses.append(503)
    if operation.get("x-roles"):
        statuses += [401, 403]
    if "{" in path:
        statuses.append(404)
    if parameters:
        statuses.append(422)
    if method == "post":
        statuses.append(409)
    if "If-Match" in parameters:
        statuses.append(412)
    if "requestBody" in operation:
        statuses += [413, 415]
    return statuses


def _link(
    paths: dict[str, Any],
    source: str,
    status: str,
    target: str,
    parameters: dict[str, str],
    body: dict[str, str],
) -> None:
    (operation,) = paths[target].values()
    link = {"operationId": operation["operationId"], "parameters": parameters}
    answer = paths[source]["post"]["responses"][status]
    answer.setdefault("links", {})[target] = {**link, "requestBody": body} if body else link
