"""What is let in, what is refused, and that a refusal costs nothing and touches nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from data.errors import Unavailable
from models.lanes import Lanes
from serving.admission import Gate, Kind
from serving.metrics import Metrics
from tests.serving.staffed import Service, an_order, assert_problem

DEADLINE_S = 0.8


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    opened = Lanes(2)
    yield opened
    opened.close()


@pytest.fixture
def gate(lanes: Lanes) -> Gate:
    return Gate(lambda: lanes, DEADLINE_S, Metrics())


def let_in(gate: Gate, kind: Kind, at_most: int = 1000) -> int:
    for count in range(at_most):
        try:
            gate.enter(kind)
        except Unavailable:
            return count
    return at_most


def test_orders_come_in_while_they_can_be_answered_in_half_the_deadline(gate: Gate, lanes: Lanes) -> None:
    lanes.mean_s = 0.1
    assert let_in(gate, "order") == 9  # eight before it take 8 × 0.1 s on two lanes: just half of 0.8 s
    gate.leave("order")
    assert let_in(gate, "order") == 1


def test_a_slow_model_still_gets_an_order_for_each_lane(gate: Gate, lanes: Lanes) -> None:
    lanes.mean_s = 30.0
    assert let_in(gate, "order") == lanes.count


def test_a_fast_model_is_bounded_by_threads(gate: Gate, lanes: Lanes) -> None:
    lanes.mean_s = 0.0
    assert let_in(gate, "order") == Gate.most_orders(2) < Gate.threads(2)


def test_batches_are_refused_before_orders_are(gate: Gate, lanes: Lanes) -> None:
    lanes.mean_s = 0.1
    for _ in range(3):
        gate.enter("order")
    assert let_in(gate, "batch") == 0
    assert let_in(gate, "order") > 0


def test_uploads_leave_room_for_pages(gate: Gate) -> None:
    uploads = let_in(gate, "batch")
    assert 0 < uploads < let_in(gate, "other")


def test_orders_and_everything_else_do_not_crowd_each_other_out(gate: Gate, lanes: Lanes) -> None:
    lanes.mean_s = 0.1
    others = let_in(gate, "other")
    assert others > 0
    orders = let_in(gate, "order")
    assert orders > 0
    assert others + orders < Gate.threads(2)


def test_what_has_no_room_gets_503_and_leaves_nothing(light: Service) -> None:
    gate: Gate = light.app.state.gate
    let_in(gate, "order")
    refused = light.caller("intake").post("/v1/orders", json=an_order(number="GD-9"))
    assert_problem(refused, 503, "overloaded")
    assert int(refused.headers["Retry-After"]) >= 1
    while gate._under_way["order"]:
        gate.leave("order")
    taken = light.caller("intake").post("/v1/orders", json=an_order(number="GD-9"))
    assert taken.status_code == 201
    assert gate._under_way["order"] == 0
    exposed = light.anyone().get("/metrics").text
    assert 'mingbian_orders_refused_total{reason="overload"}' in exposed
    assert "mingbian_orders_in_flight 0.0" in exposed


def test_health_is_told_however_much_is_under_way(light: Service) -> None:
    gate: Gate = light.app.state.gate
    let_in(gate, "other")
    anyone = light.anyone()
    assert_problem(light.caller("auditor").get("/v1/model"), 503, "overloaded")
    assert anyone.get("/livez").status_code == 200
    assert anyone.get("/readyz").status_code in (200, 503)
    assert "mingbian_ready" in anyone.get("/metrics").text
    assert_problem(anyone.get("/v1/orders/none"), 503, "overloaded")
    while gate._under_way["other"]:
        gate.leave("other")


def test_an_order_that_fails_makes_room_again(light: Service) -> None:
    gate: Gate = light.app.state.gate
    light.caller("intake").post("/v1/orders", content=b"{", headers={"Content-Type": "application/json"})
    light.anyone().post("/v1/orders", json=an_order())
    assert gate._under_way["order"] == 0


def test_many_at_once_are_each_answered_or_refused(light: Service) -> None:
    ready = threading.Barrier(12)

    def post(number: int) -> int:
        intake = light.caller("intake")
        ready.wait(20)
        status: int = intake.post("/v1/orders", json=an_order(number=f"GD-{number}")).status_code
        return status

    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(post, range(12)))
    assert set(statuses) <= {201, 503}
    assert 201 in statuses
