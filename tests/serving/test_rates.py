"""A key's calls are counted for itself, and come back with time."""

from __future__ import annotations

import pytest

from data.errors import Unavailable
from data.settings import Settings
from data.store import orders
from data.store.database import Database
from data.store.keyring import Keyring
from models.triage import Triage
from serving import rates
from serving.rates import Rates
from tests.serving.staffed import Service, an_order, assert_problem


class Stopwatch:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Stopwatch:
    return Stopwatch()


def spent(limited: Rates, key: str) -> int:
    """Calls until the first refusal."""
    calls = 0
    while True:
        try:
            limited.take(key)
        except Unavailable:
            return calls
        calls += 1


def test_a_bucket_holds_a_second_s_worth_and_fills_steadily(clock: Stopwatch) -> None:
    limited = Rates(10, clock)
    assert spent(limited, "a") == 10
    clock.now += 0.35
    assert spent(limited, "a") == 3
    clock.now += 60
    assert spent(limited, "a") == 10


def test_one_key_s_calls_cost_another_nothing(clock: Stopwatch) -> None:
    limited = Rates(2, clock)
    assert spent(limited, "a") == 2
    assert spent(limited, "b") == 2


def test_what_is_left_is_told(clock: Stopwatch) -> None:
    limited = Rates(4, clock)
    assert limited.take("a").headers == {"RateLimit-Policy": '"key";q=4;w=1', "RateLimit": '"key";r=3;t=1'}
    spent(limited, "a")
    with pytest.raises(Unavailable) as refused:
        limited.take("a")
    assert (refused.value.code, refused.value.retry_after) == ("rate_limited", 1)


def test_memory_is_bounded_however_many_keys_call(clock: Stopwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_MOST_KEYS", 3)
    limited = Rates(1, clock)
    for key in "abcd":
        limited.take(key)
    assert spent(limited, "d") == 0  # the newest are remembered
    assert spent(limited, "a") == 1


def test_too_many_calls_get_429_and_change_nothing(
    database: Database, keyring: Keyring, no_model: Triage
) -> None:
    service = Service(Settings(rate_limit=3), database, keyring, no_model)
    intake = service.caller("intake")
    answers = [intake.post("/v1/orders", json=an_order(number=f"GD-{number}")) for number in range(12)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    for answer in refused:
        assert_problem(answer, 429, "rate_limited")
        assert int(answer.headers["Retry-After"]) >= 1
    taken = [answer for answer in answers if answer.status_code == 201]
    assert len(taken) == 12 - len(refused)
    assert taken[0].headers["RateLimit-Policy"] == '"key";q=3;w=1'
    with database.reading() as conn:
        stored = [orders.find(conn, "city-12345", f"GD-{number}") for number in range(12)]
    assert len([found for found in stored if found]) == len(taken)
