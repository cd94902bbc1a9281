"""The pages in a real Chromium over a real socket, with JavaScript and without."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from data.records import Role
from data.settings import ROOT
from data.store.database import Database
from data.store.keyring import Keyring
from data.taxonomy import Taxonomy
from models.triage import Triage
from tests.serving.pages.conftest import Site, site_over

pytestmark = pytest.mark.browser
CHROMIUM = "/usr/bin/chromium"
SCREENSHOTS = ROOT / "var" / "screenshots"


@dataclass
class Live:
    site: Site
    url: str


@pytest.fixture
def live(sqlite_url: str, keyring: Keyring, tiny_triage: Triage, taxonomy: Taxonomy) -> Iterator[Live]:
    database = Database(sqlite_url)
    site = site_over(database, keyring, tiny_triage, taxonomy)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(site.app, log_config=None, access_log=False, ws="none"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield Live(site, f"http://127.0.0.1:{listening.getsockname()[1]}")
        server.should_exit = True
        thread.join(timeout=10)
    database.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture(params=[True, False], ids=["with-scripts", "without-scripts"])
def context(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[BrowserContext]:
    opened = chromium.new_context(
        java_script_enabled=request.param, locale="zh-CN", viewport={"width": 1280, "height": 900}
    )
    yield opened
    opened.close()


def enter(live: Live, context: BrowserContext, role: Role, name: str) -> tuple[Page, list[str]]:
    """A page behind the login, and a list that will hold every complaint of the browser's console."""
    page = context.new_page()
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        # The browser reports each refused form by its status: those are the application's answers.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(live.url)
    page.get_by_label("密钥").fill(live.site.key(role, name)[1])
    page.get_by_role("button", name="登录").click()
    page.get_by_role("button", name="退出").wait_for()
    return page, complaints


def picture(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    # Hiding the caret, the default, would put an inline style into the page, which its policy refuses.
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True, caret="initial")


def test_an_order_goes_through_all_hands(
    live: Live, context: BrowserContext, request: pytest.FixtureRequest
) -> None:
    suffix = request.node.callspec.id
    live.site.send("楼下夜宵摊的灶火离天然气管很近，有明火，请尽快派人。", "夜宵摊明火靠近燃气管")
    order_id, _ = live.site.send(
        "我和邻居的院墙官司，法院判决我拆墙，我不服，上诉也驳回了。请热线另裁，责令法院改判。\n"
        "另外小区三号楼的路灯坏了十多天，老人晚上出门看不见路。",
        "对拆墙判决不服",
    )
    page, complaints = enter(live, context, "reviewer", "复核甲")
    picture(page, f"queue-{suffix}")
    page.locator("tr", has_text="GD-0002").get_by_role("button", name="领取").click()
    page.get_by_role("heading", name="独立初判").wait_for()
    picture(page, f"blind-{suffix}")
    assert page.locator("mark").count() == 0

    page.get_by_text("合理", exact=True).first.click()
    page.get_by_label("诉求性质").select_option("help")
    page.get_by_label("内容分类").select_option("political_legal")
    page.get_by_text("派单办理").click()
    page.get_by_role("button", name="提交初判").click()
    page.get_by_role("alert").wait_for()
    page.get_by_label("判断的理由").fill("路灯一事可以派单。")
    page.get_by_role("button", name="提交初判").click()
    page.get_by_role("heading", name="对照").first.wait_for()
    page.get_by_role("region", name="参照样例").get_by_text("要求改变生效裁定").click()
    page.get_by_text("法院裁定不算数，请改判。").wait_for()
    picture(page, f"compare-{suffix}")

    page.get_by_text("不合理", exact=True).last.click()
    page.get_by_text("须经法定途径").last.click()
    page.get_by_text("解释说明").last.click()
    page.get_by_label("更改的理由").fill("主要诉求是要求改判。")
    page.get_by_role("button", name="办结", exact=True).click()
    page.get_by_role("heading", name="已办结").wait_for()
    picture(page, f"resolved-{suffix}")
    page.get_by_role("button", name="退出").click()
    page.get_by_label("密钥").wait_for()
    picture(page, f"login-{suffix}")

    auditor, heard = enter(live, context, "auditor", "审计乙")
    picture(auditor, f"audit-{suffix}")
    auditor.get_by_label("工单编号或 id").fill(order_id)
    auditor.get_by_role("button", name="查找").click()
    auditor.get_by_role("heading", name="GD-0002").wait_for()
    picture(auditor, f"story-{suffix}")
    with auditor.expect_download() as download:
        auditor.get_by_role("link", name="导出供离线核验").click()
    assert download.value.suggested_filename == f"mingbian-{order_id}.json"
    assert complaints + heard == []


def test_pages_fit_a_telephone_and_the_keyboard_reaches_everything(live: Live, chromium: Browser) -> None:
    live.site.send()
    context = chromium.new_context(viewport={"width": 375, "height": 720}, locale="zh-CN")
    page, _ = enter(live, context, "reviewer", "复核甲")
    for name in ("phone-queue", "phone-review"):
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 375, f"{name} scrolls sideways"
        picture(page, name)
        if name == "phone-queue":
            reached = []
            for _ in range(20):
                page.keyboard.press("Tab")
                reached.append(page.evaluate("document.activeElement.innerText.trim()"))
            assert reached[0] == "跳到正文"
            assert {"退出", "GD-0001", "领取"} <= set(reached)
            page.get_by_role("button", name="领取").press("Enter")
            page.get_by_role("heading", name="独立初判").wait_for()
    context.close()


def _renew(page: Page, path: str, part: str) -> None:
    """What the page does by itself every half minute."""
    options = f"{{source: '{part}', target: '{part}', select: '{part}', swap: 'outerHTML'}}"
    page.evaluate(f"htmx.ajax('GET', '{path}', {options})")


def test_a_claim_that_runs_out_is_told_and_leaves_what_was_typed(live: Live, chromium: Browser) -> None:
    _, review_id = live.site.send()
    context = chromium.new_context(locale="zh-CN")
    page, complaints = enter(live, context, "reviewer", "复核甲")
    page.goto(f"{live.url}/review/{review_id}")
    gone = page.get_by_text("领取已到期或已退回")
    assert gone.is_hidden()
    page.get_by_role("button", name="领取").click()
    page.get_by_label("判断的理由").fill("写到一半")
    live.site.clock.forward(timedelta(minutes=20))
    _renew(page, f"/review/{review_id}/lease", "#lease")
    gone.wait_for()
    assert page.get_by_label("判断的理由").input_value() == "写到一半"
    assert complaints == []
    context.close()


def test_the_queue_renews_itself_and_keeps_no_copy(live: Live, chromium: Browser) -> None:
    context = chromium.new_context(locale="zh-CN")
    page, complaints = enter(live, context, "reviewer", "复核甲")
    live.site.send()
    assert page.get_by_role("link", name="GD-0001").count() == 0
    # The page asks by itself every half minute; the test asks in its place.
    _renew(page, "/review", "#queue")
    page.get_by_role("link", name="GD-0001").click()
    page.get_by_role("heading", name="GD-0001").wait_for()
    assert (
        page.evaluate("JSON.stringify([Object.keys(localStorage), Object.keys(sessionStorage)])") == "[[],[]]"
    )
    assert complaints == []
    context.close()
