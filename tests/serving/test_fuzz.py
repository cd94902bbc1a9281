from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.settings import Settings
from data.store.database import Database
from data.store.keyring import Keyring
from models.triage import Triage
from tests.serving.staffed import Service, a_judgement, an_order, assert_problem, post_urgent

MARK = "密语qzx"
FUZZED = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

_SPECIAL = st.sampled_from(
    [
        "\u202e",
        "\ufeff",
        "\u200b",
        "\x7f",
        "\x1b[31m",
        "\r\n",
        "😀",
        "﷽",
        "\U0010ffff",
        "ﷺ",
        "' OR 1=1 --",
        "{{7*7}}",
    ]
)
_TEXT = st.builds(
    lambda before, after: f"{before}{MARK}{after}", st.text(max_size=20) | _SPECIAL, st.text(max_size=20)
)
_ATOM = (
    _TEXT
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "1", 0, -1, 2**31, 2**53, 1e308, [], {}])
)
_ANY = st.recursive(
    _ATOM,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def fuzzed(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, no_model: Triage
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "mingbian.db").write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite:///{folder / 'mingbian.db'}")
    yield Service(Settings(), database, Keyring.open(folder / "keys"), no_model)
    database.close()


@pytest.fixture(scope="module")
def review(fuzzed: Service) -> str:
    review_id: str = post_urgent(fuzzed)["review_id"]
    return review_id


def checked(answer: Any) -> None:
    """Whatever came in: an answer, or a problem that repeats none of it."""
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        code = answer.json()["code"]
        assert_problem(answer, answer.status_code, code)
        assert MARK not in answer.text
        assert MARK not in str(answer.headers)


def post(client: Any, address: str, body: bytes, **headers: str) -> Any:
    given = {"Content-Type": "application/json", **headers}
    return client.post(address, content=body, headers={name: value.encode() for name, value in given.items()})


def changed(plain: dict[str, Any], changes: dict[str, Any], dropped: set[str]) -> bytes:
    body = {name: value for name, value in {**plain, **changes}.items() if name not in dropped}
    return json.dumps(body).encode()


_ORDER_NAMES = st.sampled_from([*an_order(), "revision", "channel", "region", "received_at", MARK])
_JUDGEMENT_NAMES = st.sampled_from([*a_judgement(1), "ground", "change_reason", MARK])


@FUZZED
@given(st.dictionaries(_ORDER_NAMES, _ANY, max_size=3), st.sets(_ORDER_NAMES, max_size=1))
def test_orders_of_every_shape(fuzzed: Service, changes: dict[str, Any], dropped: set[str]) -> None:
    checked(post(fuzzed.caller("intake"), "/v1/orders", changed(an_order(), changes, dropped)))


@FUZZED
@given(_ANY)
def test_any_json_is_answered(fuzzed: Service, body: Any) -> None:
    checked(post(fuzzed.caller("intake"), "/v1/orders", json.dumps(body, ensure_ascii=False).encode("utf-8")))


@FUZZED
@given(
    st.binary(max_size=200)
    | st.text('{}[]",:\\u0de1aN\u0000\ud7ff é', max_size=60).map(lambda text: f'{{"{MARK}{text}'.encode())
)
def test_any_bytes_are_answered(fuzzed: Service, body: bytes) -> None:
    answer = post(fuzzed.caller("intake"), "/v1/orders", body)
    checked(answer)
    assert answer.status_code in (400, 422)


@FUZZED
@given(st.text(min_size=1, max_size=400))
def test_any_text_is_an_order(fuzzed: Service, content: str) -> None:
    answer = fuzzed.caller("intake").post("/v1/orders", json=an_order(content=content))
    assert answer.status_code == (400 if "\0" in content else 201), answer.text


@FUZZED
@given(
    st.sampled_from(["claim", "release", "judgement", "resolve"]),
    st.dictionaries(_JUDGEMENT_NAMES, _ANY, max_size=3),
    st.sets(_JUDGEMENT_NAMES, max_size=1),
)
def test_judgements_of_every_shape(
    fuzzed: Service, review: str, step: str, changes: dict[str, Any], dropped: set[str]
) -> None:
    address = f"/v1/reviews/{review}/{step}"
    checked(post(fuzzed.caller("reviewer"), address, changed(a_judgement(1), changes, dropped)))


_HEADER = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=40)


@FUZZED
@given(_HEADER, _HEADER, _HEADER)
def test_headers_of_every_shape(fuzzed: Service, review: str, key: str, tag: str, request_id: str) -> None:
    headers = {"Idempotency-Key": key, "If-Match": tag, "X-Request-Id": request_id, "traceparent": request_id}
    checked(post(fuzzed.caller("reviewer"), f"/v1/reviews/{review}/claim", b"", **headers))
    checked(post(fuzzed.anyone(), "/v1/orders", b"{}", Authorization=f"Bearer {key}", Accept=tag))


@FUZZED
@given(
    st.sampled_from(["/v1/orders/{}", "/v1/orders/{}/record", "/v1/audit/orders/{}", "/v1/{}"]),
    st.text(min_size=1, max_size=30) | st.sampled_from(["..", "%2e%2e", "%00", "%ff", "a/b", "?", "#"]),
)
def test_addresses_of_every_shape(fuzzed: Service, place: str, name: str) -> None:
    checked(fuzzed.caller("auditor").get(place.format(quote(MARK + name, safe="%"))))


@FUZZED
@given(
    st.dictionaries(
        st.sampled_from(["index", "size", "old", "new", "status", "after", "limit"]), _TEXT | st.integers()
    )
)
def test_queries_of_every_shape(fuzzed: Service, query: dict[str, Any]) -> None:
    checked(fuzzed.caller("auditor").get("/v1/audit/inclusion", params=query))
    checked(fuzzed.caller("auditor").get("/v1/audit/consistency", params=query))
    checked(fuzzed.caller("reviewer").get("/v1/reviews", params=query))
