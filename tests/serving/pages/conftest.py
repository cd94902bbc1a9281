"""A whole site over a fresh database: orders come in over HTTP, people log in, the clock can be moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from data.records import Decision, Role, WorkOrder
from data.settings import Settings
from data.store import credentials, decisions, orders, reviews
from data.store.database import Database
from data.store.identifiers import new_id
from data.store.keyring import Keyring
from data.taxonomy import Taxonomy
from models.triage import Triage
from serving.app import create_app
from tests.serving.pages.form_reader import forms_of

ORIGIN = "mingbian.test/audit"
# The tiny model reads 裁 as `legal_route` for certain.
ADVERSE = "法院判下来的补偿数额我不认，请热线另裁一个数。"


@dataclass
class Clock:
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.at

    def forward(self, length: timedelta) -> None:
        self.at += length


@dataclass
class Site:
    """The application, and the people and orders that a test needs in it."""

    app: FastAPI
    database: Database
    keyring: Keyring
    triage: Triage
    clock: Clock
    _sent: int = 0

    def key(self, role: Role, name: str = "测试", expires_at: datetime | None = None) -> tuple[str, str]:
        with self.database.transaction() as conn:
            return credentials.issue(conn, role, name, self.clock(), "test", expires_at)

    def browser(self) -> TestClient:
        return TestClient(self.app, headers={"Accept": "text/html"}, follow_redirects=False)

    def login(self, role: Role, name: str = "测试") -> TestClient:
        browser = self.browser()
        answer = log_in(browser, self.key(role, name)[1])
        assert answer.status_code == 303, answer.text
        return browser

    def send(self, content: str = ADVERSE, title: str = "对判决不服") -> tuple[str, str]:
        """An order comes in and waits for a person; its id and its review's."""
        if self._sent == 0:
            self._intake = self.key("intake", "接入系统")[1]
        self._sent += 1
        answer = TestClient(self.app).post(
            "/v1/orders",
            json={
                "source": "city-a",
                "number": f"GD-{self._sent:04}",
                "title": title,
                "content": content,
                "region": "城东街道",
                "channel": "phone",
            },
            headers={"Authorization": f"Bearer {self._intake}"},
        )
        assert answer.status_code == 201, answer.text
        return answer.json()["order_id"], answer.json()["review_id"]

    def keep(self, order: WorkOrder, decision: Decision) -> str:
        """Put an order with a decision of the test's own choosing into the store; its review's id."""
        review_id, decision_id = new_id(), new_id()
        with self.database.transaction() as conn:
            commitment = orders.add(conn, self.keyring.vault, order, "test")
            decisions.add(conn, order.id, decision_id, decision, commitment, "test")
            reviews.open(conn, review_id, order.id, decision_id, decision, self.clock(), "test")
        return review_id


def log_in(browser: TestClient, key: str, target: str = "/") -> Any:
    form = forms_of(browser.get("/login", params={"next": target}).text)["/login"]
    return browser.post("/login", data=form | {"key": key})


@pytest.fixture
def site(database: Database, keyring: Keyring, tiny_triage: Triage, taxonomy: Taxonomy) -> Site:
    return site_over(database, keyring, tiny_triage, taxonomy)


def site_over(database: Database, keyring: Keyring, triage: Triage, taxonomy: Taxonomy) -> Site:
    clock = Clock()
    app = create_app(Settings(log_origin=ORIGIN), database, keyring, triage, taxonomy, now=clock)
    return Site(app, database, keyring, triage, clock)
