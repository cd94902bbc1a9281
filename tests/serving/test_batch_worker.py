"""Lines are decided exactly once, whatever happens to those who decide them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, update

from data.errors import Unavailable
from data.records import Prediction, Reading
from data.store import batches
from data.store.batch_keys import BatchKey
from data.store.database import Database
from data.store.keyring import Keyring
from data.store.tables import batch_queue
from data.store.tables import orders as order_rows
from models.classifier import Classifier
from models.encoder_classifier import EncoderClassifier
from models.triage import Triage
from serving.batch_worker import BatchWorker
from serving.keeping import Arrival, Outcome
from tests.serving.batch_uploads import assert_each_once, progress, results, sent, some_orders, text, work_off
from tests.serving.conftest import Opened
from tests.serving.staffed import ORDINARY, URGENT, Service, an_order

LEASE = timedelta(seconds=30)


class Gated:
    """A real classifier that waits until a test lets it go on."""

    def __init__(self, inner: Classifier) -> None:
        self._inner = inner
        self.entered, self.opened = threading.Event(), threading.Event()

    def classify(self, readings: Sequence[Reading]) -> list[Prediction]:
        self.entered.set()
        self.opened.wait(60)
        return self._inner.classify(readings)


@pytest.fixture
def ruled(opened: Opened, database: Database, no_model: Triage) -> Service:
    return opened(database, no_model)


@dataclass(frozen=True)
class Slow:
    """A triage with one lane, behind a gate."""

    gate: Gated
    triage: Triage


@pytest.fixture
def slow(tiny_triage: Triage) -> Iterator[Slow]:
    bundle = tiny_triage.bundle
    assert bundle is not None
    gate = Gated(EncoderClassifier(bundle))
    triage = Triage(gate, bundle, None, tiny_triage.taxonomy, tiny_triage.rules, lanes=1)
    yield Slow(gate, triage)
    gate.opened.set()
    triage.close()


def worker_of(service: Service, chunk: int = 4, **parts: Any) -> BatchWorker:
    """A further worker on the service's database, as another process has one."""
    return BatchWorker(lambda: replace(service.app.state.desk, **parts), chunk=chunk)


@contextmanager
def under_way(worker: BatchWorker, slow: Slow) -> Iterator[None]:
    """While the worker is held up at the gate; afterwards it has come to its end."""
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(worker.work_off)
        try:
            assert slow.gate.entered.wait(60)
            yield
        finally:
            slow.gate.opened.set()
        work.result()


def leased(service: Service) -> int:
    with service.database.reading() as conn:
        held = select(func.count()).select_from(batch_queue).where(batch_queue.c.holder.is_not(None))
        return conn.scalar(held) or 0


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_workers_decide_each_line_once(ruled: Service, database_url: str) -> None:
    intake = ruled.caller("intake")
    both = [sent(intake, text(*some_orders(30)), f"b-{number}") for number in range(2)]
    other = Database(database_url)
    workers = [worker_of(ruled), worker_of(ruled, database=other)]
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(worker.work_off) for worker in workers]:
            done.result()
    other.close()
    for batch in both:
        assert progress(intake, batch)["finished"]
        lines = results(intake, batch)
        assert [line["client_ref"] for line in lines] == [f"row-{number}" for number in range(1, 31)]
        assert all("decision" in line for line in lines)
    assert_each_once(ruled, 60)


def test_lines_of_a_worker_that_died_are_decided_when_its_lease_runs_out(ruled: Service, slow: Slow) -> None:
    """What it has in hand then, should it live after all, is not kept a second time."""
    intake = ruled.caller("intake")
    batch = sent(intake, text(*some_orders(10)))
    worker = worker_of(ruled, triage=slow.triage)
    with under_way(worker, slow):
        until(lambda: leased(ruled) == 8)
        work_off(ruled)
        assert progress(intake, batch)["decided"] == 2, "the others are taken"
        ruled.clock.ahead = LEASE
        work_off(ruled)
        assert progress(intake, batch)["finished"]
    assert {line["decision"]["decision_source"] for line in results(intake, batch)} == {"rules"}
    assert_each_once(ruled, 10)


def test_an_order_s_revisions_are_kept_in_the_order_of_their_lines(ruled: Service, slow: Slow) -> None:
    """Even where the later one is decided first, by another worker."""
    intake, first = ruled.caller("intake"), an_order()
    second = {**first, "revision": 2, "content": f"{ORDINARY}另有一盏也坏了。"}
    batch = sent(intake, text(first, an_order(), second, an_order(), {**second, "revision": 3}))
    worker = worker_of(ruled, chunk=1, triage=slow.triage)
    with under_way(worker, slow):
        until(lambda: leased(ruled) == 2)
        work_off(ruled)
        assert progress(intake, batch)["decided"] == 1, "the fourth line; the others come after the first"
    ruled.clock.ahead = timedelta(seconds=2)
    work_off(ruled)
    lines = results(intake, batch)
    assert [line["decision"]["revision"] for line in lines] == [1, 1, 2, 1, 3]
    assert_each_once(ruled, 5)


