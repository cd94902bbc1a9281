"""Callers and a watcher who stay through a fault, and what must hold of all they saw; fault tests call."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import httpx

from data.settings import Settings
from data.store import audit_log, decisions, orders
from data.store.database import Database
from data.store.keyring import Keyring
from data.store.verification import verify_log
from tests.journeys.real_process import Installation

SOURCE: Final = "load"
PATIENCE_S: Final = 60.0
_PAUSE_S: Final = 0.05

Caller = Callable[[], httpx.Client]


class Callers:
    """Callers that post orders and repeat each until it is answered; used as a context, they stop at its end.

    `acknowledged` holds decisions and `unanswered` bodies, both by order number; `refused` counts the codes
    of 503 answers that say when to come again; `wrong` holds every other answer but 201.
    """

    def __init__(self, clients: Sequence[Caller], count: int = 4) -> None:
        """`count` callers, who share the clients by turns."""
        self._lock = threading.Lock()
        self._enough = threading.Event()
        self._next = 0
        self._threads = [
            threading.Thread(target=self._call, args=(clients[place % len(clients)],))
            for place in range(count)
        ]
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self.unanswered: dict[str, dict[str, Any]] = {}
        self.refused: Counter[str] = Counter()
        self.wrong: list[str] = []

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)

    def until_more(self, count: int, within_s: float = PATIENCE_S) -> None:
        """Until so many more orders are acknowledged."""
        wanted = len(self.acknowledged) + count
        until(lambda: len(self.acknowledged) >= wanted, within_s, f"{self.refused} {self.wrong}")

    def _call(self, connect: Caller) -> None:
        with connect() as client:
            while not self._enough.is_set():
                body = self._body()
                while not self._enough.is_set() and not self._settled(client, body):
                    time.sleep(_PAUSE_S)

    def _settled(self, client: httpx.Client, body: dict[str, Any]) -> bool:
        """Whether the order has its answer; without one nobody knows if it was taken in."""
        try:
            response = client.post("/v1/orders", json=body)
        except httpx.TransportError:
            return False
        with self._lock:
            if response.status_code == 201:
                del self.unanswered[body["number"]]
                self.acknowledged[body["number"]] = response.json()
                return True
            if response.status_code == 503 and int(response.headers.get("Retry-After", 0)) > 0:
                self.refused[response.json()["code"]] += 1
                return False
            self.wrong.append(f"{response.status_code} {response.text}")
            return True

    def _body(self) -> dict[str, Any]:
        with self._lock:
            self._next += 1
            number = f"GD-{self._next:06}"
            content = f"来电人反映第{self._next}号路灯不亮，夜里看不清台阶，希望派人修好。"
            self.unanswered[number] = an_order(number, content)
        return self.unanswered[number]


class Watch:
    """Asks for liveness and readiness again and again; used as a context, it stops at its end.

    `dead` holds every answer of `/livez` that was not yes, `readiness` each code that `/readyz` changed to:
    `ready`, or a problem's.
    """

    def __init__(self, installation: Installation) -> None:
        self._url = installation.url
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.looks = 0
        self.dead: list[str] = []
        self.readiness: list[str] = []

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(2 * PATIENCE_S)

    @property
    def now(self) -> str:
        return self.readiness[-1] if self.readiness else ""

    def until(self, code: str) -> None:
        until(lambda: self.now == code, PATIENCE_S, f"{self.readiness}")

    def _look(self) -> None:
        with httpx.Client(base_url=self._url, timeout=PATIENCE_S) as client:
            while not self._enough.wait(_PAUSE_S):
                alive = _asked(client, "/livez")
                if alive != "alive":
                    self.dead.append(alive)
                code = _asked(client, "/readyz")
                if code != self.now:
                    self.readiness.append(code)
                self.looks += 1


def until(true: Callable[[], bool], within_s: float, otherwise: str = "") -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def an_order(number: str, content: str) -> dict[str, Any]:
    return {"source": SOURCE, "number": number, "content": content}


def assert_truthful(installation: Installation, callers: Callers, held: Sequence[str] = ()) -> None:
    """Nothing that was acknowledged is lost, nothing unaudited was answered, nothing is there twice.

    And the log, walked from its first leaf, is sound and goes on from the checkpoints held elsewhere.
    """
    assert callers.wrong == []
    settings = installation.environment
    database = Database(settings["MINGBIAN_DATABASE_URL"])
    public_key = Keyring.open(installation.folder / "keys").audit_public
    with database.reading() as conn:
        for number, decision in dict(callers.acknowledged).items():
            (stored,) = decisions.of_order(conn, decision["order_id"])
            assert stored.id == decision["decision_id"]
            assert [found.id for found in orders.find(conn, SOURCE, number)] == [decision["order_id"]]
            events = audit_log.entries(conn, decision["order_id"])
            assert [entry.event for entry in events][:2] == ["order.received", "order.decided"]
            assert events[1].facts["decision"] == decision["decision_id"]
        for number in list(callers.unanswered):
            assert len(orders.find(conn, SOURCE, number)) <= 1
        report = verify_log(conn, public_key, Settings().log_origin, held)
    database.close()
    assert report.findings == ()
    assert report.orders >= len(callers.acknowledged)


def answer_the_unanswered(installation: Installation, callers: Callers) -> None:
    """Who was not answered asks again, and is: what a fault interrupted is neither half there nor twice."""
    with installation.caller("intake") as client:
        for number, body in sorted(callers.unanswered.items()):
            answer = client.post("/v1/orders", json=body)
            assert answer.status_code == 201, answer.text
            callers.acknowledged[number] = answer.json()
    callers.unanswered.clear()


def _asked(client: httpx.Client, path: str) -> str:
    try:
        body = client.get(path).json()
    except httpx.TransportError as error:
        return type(error).__name__
    return str(body.get("code", body["status"]))
