from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from data.records import Decision, WorkOrder
from data.store import audit_log, decisions, reviews
from data.store.identifiers import new_id
from tests.serving.pages.conftest import ADVERSE, Site
from tests.serving.pages.form_reader import forms_of, words_of

REASONABLE = {
    "verdict": "reasonable",
    "kind": "help",
    "subject": "political_legal",
    "disposition": "dispatch",
    "reason": "来件另有可办的内容。",
}
UNREASONABLE = REASONABLE | {
    "verdict": "unreasonable",
    "ground": "legal_route",
    "disposition": "explain",
    "reason": "要求热线代替法院裁判。",
}


def act(browser: TestClient, review_id: str, step: str, **fields: str) -> Any:
    """Send one of the forms that the review's page offers now."""
    path = f"/review/{review_id}"
    form = forms_of(browser.get(path).text)[f"{path}/{step}"]
    return browser.post(f"{path}/{step}", data={k: v for k, v in (form | fields).items() if k})


def claimed(site: Site) -> tuple[TestClient, str, str]:
    order_id, review_id = site.send()
    browser = site.login("reviewer")
    assert act(browser, review_id, "claim").status_code == 303
    return browser, order_id, review_id


def test_the_whole_way_from_the_queue_to_the_decision(site: Site) -> None:
    order_id, review_id = site.send()
    browser = site.login("reviewer", "复核甲")
    queue = browser.get("/review").text
    form = forms_of(queue)[f"/review/{review_id}/claim"]
    assert browser.post(f"/review/{review_id}/claim", data=form).headers["location"] == f"/review/{review_id}"
    page = browser.get(f"/review/{review_id}").text
    assert ADVERSE in page

    assert act(browser, review_id, "judgement", **REASONABLE).status_code == 303
    page = browser.get(f"/review/{review_id}").text
    with site.database.reading() as conn:
        model = decisions.of_order(conn, order_id)[0].decision
    assert model.notice is not None
    words = words_of(page)
    assert "".join(model.notice.split()) in words
    assert f"{model.p_unreasonable:.1%}" in words or ">99.9%" in words
    assert "须经法定途径" in words
    assert "不同" in words
    assert model.thresholds.decline is not None
    assert f"{model.thresholds.decline:.1%}" in words

    assert act(browser, review_id, "resolve", **UNREASONABLE).status_code == 422
    assert (
        act(browser, review_id, "resolve", **UNREASONABLE, change_reason="初判时看漏了。").status_code == 303
    )
    assert "已办结" in browser.get(f"/review/{review_id}").text
    with site.database.reading() as conn:
        last = decisions.of_order(conn, order_id)[-1].decision
        events = [entry.event for entry in audit_log.entries(conn, order_id)]
    assert (last.source, last.ground, last.disposition) == ("person", "legal_route", "explain")
    assert events[2:] == [
        "review.opened",
        "review.claimed",
        "review.judged",
        "order.decided",
        "review.resolved",
    ]


def test_keeping_one_s_judgement_needs_nothing_typed(site: Site) -> None:
    browser, order_id, review_id = claimed(site)
    act(browser, review_id, "judgement", **UNREASONABLE)
    assert act(browser, review_id, "resolve").status_code == 303
    with site.database.reading() as conn:
        last = decisions.of_order(conn, order_id)[-1].decision
    assert (last.source, last.ground) == ("person", "legal_route")


def test_precedents_of_both_sides_stand_beside_the_comparison(site: Site) -> None:
    browser, _, review_id = claimed(site)
    assert "参照样例" not in browser.get(f"/review/{review_id}").text
    act(browser, review_id, "judgement", **REASONABLE)
    words = words_of(browser.get(f"/review/{review_id}").text)
    assert "虚构工单，不是真实案件" in words
    assert words.index("设施坏了，归市政管") < words.index("要求改变生效裁定")
    assert "相似度" in words


