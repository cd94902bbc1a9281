"""The clock jumps an hour back and a day ahead: the log keeps its order, leases and answers their rules."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import select

from data.settings import Settings
from data.store import audit_log
from data.store.database import Database
from data.store.keyring import Keyring
from data.store.tables import audit_leaves
from data.store.verification import verify_log
from models.triage import Triage, open_triage
from serving import app
from tests.journeys.real_process import answered
from tests.journeys.witnesses import an_order
from tests.serving.staffed import URGENT, Service, a_judgement, assert_problem, claimed

pytestmark = pytest.mark.journey

BACK, AHEAD = timedelta(hours=-1), timedelta(days=1)


@pytest.fixture
def service(database: Database, keyring: Keyring, triage: Triage) -> Service:
    return Service(Settings(), database, keyring, triage)


@pytest.fixture(scope="module")
def triage(tmp_path_factory: pytest.TempPathFactory) -> Triage:
    """The rules alone: what a clock does to leases and answers does not depend on a model."""
    return open_triage(tmp_path_factory.mktemp("none") / "bundle")


def test_the_log_keeps_its_order_whatever_the_clock_says(service: Service, database: Database) -> None:
    auditor, intake = service.caller("auditor"), service.caller("intake")
    held: list[str] = []
    for number, jump in enumerate((timedelta(), BACK, AHEAD, timedelta())):
        service.clock.ahead = jump
        answered(intake.post("/v1/orders", json=an_order(f"GD-{number}", URGENT)), 201)
        held.append(answered(auditor.get("/v1/audit/checkpoint"))["note"])
        answered(intake.get("/livez"))
    times = leaf_times(database)
    assert times != sorted(times), "the clock was to have gone back"
    with database.reading() as conn:
        report = verify_log(conn, service.keyring.audit_public, service.settings.log_origin, held)
    assert report.findings == ()
    assert report.orders == 4
    for older, newer in pairwise(held):
        sizes = [int(note.split("\n")[1]) for note in (older, newer)]
        answered(auditor.get("/v1/audit/consistency", params={"old": sizes[0], "new": sizes[1]}))


def test_a_lease_outlives_a_clock_set_back_and_ends_with_one_set_ahead(service: Service) -> None:
    """Back: it holds for longer until it is renewed. Ahead: it is over, and its fence counts no more."""
    decision = answered(service.caller("intake").post("/v1/orders", json=an_order("GD-1", URGENT)), 201)
    review = decision["review_id"]
    first, second = service.caller("reviewer"), service.another("reviewer")
    fence = claimed(service, review, first)
    service.clock.ahead = BACK
    assert_problem(second.post(f"/v1/reviews/{review}/claim"), 409, "already_claimed")
    renewed = answered(first.post(f"/v1/reviews/{review}/claim"))
    assert renewed["fence"] > fence
    until = datetime.fromisoformat(renewed["lease_until"])
    assert until <= service.clock() + timedelta(seconds=service.settings.lease_seconds)
    service.clock.ahead = AHEAD
    later = claimed(service, review, second)
    assert later > renewed["fence"]
    late = first.post(f"/v1/reviews/{review}/judgement", json=a_judgement(renewed["fence"]))
    assert_problem(late, 409, "lease_lost")
    answered(second.post(f"/v1/reviews/{review}/judgement", json=a_judgement(later)))


def test_answers_are_kept_through_a_jump_and_an_order_is_never_taken_twice(service: Service) -> None:
    """A day ahead, half of the usual two is left. Further on the answer is forgotten, the order is not."""
    intake, key = service.caller("intake"), {"Idempotency-Key": "k-1"}
    first = intake.post("/v1/orders", json=an_order("GD-1", URGENT), headers=key)
    answered(first, 201)
    for jump in (BACK, AHEAD, timedelta()):
        service.clock.ahead = jump
        app._prune(service.app.state.desk)
        for headers in ({}, key):
            again = intake.post("/v1/orders", json=an_order("GD-1", URGENT), headers=headers)
            assert (again.status_code, again.content) == (201, first.content)
            assert again.headers["Idempotent-Replayed"] == "true"
    service.clock.ahead = timedelta(hours=service.settings.idempotency_hours, minutes=1)
    app._prune(service.app.state.desk)
    again = intake.post("/v1/orders", json=an_order("GD-1", URGENT), headers=key)
    assert_problem(again, 409, "order_exists")


def leaf_times(database: Database) -> list[datetime]:
    with database.reading() as conn:
        leaves = conn.execute(select(audit_leaves.c.leaf).order_by(audit_leaves.c.leaf_index)).scalars()
        entries: list[Any] = [audit_log.read(leaf) for leaf in leaves]
    assert [entry.index for entry in entries] == list(range(len(entries)))
    return [entry.at for entry in entries]
