from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from data.records import Role
from data.store import audit_log, offline_verifier, orders
from data.store.identifiers import new_id
from tests.serving.pages.conftest import ADVERSE, Site
from tests.serving.pages.form_reader import words_of
from tests.serving.pages.test_review import REASONABLE, UNREASONABLE, act


def reads_of(site: Site, order_id: str) -> list[str]:
    with site.database.reading() as conn:
        return [e.actor for e in audit_log.entries(conn, order_id) if e.event == "record.read"]


@pytest.fixture
def resolved(site: Site) -> tuple[str, str]:
    order_id, review_id = site.send()
    reviewer = site.login("reviewer", "复核甲")
    act(reviewer, review_id, "claim")
    act(reviewer, review_id, "judgement", **REASONABLE)
    act(reviewer, review_id, "resolve", **UNREASONABLE, change_reason="看漏了判决")
    return order_id, review_id


def test_the_story_tells_everything_and_proves_it(site: Site, resolved: tuple[str, str]) -> None:
    order_id, _ = resolved
    page = site.login("auditor", "审计乙").get(f"/audit/{order_id}")
    assert page.status_code == 200
    words = words_of(page.text)
    for told in (
        ADVERSE,
        *("收到工单", "作出决定", "转人工复核", "领取", "独立初判", "办结", "查阅记录"),
        *("接入系统", "复核甲", "审计乙"),
        *(REASONABLE["reason"], UNREASONABLE["reason"], "看漏了判决"),
        *("须经法定途径", "拟答复"),
    ):
        assert told in words, told
    with site.database.reading() as conn:
        entries = audit_log.entries(conn, order_id)
        size = audit_log.size(conn)
        root = audit_log.root(conn, size)
    assert root.hex() in page.text
    versions = entries[1].facts["versions"]
    for version in versions.values():
        assert version in page.text
    assert "未通过" not in words


def test_each_reading_is_an_entry_and_earlier_ones_are_shown(site: Site, resolved: tuple[str, str]) -> None:
    order_id, _ = resolved
    assert reads_of(site, order_id) == []
    first, second = site.login("auditor", "审计甲"), site.login("admin", "管理乙")
    first.get(f"/audit/{order_id}")
    assert len(reads_of(site, order_id)) == 1
    assert "审计甲" in words_of(second.get(f"/audit/{order_id}").text)
    assert len(set(reads_of(site, order_id))) == 2


def test_a_reader_without_the_role_leaves_no_entry(site: Site, resolved: tuple[str, str]) -> None:
    order_id, _ = resolved
    for path in (f"/audit/{order_id}", f"/audit/{order_id}/export"):
        assert site.login("reviewer").get(path).status_code == 403
        assert site.browser().get(path).status_code == 303
    assert reads_of(site, order_id) == []


def test_searching_and_listing_show_no_text_and_need_no_entry(site: Site) -> None:
    order_id, _ = site.send()
    other, _ = site.send()
    browser = site.login("auditor")
    listed = browser.get("/audit").text
    assert listed.index(other) < listed.index(order_id)
    assert "对判决不服" not in listed
    assert reads_of(site, order_id) == []
    assert browser.get("/audit", params={"number": order_id}).headers["location"] == f"/audit/{order_id}"
    found = browser.get("/audit", params={"source": "city-a", "number": "GD-0001"}).text
    assert order_id in found
    assert other not in found
    assert order_id not in browser.get("/audit", params={"source": "city-b", "number": "GD-0001"}).text
    assert other not in browser.get("/audit", params={"number": "GD-0001"}).text


def test_the_list_pages_on(site: Site) -> None:
    sent = [site.send()[0] for _ in range(23)]
    browser = site.login("auditor")
    page = browser.get("/audit").text
    after = re.search(r"after=([0-9a-f-]{36})", page)
    assert after is not None
    pages = page + browser.get("/audit", params={"after": after[1]}).text
    assert list(dict.fromkeys(re.findall(r'href="/audit/([0-9a-f-]{36})"', pages))) == sent[::-1]


def test_an_erased_order_keeps_its_story_without_its_words(site: Site, resolved: tuple[str, str]) -> None:
    order_id, _ = resolved
    with site.database.transaction() as conn:
        orders.erase(conn, order_id, "test", site.clock())
    browser = site.login("auditor")
    assert order_id in browser.get("/audit").text
    page = browser.get(f"/audit/{order_id}")
    assert page.status_code == 200
    assert "内容已清除" in page.text
    for gone in (ADVERSE, REASONABLE["reason"], UNREASONABLE["reason"]):
        assert gone not in page.text


def test_what_is_exported_convinces_an_outsider(
    site: Site, resolved: tuple[str, str], tmp_path: Path
) -> None:
    order_id, _ = resolved
    answer = site.login("auditor").get(f"/audit/{order_id}/export")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert len(json.loads(answer.content)["entries"]) >= 7
    (tmp_path / "export.json").write_bytes(answer.content)
    (tmp_path / "key.pem").write_text(site.keyring.audit_public_pem)
    command = [sys.executable, offline_verifier.__file__, "export.json", "--key", "key.pem"]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_markup_in_an_order_and_a_name_stays_text(site: Site) -> None:
    order_id, _ = site.send("<script>alert(1)</script>裁", title="<img src=x onerror=alert(1)>裁")
    page = site.login("auditor", "<b>甲</b>").get(f"/audit/{order_id}").text
    assert not re.search(r"<script>|<img|<b>", page)
    assert "&lt;script&gt;alert(1)" in page
    search = site.login("auditor").get("/audit", params={"source": '"><script>', "number": "<b>"}).text
    assert not re.search(r"<script>|<b>", search)


@pytest.mark.parametrize("role", ["auditor", "admin"])
def test_an_unknown_order_is_not_found(site: Site, role: Role) -> None:
    browser = site.login(role)
    assert browser.get(f"/audit/{new_id()}").status_code == 404
    assert browser.get(f"/audit/{new_id()}/export").status_code == 404
    assert browser.get("/audit/x").status_code == 422
