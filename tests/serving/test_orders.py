from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from data.records import Prediction, Reading
from data.store import audit_log, orders
from data.store.database import Database
from data.store.tables import orders as order_rows
from models.classifier import Classifier
from models.encoder_classifier import EncoderClassifier
from models.triage import Triage, open_triage
from tests.data.store.stories import at_once
from tests.serving.conftest import Opened
from tests.serving.staffed import (
    ORDINARY,
    URGENT,
    Service,
    an_order,
    assert_problem,
    judged,
    post_urgent,
    whole_story,
)

MEMBERS = {
    "order_id", "decision_id", "source", "number", "revision", "decided_at", "decision_source", "verdict",
    "verdict_name", "ground", "kind", "subject", "p_unreasonable", "confidence", "flags", "recommended",
    "disposition", "disposition_name", "review_reasons", "review_id", "degraded", "fallback", "truncated",
    "traditional", "evidence", "thresholds", "notice", "versions",
}  # fmt: skip


def count(service: Service) -> int:
    with service.database.reading() as conn:
        return conn.scalar(select(func.count()).select_from(order_rows)) or 0


def test_an_order_is_answered_with_its_decision(service: Service) -> None:
    body = an_order(channel="phone", region="城东街道", received_at="2026-03-02T09:15:00+08:00")
    answer = service.caller("intake").post("/v1/orders", json=body)
    assert answer.status_code == 201, answer.text
    decision = answer.json()
    assert set(decision) == MEMBERS
    assert answer.headers["location"] == f"/v1/orders/{decision['order_id']}"
    assert answer.headers["content-type"] == "application/json"
    assert "idempotent-replayed" not in answer.headers
    assert [decision[name] for name in ("source", "number", "revision")] == [
        body["source"],
        body["number"],
        1,
    ]
    assert datetime.fromisoformat(decision["decided_at"]).tzinfo is not None
    assert decision["verdict"] in ("reasonable", "unreasonable")
    assert (decision["ground"] is None) == (decision["verdict"] == "reasonable")
    assert bool(decision["review_reasons"]) == (decision["review_id"] is not None)
    assert decision["degraded"] == (decision["fallback"] is not None)
    if decision["degraded"]:
        assert (decision["decision_source"], decision["p_unreasonable"]) == ("rules", None)
    else:
        assert decision["decision_source"] == "model"
        assert 0 <= decision["p_unreasonable"] <= 1
        assert decision["versions"]["bundle"] == service.triage.bundle.digest
    assert decision["versions"]["taxonomy"] == service.triage.taxonomy.version


def test_the_decision_can_be_read_where_location_says(service: Service) -> None:
    intake = service.caller("intake")
    answer = intake.post("/v1/orders", json=an_order())
    for role in ("admin", "auditor"):
        assert service.caller(role).get(answer.headers["location"]).json() == answer.json()
    assert intake.get(answer.headers["location"]).json() == answer.json()


def test_evidence_points_into_the_text_as_it_was_sent(service: Service) -> None:
    content = "１２３ＡＢＣ　" + URGENT
    decision = service.caller("intake").post("/v1/orders", json=an_order(content=content)).json()
    hits = [hit for hit in decision["evidence"] if hit["flag"] == "self_harm"]
    assert hits
    for hit in hits:
        assert 0 <= hit["start"] < hit["end"] <= len(content)
        assert content[hit["start"] : hit["end"]] in URGENT
        assert hit["basis"]
    assert decision["disposition"] == "transfer"
    assert {"code": "self_harm", "name": "轻生风险", "protective": True} in decision["flags"]


def test_an_order_without_its_defaults(service: Service) -> None:
    body = {"source": "s", "number": "n", "content": "灯坏了"}
    decision = service.caller("intake").post("/v1/orders", json=body).json()
    assert decision["revision"] == 1
    with service.database.reading() as conn:
        kept = orders.get(conn, service.keyring.vault, decision["order_id"])
    assert (kept.title, kept.content, kept.channel, kept.region) == ("", "灯坏了", None, None)


