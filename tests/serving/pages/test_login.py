from __future__ import annotations

from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from data.records import Role
from data.store import credentials
from serving.access import SESSION_COOKIE
from serving.sessions import LIFETIME
from tests.serving.pages.conftest import Site, log_in
from tests.serving.pages.form_reader import forms_of

HOMES = {"reviewer": "/review", "adjudicator": "/review", "auditor": "/audit", "admin": "/audit"}


@pytest.mark.parametrize(("role", "home"), HOMES.items())
def test_a_key_opens_its_role_s_page_and_no_other(site: Site, role: Role, home: str) -> None:
    browser = site.login(role)
    assert browser.get("/").headers["location"] == home
    for path in ("/review", "/audit"):
        assert browser.get(path).status_code == (200 if path == home else 403)


@pytest.mark.parametrize("role", ["intake", "unit", "data"])
def test_a_role_without_pages_is_not_let_in(site: Site, role: Role) -> None:
    browser = site.browser()
    assert log_in(browser, site.key(role)[1]).status_code == 403
    assert SESSION_COOKIE not in browser.cookies
    assert browser.get("/review").headers["location"].startswith("/login")


def test_the_cookie_is_kept_from_scripts_and_other_sites_and_holds_no_key(site: Site) -> None:
    browser = site.browser()
    _, key = site.key("reviewer")
    given = log_in(browser, key).headers["set-cookie"]
    cookie = next(part for part in given.split(", ") if part.startswith(SESSION_COOKIE))
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    assert key.rpartition("_")[2] not in cookie


def test_a_wrong_key_is_refused_and_not_repeated(site: Site) -> None:
    browser = site.browser()
    _, key = site.key("reviewer")
    wrong = key[:-1] + ("0" if key[-1] != "0" else "1")
    answer = log_in(browser, wrong)
    assert answer.status_code == 401
    assert "密钥无效" in answer.text
    assert wrong not in answer.text
    assert SESSION_COOKIE not in browser.cookies


def test_an_expired_key_is_refused(site: Site) -> None:
    _, key = site.key("reviewer", expires_at=site.clock() - timedelta(seconds=1))
    assert "已过期" in log_in(site.browser(), key).text


def test_a_login_form_from_elsewhere_is_refused(site: Site) -> None:
    browser = site.browser()
    _, key = site.key("reviewer")
    foreign = forms_of(site.browser().get("/login").text)["/login"]
    browser.get("/login")
    assert browser.post("/login", data=foreign | {"key": key}).status_code == 403
    assert SESSION_COOKIE not in browser.cookies


def test_a_forged_cookie_is_nobody(site: Site) -> None:
    browser = site.login("reviewer")
    value = browser.cookies[SESSION_COOKIE]
    payload, _, signature = value.rpartition(".")
    session, expires, _ = payload.split(".", 2)
    other = site.key("auditor")[0]
    for forged in (
        f"{session}.{int(expires) + 1}.{payload.split('.', 2)[2]}.{signature}",
        f"{session}.{expires}.{other}.{signature}",
        payload,
        "",
        "...",
    ):
        visitor = site.browser()
        visitor.cookies.set(SESSION_COOKIE, forged)
        answer = visitor.get("/review")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/review")


def test_a_session_ends_after_its_lifetime(site: Site) -> None:
    browser = site.login("reviewer")
    site.clock.forward(LIFETIME - timedelta(seconds=2))
    assert browser.get("/review").status_code == 200
    site.clock.forward(timedelta(seconds=2))
    assert browser.get("/review").status_code == 303


def test_a_revoked_key_ends_its_sessions(site: Site) -> None:
    key_id, key = site.key("reviewer")
    browser = site.browser()
    log_in(browser, key)
    with site.database.transaction() as conn:
        credentials.revoke(conn, key_id, site.clock(), "test")
    assert browser.get("/review").status_code == 303


def test_logging_out_ends_the_session_even_for_a_copied_cookie(site: Site) -> None:
    browser = site.login("reviewer")
    copied = browser.cookies[SESSION_COOKIE]
    form = forms_of(browser.get("/review").text)["/logout"]
    assert browser.post("/logout", data=form).headers["location"] == "/login"
    assert SESSION_COOKIE not in browser.cookies
    thief = site.browser()
    thief.cookies.set(SESSION_COOKIE, copied)
    assert thief.get("/review").status_code == 303


def test_a_login_leads_back_to_where_one_was_going_but_never_elsewhere(site: Site) -> None:
    assert log_in(site.browser(), site.key("auditor")[1], "/audit").headers["location"] == "/audit"
    for target in (
        "//evil.example/audit",
        "/\\evil.example",
        "https://evil.example",
        "/audit/../../evil",
        "/audit\n",
    ):
        answer = log_in(site.browser(), site.key("auditor")[1], target)
        assert answer.headers["location"] == "/audit"


def test_pages_carry_no_inline_script_and_may_not_be_framed(site: Site) -> None:
    answer = site.login("reviewer").get("/review")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<style" not in answer.text
    assert " style=" not in answer.text
    assert "<script>" not in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_static_files_are_named_by_content_and_kept(site: Site) -> None:
    browser = site.browser()
    page = browser.get("/login").text
    for name in ("desk.css", "htmx.min.js", "mark.svg"):
        url = page[page.index(f"/static/{name}") :].split('"')[0]
        answer = browser.get(url)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert browser.get("/static/..%2Ffile").status_code == 404
    assert browser.get("/static/other.css").status_code == 404


def test_an_unknown_address_is_a_page_for_people(site: Site) -> None:
    answer = site.browser().get("/nowhere")
    assert answer.status_code == 404
    assert "没有这个地址" in answer.text
    assert TestClient(site.app).get("/nowhere").headers["content-type"] == "application/problem+json"
