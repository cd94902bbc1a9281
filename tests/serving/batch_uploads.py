"""Uploads of many orders, and what became of them; the tests of batches send and read through it."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import func, select
from starlette.testclient import TestClient

from data.store import batches
from data.store.tables import batch_queue
from data.store.tables import orders as order_rows
from data.store.verification import verify_log
from tests.serving.staffed import Service, an_order

NDJSON = {"Content-Type": "application/x-ndjson"}


def text(*lines: Any, end: bytes = b"\n") -> bytes:
    """NDJSON of orders; what is bytes already stays as it is."""
    return b"".join(
        (line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode()) + end
        for line in lines
    )


def some_orders(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [{**an_order(**changes), "client_ref": f"row-{number}"} for number in range(1, count + 1)]


def send(client: TestClient, body: Any, key: str = "b-1", **query: Any) -> Any:
    headers = {**NDJSON, "Idempotency-Key": key}
    return client.post("/v1/batches", content=body, headers=headers, params=query)


def sent(client: TestClient, body: Any, key: str = "b-1", **query: Any) -> dict[str, Any]:
    """The batch, whose upload must go well."""
    answer = send(client, body, key, **query)
    assert answer.status_code == 202, answer.text
    batch: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/batches/{batch['batch_id']}"
    return batch


def work_off(service: Service) -> None:
    service.app.state.batch_worker.work_off()


def progress(client: TestClient, batch: dict[str, Any]) -> dict[str, Any]:
    answer = client.get(f"/v1/batches/{batch['batch_id']}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def results(client: TestClient, batch: dict[str, Any], limit: int = 1000) -> list[dict[str, Any]]:
    """All there are, page by page along the links."""
    found: list[dict[str, Any]] = []
    address = f"/v1/batches/{batch['batch_id']}/results?limit={limit}"
    while True:
        answer = client.get(address)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/x-ndjson"
        page = [json.loads(line) for line in answer.content.splitlines()]
        assert len(page) <= limit
        found += page
        if "link" not in answer.headers or not page:
            return found
        address = answer.headers["link"].partition(">")[0].removeprefix("<")


def assert_each_once(service: Service, count: int) -> None:
    """As many orders as lines, nothing waiting, and a log that agrees."""
    with service.database.reading() as conn:
        assert conn.scalar(select(func.count()).select_from(order_rows)) == count
        assert conn.scalar(select(func.count()).select_from(batch_queue)) == 0
        assert batches.pending(conn) == 0
        report = verify_log(conn, service.keyring.audit_public, service.settings.log_origin)
    assert report.findings == ()
    assert (report.orders, report.decisions) == (count, count)