def test_the_text_is_kept_as_it_was_sent(service: Service) -> None:
    content = "  全角ＡＢＣ\u200b零宽\r\n\t繁體字 😀 \u0301 末尾  "
    decision = service.caller("intake").post("/v1/orders", json=an_order(content=content)).json()
    with service.database.reading() as conn:
        assert orders.get(conn, service.keyring.vault, decision["order_id"]).content == content
    record = service.caller("auditor").get(f"/v1/orders/{decision['order_id']}/record").json()
    assert record["content"] == content


def test_a_repeat_under_the_same_key_gets_the_same_bytes(service: Service) -> None:
    intake, body = service.caller("intake"), an_order()
    first = intake.post("/v1/orders", json=body, headers={"Idempotency-Key": "k-1"})
    again = intake.post("/v1/orders", json=body, headers={"Idempotency-Key": "k-1"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    assert count(service) == 1


def test_the_same_key_for_another_body_is_refused(service: Service) -> None:
    intake = service.caller("intake")
    intake.post("/v1/orders", json=an_order(), headers={"Idempotency-Key": "k-1"})
    other = intake.post("/v1/orders", json=an_order(), headers={"Idempotency-Key": "k-1"})
    assert_problem(other, 422, "idempotency_mismatch")
    assert count(service) == 1


def test_a_key_for_one_operation_is_none_for_another(service: Service) -> None:
    """Where one caller may do both: an order's key does not replay as a claim's answer."""
    decision = post_urgent(service)
    place = f"/v1/reviews/{decision['review_id']}/claim"
    reviewer = service.caller("reviewer")
    assert reviewer.post(place, headers={"Idempotency-Key": "k-1"}).status_code == 200
    other = post_urgent(service)
    refused = reviewer.post(f"/v1/reviews/{other['review_id']}/claim", headers={"Idempotency-Key": "k-1"})
    assert_problem(refused, 422, "idempotency_mismatch")


@pytest.mark.parametrize("key", ["", "has space", "x" * 129, "漢字"])
def test_a_key_that_is_no_key_is_refused(light: Service, key: str) -> None:
    answer = light.caller("intake").post(
        "/v1/orders", json=an_order(), headers={"Idempotency-Key": key.encode()}
    )
    assert_problem(answer, 422, "request_invalid")


def test_without_a_key_the_natural_key_acts_as_one(service: Service) -> None:
    intake, body = service.caller("intake"), an_order()
    first = intake.post("/v1/orders", json=body)
    again = intake.post("/v1/orders", json=body)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    other = intake.post("/v1/orders", json={**body, "content": f"{ORDINARY}另有一盏也坏了。"})
    assert_problem(other, 409, "order_exists")
    assert count(service) == 1


def test_a_caller_who_lost_its_key_gets_the_first_answer_again(service: Service) -> None:
    intake, body = service.caller("intake"), an_order()
    first = intake.post("/v1/orders", json=body, headers={"Idempotency-Key": "k-1"})
    for headers in ({}, {"Idempotency-Key": "k-2"}, {"Idempotency-Key": "k-2"}):
        again = intake.post("/v1/orders", json=body, headers=headers)
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotent-replayed"] == "true"
    other = {**body, "content": f"{ORDINARY}另有一盏也坏了。"}
    refused = intake.post("/v1/orders", json=other, headers={"Idempotency-Key": "k-3"})
    assert_problem(refused, 409, "order_exists")
    assert count(service) == 1


def test_a_default_written_out_is_the_same_order(service: Service) -> None:
    intake, body = service.caller("intake"), an_order()
    first = intake.post("/v1/orders", json=body)
    again = intake.post("/v1/orders", json={**body, "revision": 1, "channel": None})
    assert again.content == first.content


def test_another_caller_never_gets_the_first_one_s_answer(service: Service) -> None:
    body = an_order()
    first = service.caller("intake").post("/v1/orders", json=body, headers={"Idempotency-Key": "k-1"})
    other = service.another("intake")
    for headers in ({"Idempotency-Key": "k-1"}, {"Idempotency-Key": "k-2"}, {}):
        answer = other.post("/v1/orders", json=body, headers=headers)
        assert_problem(answer, 409, "order_exists")
        assert first.json()["decision_id"] not in answer.text
    own = other.post("/v1/orders", json=an_order(), headers={"Idempotency-Key": "k-1"})
    assert own.status_code == 201
    assert own.json()["order_id"] != first.json()["order_id"]


@pytest.mark.parametrize("headers", [{"Idempotency-Key": "k-1"}, {}])
def test_twins_at_once_become_one_order(service: Service, headers: dict[str, str]) -> None:
    clients = [service.caller("intake") for _ in range(8)]
    body = an_order()
    found = at_once(8, lambda number: clients[number].post("/v1/orders", json=body, headers=headers))
    answers: list[Any] = [answer for answer in found if not isinstance(answer, Exception)]
    assert len(answers) == 8, found
    made = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.content for answer in made}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in made) == 1
    for answer in answers:
        if answer.status_code != 201:
            assert_problem(answer, 409, "idempotency_in_progress")
    assert count(service) == 1


