"""A whole service in this process, with real keys and a clock that tests may turn; its tests call it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi.testclient import TestClient

from data.records import Role
from data.settings import Settings
from data.store import credentials
from data.store.database import Database
from data.store.identifiers import new_id
from data.store.keyring import Keyring
from models.triage import Triage
from serving.app import create_app

ROLES = credentials.ROLES
# Whatever the model says of it, the rules send this one on and a person looks as well.
URGENT = "来电人称自己活着没意思，不想活了，现在站在楼顶边上，想从这里跳下去。"
ORDINARY = "来电人反映柳荫巷口第三盏路灯已有五天不亮，夜里看不清台阶，希望派人修好。"


class Clock:
    """The time of day, moved forward at will."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Service:
    """An application over real parts, and one caller for each role."""

    def __init__(self, settings: Settings, database: Database, keyring: Keyring, triage: Triage) -> None:
        self.settings, self.database, self.keyring, self.triage = settings, database, keyring, triage
        self.clock = Clock()
        self.app = create_app(settings, database, keyring, triage, triage.taxonomy, now=self.clock)
        self.ids: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        for role in ROLES:
            self.ids[role], self._keys[role] = self.issue(role)

    def issue(self, role: Role, **terms: Any) -> tuple[str, str]:
        """A further key's id and text."""
        with self.database.transaction() as conn:
            return credentials.issue(conn, role, f"{role} of the tests", self.clock(), "tests", **terms)

    def anyone(self, **options: Any) -> TestClient:
        """A caller without a key."""
        return TestClient(self.app, **options)

    def caller(self, role: Role) -> TestClient:
        return self.with_key(self._keys[role])

    def another(self, role: Role) -> TestClient:
        """A second caller of the same role."""
        return self.with_key(self.issue(role)[1])

    def with_key(self, key: str) -> TestClient:
        return self.anyone(headers={"Authorization": f"Bearer {key}"})


def an_order(**changes: Any) -> dict[str, Any]:
    """A valid body; each call makes another number."""
    return {
        "source": "city-12345",
        "number": f"GD-{new_id()}",
        "title": "路灯不亮",
        "content": ORDINARY,
        **changes,
    }


def a_judgement(fence: int, **changes: Any) -> dict[str, Any]:
    return {
        "fence": fence,
        "verdict": "reasonable",
        "kind": "help",
        "subject": "urban_rural",
        "disposition": "dispatch",
        "reason": "路灯维护属于市政职责，应当受理。",
        **changes,
    }


def adverse(fence: int, **changes: Any) -> dict[str, Any]:
    return a_judgement(
        fence,
        **{
            "verdict": "unreasonable",
            "ground": "civil_or_market",
            "disposition": "explain",
            "reason": "双方自愿约定的买卖价格，应协商或者诉讼解决。",
            **changes,
        },
    )


def post_urgent(service: Service, **changes: Any) -> dict[str, Any]:
    """The decision on an order that a person must look at."""
    answer = service.caller("intake").post("/v1/orders", json=an_order(content=URGENT, **changes))
    assert answer.status_code == 201, answer.text
    decision: dict[str, Any] = answer.json()
    assert decision["review_id"]
    return decision


def claimed(service: Service, review_id: str, client: TestClient | None = None) -> int:
    """The fence of a fresh claim."""
    answer = (client or service.caller("reviewer")).post(f"/v1/reviews/{review_id}/claim")
    assert answer.status_code == 200, answer.text
    fence: int = answer.json()["fence"]
    return fence


def judged(service: Service, review_id: str, client: TestClient | None = None) -> int:
    """The fence of a claim under which the blind judgement was given."""
    client = client or service.caller("reviewer")
    fence = claimed(service, review_id, client)
    answer = client.post(f"/v1/reviews/{review_id}/judgement", json=a_judgement(fence))
    assert answer.status_code == 200, answer.text
    return fence


def whole_story(service: Service) -> dict[str, Any]:
    """An order received, decided, claimed, judged and resolved; its first decision."""
    decision = post_urgent(service)
    reviewer = service.caller("reviewer")
    fence = judged(service, decision["review_id"], reviewer)
    answer = reviewer.post(f"/v1/reviews/{decision['review_id']}/resolve", json=a_judgement(fence))
    assert answer.status_code == 200, answer.text
    return decision


def assert_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The answer is an RFC 9457 problem of this kind, in the house's shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert set(problem) <= {"type", "title", "status", "code", "detail", "request_id", "errors"}
    assert problem["code"] == code
    assert problem["type"] == f"/problems/{code}"
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    for text in (problem["title"], problem["detail"], *(item["detail"] for item in problem["errors"])):
        assert any("\u4e00" <= character <= "\u9fff" for character in text), text
    return problem


def everything(value: Any) -> str:
    """JSON with its Chinese readable: what a leak is looked for in."""
    return json.dumps(value, ensure_ascii=False)
