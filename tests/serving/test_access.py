from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from data.store import credentials
from data.store.database import Database
from serving.app import describe
from tests.serving.batch_uploads import NDJSON, text
from tests.serving.staffed import (
    ROLES,
    Service,
    a_judgement,
    an_order,
    assert_problem,
    whole_story,
)

EVERYONE = set(ROLES)
DESK = {"reviewer", "adjudicator"}
AUDIT = {"auditor", "admin"}
# Written down a second time on purpose: a route that lets in more than this is a finding.
MAY = {
    ("post", "/v1/orders"): {"intake", "admin"},
    ("get", "/v1/orders/{order_id}"): {"intake", "reviewer", "adjudicator", "auditor", "admin"},
    ("get", "/v1/orders/{order_id}/record"): {"reviewer", "adjudicator", "auditor", "admin"},
    ("post", "/v1/batches"): {"intake", "admin"},
    ("get", "/v1/batches"): {"intake", "auditor", "admin"},
    ("get", "/v1/batches/{batch_id}"): {"intake", "auditor", "admin"},
    ("get", "/v1/batches/{batch_id}/results"): {"intake", "auditor", "admin"},
    ("get", "/v1/reviews"): DESK,
    ("get", "/v1/reviews/{review_id}"): DESK,
    ("post", "/v1/reviews/{review_id}/claim"): DESK,
    ("post", "/v1/reviews/{review_id}/release"): DESK,
    ("post", "/v1/reviews/{review_id}/judgement"): DESK,
    ("post", "/v1/reviews/{review_id}/resolve"): DESK,
    ("get", "/v1/audit/orders/{order_id}"): AUDIT,
    ("get", "/v1/audit/orders/{order_id}/export"): AUDIT,
    ("get", "/v1/audit/checkpoint"): AUDIT,
    ("get", "/v1/audit/inclusion"): AUDIT,
    ("get", "/v1/audit/consistency"): AUDIT,
    ("get", "/v1/audit/public-key"): AUDIT,
    ("get", "/v1/model"): EVERYONE,
}
OPEN = {("get", "/livez"), ("get", "/readyz"), ("get", "/metrics")}
QUERIES = {"/v1/audit/inclusion": {"index": "0"}, "/v1/audit/consistency": {"old": "0"}}


def operations() -> Iterator[tuple[str, str, set[str]]]:
    for path, methods in describe()["paths"].items():
        for method, operation in methods.items():
            yield method, path, set(operation.get("x-roles", ()))


def call(client: Any, method: str, path: str, decision: dict[str, Any], headers: Any = None) -> Any:
    """A request that is whole but for its key."""
    address = path.format(**decision, batch_id=decision["order_id"])
    if (method, path) == ("post", "/v1/batches"):
        given = {**NDJSON, "Idempotency-Key": "b-1", **(headers or {})}
        return client.post(address, content=text(an_order()), headers=given)
    body: dict[str, Any] | None = None
    if path == "/v1/orders":
        body = an_order()
    elif path.endswith("/release"):
        body = {"fence": 1}
    elif path.endswith(("/judgement", "/resolve")):
        body = a_judgement(1)
    return client.request(method, address, json=body, params=QUERIES.get(path), headers=headers)


def test_every_operation_is_in_the_matrix_with_its_roles() -> None:
    """That each role gets what this says and no more: tests/serving/test_role_matrix.py."""
    assert {(method, path): roles for method, path, roles in operations() if roles} == MAY
    assert {(method, path) for method, path, roles in operations() if not roles} == OPEN


@pytest.mark.parametrize(("method", "path"), MAY, ids=lambda part: part)
def test_without_a_key_nothing_is_told(light: Service, method: str, path: str) -> None:
    decision = whole_story(light)
    answer = call(light.anyone(), method, path, decision)
    assert_problem(answer, 401, "key_missing")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    for value in ("Basic bWI6bWI=", "Bearer", "mb_x", "Bearer x", "Bearer mb_x_y", "Token abc"):
        refused = call(light.anyone(), method, path, decision, {"Authorization": value})
        assert refused.status_code == 401, value


@pytest.mark.parametrize("path", sorted(path for _, path in OPEN))
def test_probes_need_no_key(light: Service, path: str) -> None:
    assert light.anyone().get(path).status_code in (200, 503)


def test_a_key_counts_only_whole(service: Service) -> None:
    key_id, key = service.issue("auditor")
    assert service.with_key(key).get("/v1/model").status_code == 200
    secret = key.rpartition("_")[2]
    for other in (
        key[:-1],
        key + "0",
        key.upper(),
        f"mb_{key_id}_{'0' * 64}",
        f"mb_{service.ids['admin']}_{secret}",
        f"mb_0198f0a2-7c1e-7d53-9f0e-4b1c2a3d4e5f_{secret}",
        secret,
        f"mb_{key_id}_{secret[:-1]}\u0661".encode().decode("latin-1"),
    ):
        answer = service.anyone().get(
            "/v1/model", headers={"Authorization": f"Bearer {other}".encode("latin-1")}
        )
        assert_problem(answer, 401, "key_unknown")


def test_a_revoked_key_is_refused(service: Service, database: Database) -> None:
    key_id, key = service.issue("auditor")
    with database.transaction() as conn:
        credentials.revoke(conn, key_id, service.clock(), "tests")
    assert_problem(service.with_key(key).get("/v1/model"), 401, "key_revoked")


def test_a_key_expires(service: Service) -> None:
    _, key = service.issue("auditor", expires_at=service.clock() + timedelta(hours=1))
    assert service.with_key(key).get("/v1/model").status_code == 200
    service.clock.ahead += timedelta(hours=1, seconds=1)
    assert_problem(service.with_key(key).get("/v1/model"), 401, "key_expired")


def test_a_cookie_is_no_key(light: Service) -> None:
    """A browser sends its cookie along with another site's request; software sends its key on purpose."""
    sessions = light.app.state.desk.sessions
    _, cookie = sessions.issue(light.ids["admin"], light.clock())
    client = light.anyone(cookies={"mingbian_session": cookie})
    assert_problem(client.get("/v1/model"), 401, "key_missing")
