"""JupyterHub's own pages in Chromium: in both languages, on a phone, with a keyboard, and with the portal away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, Route, expect

from tests.stories.live import Live, live_portal
from tests.stories.test_browser import browser

__all__ = ["browser"]
pytestmark = pytest.mark.browser
AGAIN = 30_000
"""Milliseconds: longer than it takes until a page asks the portal again, or gives up."""
WIDTHS = (375, 768, 1280)


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context()
    page = await context.new_page()
    page.set_default_timeout(60_000)
    yield page
    await context.close()


async def log_in(page: Page, live: Live, there: str = "/hub/home") -> None:
    await page.goto(f"{live.url}/hub/login?next={there}")
    await page.fill("#username_input", "researcher")
    await page.fill("#password_input", live.password)
    await page.click("#login_submit")
    await page.wait_for_url(f"**{there}")


async def fits(page: Page) -> None:
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 800})
        assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (page.url, width)


async def found_by_axe(page: Page) -> set[str]:
    results = await Axe().run(page)
    return {
        f"{page.url}: {found['id']} {[node['target'] for node in found['nodes']]}"
        for found in results.response["violations"]
        if found["impact"] in {"serious", "critical"}
    }


async def choose(page: Page, live: Live, lang: str) -> None:
    await page.context.add_cookies([{"name": "nvlhub-language", "value": lang, "url": live.url}])


@pytest.mark.parametrize("lang", ["en", "zh-TW"])
async def test_every_page_fits_a_phone_and_can_be_heard(live: Live, page: Page, lang: str) -> None:
    async with live.session() as cleaner:
        await cleaner.stop_server()
    await choose(page, live, lang)
    await page.goto(f"{live.url}/hub/login")
    wrong = await found_by_axe(page)
    await fits(page)
    await log_in(page, live)
    for path in ("/hub/home", "/hub/spawn", "/hub/token", "/hub/nothing", "/services/portal/", "/services/portal/more"):
        await page.goto(live.url + path)
        assert await page.evaluate("document.documentElement.lang") == lang
        if path == "/hub/home":
            await expect(page.locator("[data-live] .btn").first).to_be_visible()
        wrong |= await found_by_axe(page)
        await fits(page)
    assert wrong == set()


async def test_home_shows_what_runs_and_the_chosen_language_stays(live: Live, page: Page) -> None:
    await log_in(page, live)
    await expect(page.locator("#start")).to_be_visible()
    await expect(page.locator("[data-live]")).to_contain_text("GPU-hours left in 2 projects")
    await expect(page.locator("[data-live]").get_by_role("link", name="Join a class")).to_be_visible()
    await page.get_by_role("link", name="正體中文").click()
    await page.wait_for_url("**/hub/home")
    await expect(page.locator("h1")).to_have_text("我的伺服器與 GPU")
    await expect(page.locator("[data-live]")).to_contain_text("個專案共剩餘")
    await page.goto(f"{live.url}/services/portal/")
    await expect(page.locator("h1")).to_have_text("我的租約")


async def test_an_announcement_is_dismissed_for_good(live: Live, page: Page) -> None:
    number = live.api("POST", "/announcements", json={"level": "info", "text": "<i>Break</i> on Friday"})["id"]
    await log_in(page, live)
    told = page.locator(f"#announcement-{number}")
    await expect(told).to_contain_text("<i>Break</i> on Friday")
    await told.get_by_role("button").click()
    await expect(told).to_be_hidden()
    await page.reload()
    await expect(page.locator("[data-live] a.btn").first).to_be_visible()
    await expect(told).to_be_hidden()
    live.cli("announcement", "withdraw", str(number))


async def test_offers_are_chosen_by_keyboard_and_renewed_without_losing_the_choice(live: Live, page: Page) -> None:
    async with live.session() as cleaner:
        await cleaner.stop_server()
    await log_in(page, live, "/hub/spawn")
    cards = page.locator("[data-offer]:visible")
    await expect(cards).to_have_count(8)
    await page.get_by_label("Project that pays").focus()
    await page.keyboard.press("End")
    await page.keyboard.press("Tab")
    await expect(cards).to_have_count(4)
    await expect(page.get_by_role("status").filter(has_text="Offers shown: 4")).to_be_visible()
    async with page.expect_response("**/fragments/offers"):
        pass
    await expect(cards).to_have_count(4)
    await page.keyboard.press("Shift+Tab")
    await page.get_by_role("button", name="Start", exact=True).focus()
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/user/researcher/lab**", timeout=90_000)
    async with live.session() as cleaner:
        await cleaner.stop_server()


async def test_without_scripts_all_offers_are_there(live: Live, browser: Browser) -> None:
    async with live.session() as cleaner:
        await cleaner.stop_server()
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await log_in(page, live, "/hub/spawn")
    await expect(page.locator("[data-offer]:visible")).to_have_count(8)
    await expect(page.get_by_label("Project that pays")).to_be_hidden()
    await page.goto(f"{live.url}/hub/home")
    await expect(page.get_by_role("link", name="My GPUs, without JavaScript").first).to_be_visible()
    await context.close()


@pytest.mark.parametrize("half", ["<p>no header</p>", "", None], ids=["a stranger's word", "nothing", "no end"])
async def test_a_portal_that_answers_half_leaves_the_page_as_it_was(live: Live, page: Page, half: str | None) -> None:
    await log_in(page, live, "/hub/token")

    async def answer(route: Route) -> None:
        if half is None:
            await route.abort()
        else:
            await route.fulfill(body=half, content_type="text/html")

    await page.route("**/fragments/home", answer)
    await page.goto(f"{live.url}/hub/home")
    await expect(page.locator("#nvl-away")).to_be_visible(timeout=AGAIN)
    await expect(page.locator("#start")).to_be_visible()
    assert "no header" not in await page.locator("[data-live]").inner_text()
    # When it is back, the page notices by itself.
    await page.unroute("**/fragments/home")
    await expect(page.locator("#nvl-away")).to_be_hidden(timeout=AGAIN)


async def test_a_server_starts_and_stops_while_the_portal_is_away(tmp_path: Path, page: Page) -> None:
    with live_portal(tmp_path / "live") as live:
        await log_in(page, live)
        [portal] = live.processes("nvlhub.portal.service")
        portal.suspend()
        try:
            await page.goto(f"{live.url}/hub/home")
            await expect(page.locator("#nvl-away")).to_be_visible(timeout=AGAIN)
            begun = asyncio.get_running_loop().time()
            await page.goto(f"{live.url}/hub/spawn")
            assert asyncio.get_running_loop().time() - begun < 10
            await expect(page.get_by_text("does not answer now").first).to_be_visible()
            await page.get_by_role("button", name="Start", exact=True).click()
            await page.wait_for_url("**/user/researcher/lab**", timeout=90_000)
        finally:
            portal.resume()