class Gated:
    """A real classifier that waits until a test lets it go on."""

    def __init__(self, inner: Classifier) -> None:
        self._inner = inner
        self.entered, self.opened = threading.Event(), threading.Event()

    def classify(self, readings: Sequence[Reading]) -> list[Prediction]:
        self.entered.set()
        self.opened.wait(60)
        return self._inner.classify(readings)


@pytest.mark.parametrize("headers", [{"Idempotency-Key": "k-1"}, {}])
def test_a_twin_of_a_request_under_way_is_told_to_wait(
    opened: Opened, database: Database, tiny_triage: Triage, headers: dict[str, str]
) -> None:
    assert tiny_triage.bundle is not None
    gate = Gated(EncoderClassifier(tiny_triage.bundle))
    triage = Triage(gate, tiny_triage.bundle, None, tiny_triage.taxonomy, tiny_triage.rules)
    service, body = opened(database, triage), an_order()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(service.caller("intake").post, "/v1/orders", json=body, headers=headers)
        try:
            assert gate.entered.wait(30)
            twin = service.caller("intake").post("/v1/orders", json=body, headers=headers)
        finally:
            gate.opened.set()
        assert_problem(twin, 409, "idempotency_in_progress")
        assert first.result().status_code == 201
    again = service.caller("intake").post("/v1/orders", json=body, headers=headers)
    assert (again.content, again.headers["idempotent-replayed"]) == (first.result().content, "true")
    triage.close()


def test_different_orders_at_once_are_all_kept(service: Service) -> None:
    clients = [service.caller("intake") for _ in range(8)]
    found: list[Any] = at_once(8, lambda number: clients[number].post("/v1/orders", json=an_order()))
    assert [answer.status_code for answer in found] == [201] * 8
    assert len({answer.json()["order_id"] for answer in found}) == 8
    assert count(service) == 8


def test_a_refused_request_leaves_no_answer_behind(service: Service) -> None:
    """What failed may be tried again under its key, and then counts."""
    intake, body = service.caller("intake"), an_order(revision=2)
    intake.post("/v1/orders", json=body)
    stale = {**body, "revision": 1}
    headers = {"Idempotency-Key": "k-1"}
    assert_problem(intake.post("/v1/orders", json=stale, headers=headers), 409, "revision_stale")
    fresh = intake.post("/v1/orders", json={**body, "revision": 3}, headers=headers)
    assert fresh.status_code == 201


