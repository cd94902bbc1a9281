"""A batch sent over a line that breaks, to a service that is killed: each of its lines is decided once."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from data.store import orders
from data.store.database import Database
from tests.journeys.real_process import Installation, answered

pytestmark = pytest.mark.journey

LINES = 120
NDJSON = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "night-run"}


def line(number: int) -> bytes:
    order = {
        "client_ref": f"row-{number}",
        "source": "batch",
        "number": f"GD-{number:06}",
        "content": f"来电人反映第{number}号路灯不亮，夜里看不清台阶，希望派人修好。",
    }
    return json.dumps(order, ensure_ascii=False).encode() + b"\n"


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


class BrokenLine:
    """An upload in chunks over a bare connection, which can be cut anywhere."""

    def __init__(self, installation: Installation) -> None:
        self._socket = socket.create_connection(("127.0.0.1", installation.port), timeout=30)
        head = [
            "POST /v1/batches HTTP/1.1",
            f"Host: 127.0.0.1:{installation.port}",
            f"Authorization: Bearer {installation.keys['intake']}",
            *(f"{name}: {value}" for name, value in NDJSON.items()),
            "Transfer-Encoding: chunked",
        ]
        self._socket.sendall("\r\n".join([*head, "", ""]).encode())

    def send(self, part: bytes) -> None:
        self._socket.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")

    def cut(self) -> None:
        self._socket.close()


def test_a_batch_over_a_broken_line_and_a_killed_service(installation: Installation) -> None:
    installation.start()
    with installation.caller("intake") as intake:
        broken = BrokenLine(installation)
        for number in range(1, 31):
            broken.send(line(number))
        broken.send(line(31)[:70])  # in the middle of a character
        until(lambda: received(intake) == 30)  # kept while the sender hesitates
        broken.cut()

        broken = BrokenLine(installation)
        for number in range(1, 61):
            broken.send(line(number))
        until(lambda: received(intake) == 60)
    installation.kill()
    broken.cut()

    installation.start()
    with installation.caller("intake") as intake:
        batch = the_batch(intake)
        assert (batch["received"], batch["complete"]) == (60, False)
        rest = b"".join(line(number) for number in range(61, LINES + 1)) + b"{bad\n"
        response = intake.post("/v1/batches", content=rest, headers=NDJSON, params={"from_line": 61})
        batch = answered(response, 202)
        assert (batch["received"], batch["refused"], batch["complete"]) == (LINES + 1, 1, True)
        until(lambda: the_batch(intake)["decided"] >= 20)
        before = results(intake, batch)
    installation.kill()

    installation.start()
    with installation.caller("intake") as intake:
        until(lambda: bool(the_batch(intake)["finished"]))
        found = results(intake, batch)
        assert found[: len(before)] == before
        assert [result["line"] for result in found] == list(range(1, LINES + 2))
        for number, result in enumerate(found[:LINES], start=1):
            assert result["client_ref"] == f"row-{number}"
            assert result["decision"]["number"] == f"GD-{number:06}"
            assert result["decision"]["decision_source"] == "model"
        assert found[LINES]["problem"]["code"] == "json_malformed"
        again = intake.post(
            "/v1/batches",
            content=b"".join(line(number) for number in range(1, LINES + 1)) + b"{bad\n",
            headers=NDJSON,
        )
        assert answered(again, 202) == the_batch(intake)
        assert again.headers["idempotent-replayed"] == "true"
    installation.stop()
    assert "unexpected" not in installation.log()
    assert_each_order_once(installation)
    installation.run("data", "verify-audit")


def the_batch(intake: httpx.Client) -> dict[str, Any]:
    page = answered(intake.get("/v1/batches", params={"idempotency_key": NDJSON["Idempotency-Key"]}))
    return dict(page["items"][0]) if page["items"] else {"received": 0}


def received(intake: httpx.Client) -> int:
    return int(the_batch(intake)["received"])


def results(intake: httpx.Client, batch: dict[str, Any]) -> list[Any]:
    response = intake.get(f"/v1/batches/{batch['batch_id']}/results")
    assert response.status_code == 200
    return [json.loads(text) for text in response.content.splitlines()]


def assert_each_order_once(installation: Installation) -> None:
    database = Database(installation.environment["MINGBIAN_DATABASE_URL"])
    with database.reading() as conn:
        for number in range(1, LINES + 1):
            assert len(orders.find(conn, "batch", f"GD-{number:06}")) == 1
    database.close()