def test_the_lease_is_renewed_without_the_model(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, _, review_id = claimed(site)
    act(browser, review_id, "judgement", **REASONABLE)

    def asked(*_: object) -> None:
        raise AssertionError("the model was asked")

    monkeypatch.setattr(site.triage, "explain", asked)
    monkeypatch.setattr(site.triage, "nearest", asked)
    part = browser.get(f"/review/{review_id}/lease")
    assert part.status_code == 200
    assert "还剩" in words_of(part.text)
    assert "<html" not in part.text
    assert list(forms_of(part.text)) == [f"/review/{review_id}/release"]
    site.clock.forward(timedelta(hours=1))
    assert "领取已到期" in browser.get(f"/review/{review_id}/lease").text


def test_before_judging_a_page_is_the_same_whatever_the_model_concluded(site: Site) -> None:
    """Two orders with the same words, judged oppositely by a model, must look alike in every byte."""
    template = site.triage.decide("对判决不服", ADVERSE, site.clock())
    assert template.prediction is not None
    swapped = dict(template.prediction.verdict)
    swapped["reasonable"], swapped["legal_route"] = swapped["legal_route"], swapped["reasonable"]
    opposite = replace(
        template,
        verdict="reasonable",
        ground=None,
        kind="praise",
        subject="health",
        p_unreasonable=0.0123,
        confidence=0.9877,
        recommended="dispatch",
        prediction=replace(template.prediction, verdict=swapped),
        notice=None,
        review_reasons=("uncertain",),
    )
    assert template.review_reasons != opposite.review_reasons
    seen = []
    for number, decision in (("A-1", template), ("A-2", opposite)):
        seen.append(_blind_pages(site, number, decision))
    assert seen[0] == seen[1]
    for page in seen[0]:
        assert "%" not in page
        assert "<mark" not in page
        assert template.notice is not None
        assert template.notice[:12] not in page
        assert template.versions.bundle is not None
        assert template.versions.bundle not in page
    assert any(ADVERSE in page for page in seen[0])


def _blind_pages(site: Site, number: str, decision: Decision) -> list[str]:
    order = WorkOrder(new_id(), "city-a", number, 1, "对判决不服", ADVERSE, site.clock())
    review_id = site.keep(order, decision)
    browser = site.login("reviewer")
    path = f"/review/{review_id}"
    pages = [browser.get("/review").text, browser.get(path).text]
    act(browser, review_id, "claim")
    pages += [browser.get("/review").text, browser.get(path).text]
    act(browser, review_id, "release")
    pages.append(browser.get(path).text)
    with site.database.transaction() as conn:
        reviews.claim(conn, review_id, "someone-else", site.clock(), timedelta(hours=1))
    pages.append(browser.get(path).text)
    return [_without_names(page, number) for page in pages if number in page]


def _without_names(page: str, number: str) -> str:
    """What is each order's own by nature, ids and times, taken out."""
    page = re.sub(
        r"<tr class=.*?</tr>", lambda row: row[0] if number in row[0] else "", page, flags=re.DOTALL
    )
    page = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", page)
    page = re.sub(r'name="form_token" value="[^"]*"', "TOKEN", page)
    page = re.sub(r"<time[^>]*>", "<time>", page)
    return "\n".join(line.strip() for line in page.replace(number, "NUMBER").splitlines() if line.strip())


def test_the_text_is_shown_to_whoever_holds_the_order_and_to_no_other(site: Site) -> None:
    browser, _, review_id = claimed(site)
    other = site.login("reviewer", "复核乙")
    page = other.get(f"/review/{review_id}").text
    assert ADVERSE not in page
    assert "已由他人领取" in page
    form = forms_of(other.get("/review").text)["/logout"]
    answer = other.post(f"/review/{review_id}/claim", data=form)
    assert answer.status_code == 409
    assert ADVERSE in browser.get(f"/review/{review_id}").text


def test_what_others_judged_and_resolved_stays_hidden(site: Site) -> None:
    browser, _, review_id = claimed(site)
    act(browser, review_id, "judgement", **UNREASONABLE)
    act(browser, review_id, "resolve")
    page = site.login("reviewer", "复核乙").get(f"/review/{review_id}").text
    assert UNREASONABLE["reason"] not in page
    assert ADVERSE not in page


def test_an_expired_claim_cannot_judge_and_says_so(site: Site) -> None:
    browser, _, review_id = claimed(site)
    path = f"/review/{review_id}/judgement"
    form = forms_of(browser.get(f"/review/{review_id}").text)[path]
    site.clock.forward(timedelta(minutes=20))
    answer = browser.post(path, data={k: v for k, v in (form | UNREASONABLE).items() if k})
    assert answer.status_code in (409, 412)
    assert "重新领取" in answer.text or "刷新" in answer.text
    assert "须经法定途径" not in answer.text, "no form, no model"


def test_a_refused_form_keeps_what_was_typed(site: Site) -> None:
    browser, _, review_id = claimed(site)
    answer = act(
        browser, review_id, "judgement", **UNREASONABLE | {"ground": "", "reason": "写了很久的一段话"}
    )
    assert answer.status_code == 422
    assert "不合理的理由" in answer.text
    assert 'role="alert"' in answer.text
    again = forms_of(answer.text)[f"/review/{review_id}/judgement"]
    assert again["reason"] == "写了很久的一段话"
    assert again["kind"] == "help"
    assert again["verdict"] == "unreasonable"


@pytest.mark.parametrize(
    "wrong",
    [
        {"ground": "no_such_ground"},
        {"kind": "legal_route"},
        {"subject": "Ж"},
        {"disposition": "review"},
        {"verdict": "maybe"},
        {"reason": "长" * 2001},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_the_form_does_not_offer_is_refused(site: Site, wrong: dict[str, str]) -> None:
    browser, _, review_id = claimed(site)
    answer = act(browser, review_id, "judgement", **UNREASONABLE | wrong)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    with site.database.reading() as conn:
        assert reviews.get(conn, review_id, site.clock()).first_judgement is None


def test_a_ground_left_over_from_a_changed_mind_is_dropped(site: Site) -> None:
    browser, _, review_id = claimed(site)
    assert act(browser, review_id, "judgement", **REASONABLE | {"ground": "legal_route"}).status_code == 303
    with site.database.reading() as conn:
        first = reviews.get(conn, review_id, site.clock()).first_judgement
    assert first is not None
    assert (first.verdict, first.ground) == ("reasonable", None)


@pytest.mark.parametrize("step", ["claim", "release", "judgement", "resolve"])
def test_a_form_without_the_session_s_token_is_refused(site: Site, step: str) -> None:
    browser, _, review_id = claimed(site)
    foreign = forms_of(site.login("reviewer").get("/review").text)["/logout"]["form_token"]
    for token in ("", "x", foreign):
        data = UNREASONABLE | {"form_token": token, "fence": "1", "version": "1"}
        answer = browser.post(f"/review/{review_id}/{step}", data=data)
        assert answer.status_code == 403
        assert "失效" in answer.text
    with site.database.reading() as conn:
        assert reviews.get(conn, review_id, site.clock()).status == "claimed"


@pytest.mark.parametrize("role", ["auditor", "admin"])
def test_an_auditor_cannot_review(site: Site, role: str) -> None:
    _, review_id = site.send()
    browser = site.login(role)  # type: ignore[arg-type]
    token = forms_of(browser.get("/audit").text)["/logout"]["form_token"]
    assert browser.get(f"/review/{review_id}").status_code == 403
    assert browser.post(f"/review/{review_id}/claim", data={"form_token": token}).status_code == 403


def test_text_that_looks_like_markup_stays_text(site: Site) -> None:
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'裁"
    _, review_id = site.send(attack, title="<b>裁</b>{{ 7*7 }}")
    browser = site.login("reviewer", "<i>甲</i>")
    act(browser, review_id, "claim")
    act(browser, review_id, "judgement", **UNREASONABLE | {"reason": "</textarea><script>alert(2)</script>"})
    for path in ("/review", f"/review/{review_id}"):
        page = browser.get(path).text
        assert not re.search(r"<script>|<img|<b>|<i>|</textarea><", page)
    assert "&lt;script&gt;alert(1)" in page
    assert "{{ 7*7 }}" in page


def test_the_queue_pages_on_and_filters(site: Site) -> None:
    sent = [site.send()[1] for _ in range(27)]
    browser = site.login("reviewer")
    page = browser.get("/review").text
    first = re.findall(r'action="/review/([0-9a-f-]{36})/claim"', page)
    after = re.search(r"after=([0-9a-f-]{36})", page)
    assert after is not None
    rest = re.findall(
        r'action="/review/([0-9a-f-]{36})/claim"', browser.get("/review", params={"after": after[1]}).text
    )
    assert first + rest == sent
    assert "没有等待复核的工单" in browser.get("/review?status=judged").text
    assert browser.get("/review?status=other").status_code == 422
    assert browser.get("/review/not-an-id").status_code == 422
    assert browser.get(f"/review/{new_id()}").status_code == 404


def test_danger_comes_first_and_is_named(site: Site) -> None:
    site.send()
    _, urgent = site.send("我站在楼顶上，不想活了", title="")
    page = site.login("reviewer").get("/review").text
    assert re.findall(r'action="/review/([0-9a-f-]{36})/claim"', page)[0] == urgent
    assert "轻生风险" in page
    assert "紧急" in page