def test_revisions_in_one_chunk_or_several(ruled: Service) -> None:
    intake = ruled.caller("intake")
    for chunk in (1, 2, 32):
        order = an_order()
        batch = sent(intake, text(*({**order, "revision": n} for n in (1, 2, 2, 4, 3))), f"b-{chunk}")
        worker_of(ruled, chunk).work_off()
        *kept, stale = results(intake, batch)
        assert [line["decision"]["revision"] for line in kept] == [1, 2, 2, 4]
        assert kept[1]["decision"] == kept[2]["decision"], "the same order twice gets its first answer"
        assert stale["problem"]["code"] == "revision_stale"
        assert (progress(intake, batch)["decided"], progress(intake, batch)["refused"]) == (4, 1)
    assert_each_once(ruled, 9)


def test_an_order_that_is_here_already(ruled: Service) -> None:
    intake, order = ruled.caller("intake"), an_order()
    alone = intake.post("/v1/orders", json=order)
    theirs = an_order()
    assert ruled.another("intake").post("/v1/orders", json=theirs).status_code == 201
    lines = [
        {**order, "client_ref": "again"},
        {**order, "content": f"{ORDINARY}又坏了。"},
        theirs,
        an_order(),
    ]
    batch = sent(intake, text(*lines))
    work_off(ruled)
    same, other, foreign, fresh = results(intake, batch)
    assert same == {"line": 1, "client_ref": "again", "decision": alone.json()}
    for refused in (other, foreign):
        assert (refused["problem"]["code"], refused["problem"]["status"]) == ("order_exists", 409)
    assert fresh["decision"]["number"] == lines[3]["number"]
    # The other way round as well: a line's order is answered to whoever posts it.
    again = intake.post("/v1/orders", json=lines[3])
    assert (again.json(), again.headers["idempotent-replayed"]) == (fresh["decision"], "true")
    assert_each_once(ruled, 3)


def test_a_line_that_a_person_must_see_is_in_the_queue(ruled: Service) -> None:
    batch = sent(ruled.caller("intake"), text(an_order(content=URGENT)))
    work_off(ruled)
    (line,) = results(ruled.caller("intake"), batch)
    first = ruled.caller("reviewer").get("/v1/reviews").json()["items"][0]
    assert first["id"] == line["decision"]["review_id"]
    assert first["order_id"] == line["decision"]["order_id"]


def test_an_order_was_received_when_its_line_was(light: Service) -> None:
    batch = sent(light.caller("intake"), text(an_order(), an_order(received_at="2026-03-02T09:15:00+08:00")))
    light.clock.ahead = timedelta(hours=3)
    work_off(light)
    received = []
    for line in results(light.caller("intake"), batch):
        record = light.caller("auditor").get(f"/v1/orders/{line['decision']['order_id']}/record").json()
        received.append(record["received_at"])
    assert received[0] < batch["completed_at"]
    assert received[1] == "2026-03-02T09:15:00.000+08:00"


