"""Kill -9 under load: whatever was acknowledged is there afterwards, and the audit log verifies each time."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from data.store import decisions, orders
from data.store.database import Database
from tests.journeys.real_process import Installation, answered

pytestmark = pytest.mark.journey

KILLS = int(os.environ.get("MINGBIAN_KILLS", "5"))
CALLERS = 4
AT_LEAST = 5  # acknowledged orders before each kill


class Load:
    """Callers that post orders until the service dies under them; what they were promised, and what not."""

    def __init__(self, client: Callable[[], httpx.Client]) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._next = 0
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self.unanswered: dict[str, dict[str, Any]] = {}

    def run_until(self, die: Callable[[], None], seconds: float) -> None:
        before = len(self.acknowledged)
        threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(self.acknowledged) < before + AT_LEAST and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(seconds)
        die()
        for thread in threads:
            thread.join(60)
        assert len(self.acknowledged) >= before + AT_LEAST

    def _call(self) -> None:
        with self._client() as client:
            while True:
                body = self._body()
                try:
                    response = client.post("/v1/orders", json=body)
                except httpx.TransportError:
                    return
                decision = answered(response, 201)
                with self._lock:
                    del self.unanswered[body["number"]]
                    self.acknowledged[body["number"]] = decision

    def _body(self) -> dict[str, Any]:
        with self._lock:
            self._next += 1
            number = f"GD-{self._next:06}"
            body = {
                "source": "load",
                "number": number,
                "content": f"来电人反映第{self._next}号路灯不亮，夜里看不清台阶，希望派人修好。",
            }
            self.unanswered[number] = body
        return body


@pytest.mark.timeout(120 + 30 * KILLS)
def test_no_acknowledged_order_is_lost(installation: Installation, tmp_path: Path) -> None:
    chance = random.Random(20260302)
    load = Load(lambda: installation.caller("intake"))
    for _ in range(KILLS):
        installation.start()
        with installation.caller("auditor") as auditor:
            note = answered(auditor.get("/v1/audit/checkpoint"))["note"]
        (tmp_path / "held.txt").write_text(note, "utf-8")
        load.run_until(installation.kill, chance.uniform(0, 0.5))
        # The log is sound, and goes on from what was signed before the kill.
        installation.run("data", "verify-audit", "--checkpoint", str(tmp_path / "held.txt"))
        assert_kept(installation, load.acknowledged)
    print(f"{KILLS} kills, {len(load.acknowledged)} acknowledged, {len(load.unanswered)} unanswered")

    installation.start()
    with installation.caller("intake") as intake:
        newest = list(load.acknowledged.values())[-20:]
        for decision in newest:
            assert answered(intake.get(f"/v1/orders/{decision['order_id']}")) == decision
        # Who was not answered asks again, and is answered once: nothing is half there, nothing twice.
        for body in load.unanswered.values():
            answered(intake.post("/v1/orders", json=body), 201)
    installation.stop()
    assert_each_number_once(installation, [*load.acknowledged, *load.unanswered])
    installation.run("data", "verify-audit")


def assert_kept(installation: Installation, acknowledged: dict[str, dict[str, Any]]) -> None:
    database = Database(installation.environment["MINGBIAN_DATABASE_URL"])
    with database.reading() as conn:
        for number, decision in acknowledged.items():
            (stored,) = decisions.of_order(conn, decision["order_id"])
            assert stored.id == decision["decision_id"]
            assert orders.header(conn, decision["order_id"]).number == number
    database.close()


def assert_each_number_once(installation: Installation, numbers: list[str]) -> None:
    database = Database(installation.environment["MINGBIAN_DATABASE_URL"])
    with database.reading() as conn:
        for number in numbers:
            assert len(orders.find(conn, "load", number)) == 1
    database.close()