def test_a_new_revision_supersedes_and_an_old_one_is_stale(service: Service) -> None:
    intake = service.caller("intake")
    body = an_order(content=URGENT)
    first = intake.post("/v1/orders", json=body).json()
    second = intake.post("/v1/orders", json={**body, "revision": 3}).json()
    assert second["order_id"] != first["order_id"]
    reviewer = service.caller("reviewer")
    assert reviewer.get(f"/v1/reviews/{first['review_id']}").json()["status"] == "superseded"
    queued = reviewer.get("/v1/reviews").json()["items"]
    assert [item["id"] for item in queued] == [second["review_id"]]
    assert_problem(intake.post("/v1/orders", json={**body, "revision": 2}), 409, "revision_stale")
    assert intake.get(f"/v1/orders/{first['order_id']}").json()["decision_id"] == first["decision_id"]
    with service.database.reading() as conn:
        events = [entry.event for entry in audit_log.entries(conn, first["order_id"])]
    assert events[-1] == "order.superseded"


def test_the_text_cap_counts_code_points(opened: Opened, sqlite: Database, no_model: Triage) -> None:
    service = opened(sqlite, no_model)
    intake, limit = service.caller("intake"), service.settings.text_limit
    assert intake.post("/v1/orders", json=an_order(content="灯" * limit)).status_code == 201
    refused = intake.post("/v1/orders", json=an_order(content="灯" * (limit + 1)))
    problem = assert_problem(refused, 422, "content_too_long")
    assert [item["pointer"] for item in problem["errors"]] == ["/content"]
    small = opened(sqlite, no_model, text_limit=5).caller("intake")
    assert small.post("/v1/orders", json=an_order(content="😀" * 5)).status_code == 201
    assert_problem(small.post("/v1/orders", json=an_order(content="😀" * 6)), 422, "content_too_long")


@pytest.mark.parametrize("role", ["unit", "reviewer", "adjudicator", "auditor", "data"])
def test_only_intake_sends_orders(light: Service, role: Any) -> None:
    assert_problem(light.caller(role).post("/v1/orders", json=an_order()), 403, "forbidden")
    assert count(light) == 0


def test_an_intake_key_sees_its_own_orders_only(service: Service) -> None:
    decision = service.caller("intake").post("/v1/orders", json=an_order()).json()
    other = service.another("intake")
    unknown = "0198f0a2-7c1e-7d53-9f0e-4b1c2a3d4e5f"
    hidden = assert_problem(other.get(f"/v1/orders/{decision['order_id']}"), 404, "order_not_found")
    absent = assert_problem(other.get(f"/v1/orders/{unknown}"), 404, "order_not_found")
    assert hidden["detail"] == absent["detail"]


def test_intake_never_reads_the_record(light: Service) -> None:
    decision = post_urgent(light)
    answer = light.caller("intake").get(f"/v1/orders/{decision['order_id']}/record")
    assert_problem(answer, 403, "forbidden")


def test_a_reviewer_reads_an_order_once_it_was_judged(service: Service) -> None:
    decision, other = post_urgent(service), post_urgent(service)
    reviewer = service.caller("reviewer")
    places = [f"/v1/orders/{decision['order_id']}", f"/v1/orders/{decision['order_id']}/record"]
    for place in places:
        assert_problem(reviewer.get(place), 403, "forbidden")
    judged(service, decision["review_id"], reviewer)
    for place in places:
        assert reviewer.get(place).status_code == 200
        assert_problem(service.another("reviewer").get(place), 403, "forbidden")
    assert_problem(reviewer.get(f"/v1/orders/{other['order_id']}"), 403, "forbidden")


def test_the_decision_in_force_is_the_person_s(service: Service) -> None:
    decision = whole_story(service)
    now = service.caller("intake").get(f"/v1/orders/{decision['order_id']}").json()
    assert now["decision_source"] == "person"
    assert (now["verdict"], now["disposition"]) == ("reasonable", "dispatch")
    assert now["decision_id"] != decision["decision_id"]