class Away:
    """A database that cannot be reached until a test says so."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.asked = threading.Event()
        self.back = threading.Event()

    def __getattr__(self, name: str) -> Any:
        self.asked.set()
        if not self.back.is_set():
            raise Unavailable("database_unavailable", "数据库暂时不可用，请稍后重试。")
        return getattr(self._inner, name)


def test_a_worker_outlives_the_database(light: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.batch_worker._RETRY_S", 0.05)
    intake = light.caller("intake")
    batch = sent(intake, text(*some_orders(3)))
    away = Away(light.database)
    worker = worker_of(light, database=away)
    with pytest.raises(Unavailable):
        worker.work_off()
    away.asked.clear()
    worker.start()
    assert away.asked.wait(60)
    assert progress(intake, batch)["pending"] == 3
    away.back.set()
    until(lambda: bool(progress(intake, batch)["finished"]))
    worker.stop()
    assert_each_once(light, 3)


def test_a_key_that_opens_nothing_loses_nothing(light: Service, tmp_path_factory: Any) -> None:
    """A process with other keys leaves the lines to one with the right ones."""
    intake = light.caller("intake")
    batch = sent(intake, text(*some_orders(3)))
    stranger = worker_of(light, keyring=Keyring.open(tmp_path_factory.mktemp("other") / "keys"))
    with pytest.raises(Unavailable) as refusal:
        stranger.work_off()
    assert refusal.value.code == "batch_unreadable"
    assert (progress(intake, batch)["pending"], leased(light)) == (3, 0)
    work_off(light)
    assert_each_once(light, 3)


def test_a_damaged_line_costs_no_other(light: Service, caplog: pytest.LogCaptureFixture) -> None:
    """Whether it cannot be opened or holds what is no order."""
    intake = light.caller("intake")
    batch = sent(intake, text(*some_orders(4)))
    with light.database.transaction() as conn:
        wrapped = batches.wrapped_key(conn, batch["batch_id"])
        secret = BatchKey.unwrap(light.keyring.vault, batch["batch_id"], wrapped)
        for line, sealed in ((2, b"x" * 40), (3, secret.seal(3, f'{{"x":"{ORDINARY}"}}'.encode()))):
            conn.execute(update(batch_queue).where(batch_queue.c.line == line).values(sealed=sealed))
    work_off(light)
    lines = results(intake, batch)
    assert [line["client_ref"] for line in lines] == ["row-1", "row-2", "row-3", "row-4"]
    assert [line["problem"]["code"] for line in lines[1:3]] == ["line_unreadable", "internal_error"]
    assert "unexpected error" in caplog.text
    assert ORDINARY not in caplog.text
    assert_each_once(light, 2)


def test_a_defect_that_one_line_meets_costs_no_other(
    light: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    intake = light.caller("intake")
    orders = some_orders(3)
    batch = sent(intake, text(*orders))
    keeper = light.app.state.desk.keeper
    keep_all = keeper.keep_all

    def defective(conn: Connection, arrivals: Sequence[Arrival]) -> list[Outcome]:
        if any(arrival.order.number == orders[1]["number"] for arrival in arrivals):
            raise RuntimeError(orders[1]["content"])
        outcomes: list[Outcome] = keep_all(conn, arrivals)
        return outcomes

    monkeypatch.setattr(keeper, "keep_all", defective)
    work_off(light)
    lines = results(intake, batch)
    assert (lines[1]["problem"]["code"], lines[1]["problem"]["status"]) == ("internal_error", 500)
    assert orders[1]["content"] not in caplog.text
    assert "unexpected error" in caplog.text
    assert_each_once(light, 2)


def test_a_worker_that_stops_gives_back_what_it_has_not_decided(light: Service, slow: Slow) -> None:
    intake = light.caller("intake")
    batch = sent(intake, text(*some_orders(10)))
    worker = worker_of(light, triage=slow.triage)
    worker.start()
    assert slow.gate.entered.wait(60)
    until(lambda: leased(light) == 8)
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(worker.stop)
        until(worker._stopping.is_set)
        slow.gate.opened.set()  # what is in the lanes comes to its end
        stopping.result()
    assert (progress(intake, batch)["pending"], leased(light)) == (10, 0)
    work_off(light)
    assert_each_once(light, 10)


def test_a_long_triage_keeps_its_lease(ruled: Service, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.batch_worker._RENEW_S", 0.05)
    intake = ruled.caller("intake")
    batch = sent(intake, text(*some_orders(2)))
    worker = worker_of(ruled, triage=slow.triage)
    with under_way(worker, slow):
        for _ in range(3):
            ruled.clock.ahead += LEASE - timedelta(seconds=1)
            until(lambda: _leased_beyond(ruled, LEASE - timedelta(seconds=2)))
            work_off(ruled)
            assert progress(intake, batch)["pending"] == 2
    assert {line["decision"]["decision_source"] for line in results(intake, batch)} == {"model"}
    assert_each_once(ruled, 2)


def _leased_beyond(service: Service, span: timedelta) -> bool:
    with service.database.reading() as conn:
        first = conn.scalar(select(func.min(batch_queue.c.lease_until)))
    return first is not None and first >= service.clock() + span


def test_a_running_service_works_its_batches_off(ruled: Service) -> None:
    """The upload wakes the worker that the application has started; none is left when it has ended."""
    with ruled.anyone() as running:
        intake = ruled.caller("intake")
        batch = sent(intake, text(*some_orders(40)))
        until(lambda: bool(progress(intake, batch)["finished"]))
        assert running.get("/livez").status_code == 200
    assert "batches" not in {thread.name for thread in threading.enumerate()}
    with ruled.anyone():  # and may start again
        again = sent(intake, text(*some_orders(2)), "b-2")
        until(lambda: bool(progress(intake, again)["finished"]))
    assert_each_once(ruled, 42)


def test_nothing_to_do_asks_as_a_reader_only(light: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(_: Database) -> Any:
        raise AssertionError("an idle worker held up the writers")

    monkeypatch.setattr(Database, "transaction", written)
    work_off(light)


def test_orders_of_a_batch_are_like_any_others(light: Service) -> None:
    batch = sent(light.caller("intake"), text(*some_orders(2)))
    work_off(light)
    first, second = results(light.caller("intake"), batch)
    entries = light.caller("auditor").get(f"/v1/audit/orders/{first['decision']['order_id']}").json()
    assert [entry["event"] for entry in entries["entries"]][:2] == ["order.received", "order.decided"]
    assert {entry["actor"] for entry in entries["entries"]} == {light.ids["intake"]}
    with light.database.reading() as conn:
        owners = conn.execute(select(order_rows.c.received_by).distinct()).scalars().all()
    assert owners == [light.ids["intake"]]
    assert second["decision"]["decided_at"] >= first["decision"]["decided_at"]
