from __future__ import annotations

import json
import logging
import re
import sys
from datetime import timedelta
from typing import Any

import pytest

from serving.logs import JsonLines
from tests.serving.staffed import (
    URGENT,
    Service,
    a_judgement,
    adverse,
    an_order,
    claimed,
    judged,
    post_urgent,
)

MARK = "密语qzx"
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def answers(service: Service) -> dict[str, Any]:
    """One answer of each kind."""
    intake = service.caller("intake")
    return {
        "201": intake.post("/v1/orders", json=an_order()),
        "200": service.anyone().get("/livez"),
        "400": intake.post("/v1/orders", content=b"{", headers={"Content-Type": "application/json"}),
        "401": service.anyone().get("/v1/model"),
        "403": intake.get("/v1/reviews"),
        "404": intake.get("/v1/nowhere"),
        "405": intake.delete("/v1/orders"),
        "413": intake.post("/v1/orders", content=b" " * 300_000),
        "422": intake.post("/v1/orders", json={}),
    }


def test_every_answer_carries_a_request_id_and_the_security_headers(light: Service) -> None:
    seen = set()
    for status, answer in answers(light).items():
        assert str(answer.status_code) == status
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, (status, name)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == len(answers(light))


@pytest.mark.parametrize("given", ["call-2026.03_02", "a" * 64, "0198f0a2-7c1e-7d53-9f0e-4b1c2a3d4e5f"])
def test_a_caller_s_own_request_id_comes_back(light: Service, given: str) -> None:
    assert light.anyone().get("/livez", headers={"X-Request-Id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "short", "a" * 65, "with space in it", "<script>alert()", "漢字漢字"])
def test_a_request_id_that_is_no_id_is_replaced(light: Service, given: str) -> None:
    answer = light.anyone().get("/livez", headers={"X-Request-Id": given.encode()})
    assert answer.headers["x-request-id"] != given
    assert len(answer.headers["x-request-id"]) == 32


def test_no_word_reaches_logs_or_metrics(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    intake, reviewer = service.caller("intake"), service.caller("reviewer")
    with caplog.at_level(logging.DEBUG):
        body = an_order(
            title=f"{MARK}题", content=f"{MARK}文。{URGENT}", number=f"{MARK}号", source=f"{MARK}源"
        )
        body |= {"channel": f"{MARK}渠", "region": f"{MARK}区"}
        decision = intake.post("/v1/orders", json=body).json()
        intake.post("/v1/orders", json=body)
        intake.post("/v1/orders", json={**body, "content": f"{MARK}另"})
        intake.post("/v1/orders", json={**body, "revision": MARK, MARK: MARK})
        intake.post("/v1/orders", content=f'{{"{MARK}'.encode(), headers={"Content-Type": "application/json"})
        intake.get(f"/v1/orders/{MARK}")
        fence = claimed(service, decision["review_id"], reviewer)
        place = f"/v1/reviews/{decision['review_id']}"
        reviewer.post(f"{place}/judgement", json=a_judgement(fence, reason=f"{MARK}由"))
        resolution = adverse(fence, reason=f"{MARK}由", change_reason=f"{MARK}改")
        assert reviewer.post(f"{place}/resolve", json=resolution).status_code == 200
        service.caller("auditor").get(f"/v1/orders/{decision['order_id']}/record")
        metrics = service.anyone().get("/metrics").text
    ours = [record for record in caplog.records if not record.name.startswith("httpx")]
    assert sum(record.name == "mingbian.access" for record in ours) >= 10
    for record in ours:
        assert MARK not in f"{record.getMessage()} {vars(record)}"
        assert MARK not in JsonLines().format(record)
    assert MARK not in metrics
    assert decision["order_id"] not in metrics


def test_the_access_line_names_the_route_the_caller_and_the_outcome(
    light: Service, caplog: pytest.LogCaptureFixture
) -> None:
    decision = post_urgent(light)
    with caplog.at_level(logging.INFO, "mingbian.access"):
        light.caller("intake").get(f"/v1/orders/{decision['order_id']}")
    (line,) = [record for record in caplog.records if record.name == "mingbian.access"]
    written = json.loads(JsonLines().format(line))
    assert (written["method"], written["status"]) == ("GET", 200)
    assert written["route"].endswith("{order_id}")
    assert written["caller"] == light.ids["intake"]
    assert written["ms"] > 0
    assert decision["order_id"] not in json.dumps(written)


def test_a_log_line_leaves_out_what_an_exception_says() -> None:
    try:
        raise ValueError(MARK)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", None, sys.exc_info())
    line = JsonLines().format(record)
    assert "ValueError" in line
    assert MARK not in line
    assert "\n" not in line


def test_metrics_count_requests_decisions_and_the_queue(light: Service) -> None:
    decision = post_urgent(light)
    judged(light, decision["review_id"])
    text = light.anyone().get("/metrics").text
    assert (
        'mingbian_decisions_total{disposition="transfer",fallback="model_missing",source="rules"} 1.0' in text
    )
    assert 'mingbian_review_queue{status="judged"} 1.0' in text
    assert 'mingbian_review_queue{status="open"} 0.0' in text
    assert "mingbian_ready 0.0" in text
    assert 'status="201"' in text


def oldest_waiting(service: Service) -> dict[str, float]:
    """By status, in seconds."""
    text = service.anyone().get("/metrics").text
    found = re.findall(r'^mingbian_review_oldest_seconds\{status="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {status: float(seconds) for status, seconds in found}


def test_metrics_tell_how_long_the_oldest_review_has_waited(light: Service) -> None:
    assert oldest_waiting(light) == {"open": 0.0, "claimed": 0.0, "judged": 0.0}
    first, _ = post_urgent(light), post_urgent(light)
    light.clock.ahead += timedelta(hours=3)
    post_urgent(light)
    assert 10_800 <= oldest_waiting(light)["open"] < 10_860
    judged(light, first["review_id"])
    ages = oldest_waiting(light)
    assert 10_800 <= ages["open"] < 10_860, "the second, as old"
    assert 10_800 <= ages["judged"] < 10_860
    light.clock.ahead += timedelta(days=1)
    assert oldest_waiting(light)["judged"] == 0.0, "its lease has run out: it waits for another"
    light.clock.ahead -= timedelta(days=3)
    assert oldest_waiting(light)["open"] == 0.0, "a clock set back makes no negative age"