def test_the_record_tells_everything_and_that_it_was_read(service: Service) -> None:
    decision = whole_story(service)
    place = f"/v1/orders/{decision['order_id']}/record"
    record = service.caller("auditor").get(place).json()
    assert record["content"] == URGENT
    assert record["received_by"] == service.ids["intake"]
    assert [kept["decision_source"] for kept in record["decisions"]][-1] == "person"
    first = record["decisions"][0]
    assert first["decision_id"] == decision["decision_id"]
    if not decision["degraded"]:
        for group in ("verdict", "kind", "subject"):
            assert sum(first["probabilities"][group].values()) == pytest.approx(1, abs=1e-3)
    (review,) = record["reviews"]
    assert review["status"] == "resolved"
    assert review["first_judgement"]["verdict"] == review["final_judgement"]["verdict"] == "reasonable"
    assert record["entries"][-1]["event"] == "record.read"
    assert record["entries"][-1]["actor"] == service.ids["auditor"]
    again = service.caller("admin").get(place).json()
    assert len(again["entries"]) == len(record["entries"]) + 1


def test_an_erased_order_keeps_its_decision_and_loses_its_words(service: Service) -> None:
    decision = post_urgent(service)
    with service.database.transaction() as conn:
        orders.erase(conn, decision["order_id"], "operator", service.clock())
    auditor = service.caller("auditor")
    assert auditor.get(f"/v1/orders/{decision['order_id']}").status_code == 200
    record = auditor.get(f"/v1/orders/{decision['order_id']}/record").json()
    assert (record["title"], record["content"]) == (None, None)
    assert record["erased_at"]
    assert "order.erased" in [entry["event"] for entry in record["entries"]]


def test_without_a_model_the_rules_answer_and_a_person_looks(
    opened: Opened, database: Database, no_model: Triage
) -> None:
    service = opened(database, no_model)
    answer = service.caller("intake").post("/v1/orders", json=an_order())
    assert answer.status_code == 201
    decision = answer.json()
    assert (decision["degraded"], decision["fallback"]) == (True, "model_missing")
    assert (decision["decision_source"], decision["disposition"]) == ("rules", "review")
    assert "degraded" in [reason["code"] for reason in decision["review_reasons"]]
    assert decision["review_id"]
    assert decision["kind"] is decision["p_unreasonable"] is None
    unready = service.anyone().get("/readyz")
    assert_problem(unready, 503, "model_missing")
    assert int(unready.headers["retry-after"]) > 0


def test_a_corrupt_bundle_is_refused_and_the_rules_answer(
    opened: Opened, sqlite: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    triage = open_triage(folder)
    service = opened(sqlite, triage)
    decision = service.caller("intake").post("/v1/orders", json=an_order()).json()
    assert (decision["degraded"], decision["fallback"]) == (True, "model_corrupt")
    assert_problem(service.anyone().get("/readyz"), 503, "model_corrupt")
    triage.close()


def test_the_model_s_adverse_answer_waits_for_a_person(
    opened: Opened, sqlite: Database, tiny_triage: Triage
) -> None:
    service = opened(sqlite, tiny_triage)
    body = an_order(title="裁", content="裁裁裁裁")
    decision = service.caller("intake").post("/v1/orders", json=body).json()
    assert (decision["verdict"], decision["ground"]["code"]) == ("unreasonable", "legal_route")
    assert decision["ground"]["basis"]
    assert (decision["recommended"], decision["disposition"]) == ("explain", "review")
    assert "adverse_needs_person" in [reason["code"] for reason in decision["review_reasons"]]
    assert decision["notice"]


def test_the_tiny_model_leaves_the_service_ready(
    opened: Opened, sqlite: Database, tiny_triage: Triage
) -> None:
    assert opened(sqlite, tiny_triage).anyone().get("/readyz").json() == {"status": "ready"}
