from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text

from data.records import Prediction
from data.store.database import Database
from models.encoder_classifier import EncoderClassifier
from models.triage import Triage
from tests.serving.conftest import Opened
from tests.serving.manifests import server
from tests.serving.staffed import Service, an_order, assert_problem

# What a cluster decides by whether a server gets calls.
SENT_CALLS_BY = server()["readinessProbe"]["httpGet"]["path"]


def test_a_whole_service_is_alive_and_ready(opened: Opened, database: Database, tiny_triage: Triage) -> None:
    client = opened(database, tiny_triage).anyone()
    assert client.get("/livez").json() == {"status": "alive"}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    assert "mingbian_ready 1.0" in client.get("/metrics").text


def test_the_shipped_bundle_makes_it_ready_or_says_what_is_missing(service: Service) -> None:
    answer = service.anyone().get("/readyz")
    if service.triage.ready:
        assert answer.status_code == 200
    else:
        assert_problem(answer, 503, service.triage.missing or "")


def test_a_model_that_fails_on_every_order_is_not_ready_until_it_answers(
    opened: Opened, sqlite: Database, tiny_triage: Triage, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = opened(sqlite, tiny_triage)
    intake, anyone = service.caller("intake"), service.anyone()

    def broken(_classifier: Any, _readings: Any) -> list[Prediction]:
        raise RuntimeError("broken")

    with monkeypatch.context() as patched:
        patched.setattr(EncoderClassifier, "classify", broken)
        for number in range(5):
            assert anyone.get("/readyz").status_code == 200, f"unready after {number} of them"
            answer = intake.post("/v1/orders", json=an_order())
            assert (answer.status_code, answer.json()["fallback"]) == (201, "model_error")
        assert_problem(anyone.get("/readyz"), 503, "model_error")
        assert "mingbian_ready 0.0" in anyone.get("/metrics").text
    assert intake.post("/v1/orders", json=an_order()).json()["fallback"] is None
    assert anyone.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/login", "/review"]
)
def test_probes_and_pages_answer_head_as_get_without_a_body(light: Service, path: str) -> None:
    client = light.anyone(follow_redirects=False, headers={"Accept": "text/html"})
    whole, head = client.get(path), client.head(path)
    assert head.status_code == whole.status_code != 405
    assert head.content == b""
    varying = {"x-request-id", "traceparent", "set-cookie", "content-length"}
    assert {n: v for n, v in head.headers.items() if n not in varying} == {
        n: v for n, v in whole.headers.items() if n not in varying
    }


def test_head_is_counted_and_logged_under_its_own_name(light: Service) -> None:
    light.anyone().head("/livez")
    line = r'mingbian_request_seconds_count\{method="HEAD",route="/livez",status="200"\} 1\.0'
    assert re.search(line, light.anyone().get("/metrics").text)


def test_the_api_has_no_head_and_says_so(light: Service) -> None:
    answer = light.caller("auditor").head("/v1/model")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert light.anyone().post("/livez").headers["allow"] == "GET, HEAD"


def test_calls_are_sent_to_whoever_can_answer_by_the_rules(
    light: Service, opened: Opened, database: Database, tiny_triage: Triage
) -> None:
    assert_problem(light.anyone().get("/readyz"), 503, "model_missing")
    degraded = light.anyone().get(SENT_CALLS_BY)
    assert (degraded.status_code, degraded.json()) == (200, {"status": "degraded"})
    assert light.caller("intake").post("/v1/orders", json=an_order()).status_code == 201
    whole = opened(database, tiny_triage).anyone().get(SENT_CALLS_BY)
    assert (whole.status_code, whole.json()) == (200, {"status": "ready"})
    with light.database.transaction() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = 'older'"))
    assert_problem(light.anyone().get(SENT_CALLS_BY), 503, "migrations_pending")


def test_readiness_excludes_the_model_and_nothing_else(light: Service) -> None:
    for what in ("database", "", "Model"):
        assert light.anyone().get("/readyz", params={"exclude": what}).status_code == 422


def test_pending_migrations_are_not_ready(opened: Opened, database: Database, tiny_triage: Triage) -> None:
    service = opened(database, tiny_triage)
    with database.transaction() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = 'older'"))
    assert_problem(service.anyone().get("/readyz"), 503, "migrations_pending")
    assert service.anyone().get("/livez").status_code == 200


@pytest.fixture
def cut_off(opened: Opened, sqlite: Database, sqlite_url: str, tiny_triage: Triage) -> Service:
    """A service whose database has gone away."""
    service = opened(sqlite, tiny_triage)
    sqlite.close()
    path = Path(str(make_url(sqlite_url).database))
    path.unlink()
    path.mkdir()
    return service


def test_without_its_database_the_service_lives_and_answers_nothing(cut_off: Service) -> None:
    intake = cut_off.caller("intake")
    answers: list[Any] = [
        intake.post("/v1/orders", json=an_order()),
        intake.post("/v1/orders", json=an_order(), headers={"Idempotency-Key": "k-1"}),
        intake.get("/v1/orders/0198f0a2-7c1e-7d53-9f0e-4b1c2a3d4e5f"),
        cut_off.caller("reviewer").get("/v1/reviews"),
        cut_off.caller("auditor").get("/v1/audit/checkpoint"),
        cut_off.anyone().get("/readyz"),
        cut_off.anyone().get(SENT_CALLS_BY),
    ]
    for answer in answers:
        assert_problem(answer, 503, "database_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    assert cut_off.anyone().get("/livez").json() == {"status": "alive"}
    assert cut_off.anyone().get("/metrics").status_code == 200


def test_a_database_that_comes_back_needs_no_restart(
    cut_off: Service, sqlite_url: str, sqlite_template: Path
) -> None:
    path = Path(str(make_url(sqlite_url).database))
    path.rmdir()
    path.write_bytes(sqlite_template.read_bytes())
    client = cut_off.with_key(cut_off.issue("intake")[1])
    assert client.post("/v1/orders", json=an_order()).status_code == 201
    assert client.get("/readyz").status_code == 200


def test_the_model_in_force(opened: Opened, sqlite: Database, tiny_triage: Triage, no_model: Triage) -> None:
    for triage in (tiny_triage, no_model):
        service = opened(sqlite, triage)
        model = service.caller("unit").get("/v1/model").json()
        assert (model["ready"], model["missing"]) == (triage.ready, triage.missing)
        assert model["versions"]["taxonomy"] == triage.taxonomy.version
        assert model["auto_decline"] is False
        bundle = triage.bundle
        assert model["name"] == (bundle and bundle.name)
        assert (model["runtime"] or "").startswith("onnxruntime " if bundle else "")
        assert model["versions"]["bundle"] == (bundle and bundle.digest)
        assert model["thresholds"]["decline"] == (bundle and bundle.thresholds.decline)
