"""What an administrator does with the fleet, by keyboard alone. In Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator

import httpx
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright, expect

from nvlhub.trust import trusted
from tests.conftest import missing
from tests.stories.live import GPUS, Live
from tests.waiting import eventually

pytestmark = pytest.mark.browser


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        missing("Chromium (package chromium)")
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield started
        await started.close()


def serves(live: Live) -> bool:
    """The dashboards are up: they send a stranger to the login."""
    return httpx.get(f"{live.url}/services/panels/fleet", verify=trusted()).status_code == 302


async def fleet(browser: Browser, live: Live, width: int, locale: str) -> Page:
    await eventually(lambda: serves(live))
    context = await browser.new_context(viewport={"width": width, "height": 800}, locale=locale)
    page = await context.new_page()
    page.set_default_timeout(60_000)
    await page.goto(f"{live.url}/hub/login")
    await page.fill("input[name=username]", "admin")
    await page.fill("input[name=password]", live.password)
    await page.click("input[type=submit], button[type=submit]")
    await page.wait_for_url(re.compile("/hub/(home|spawn)"))
    await page.goto(f"{live.url}/services/panels/fleet")
    await page.wait_for_selector(f".fleet[data-gpus='{GPUS}']")
    return page


async def test_a_tray_is_drained_and_put_back_by_keyboard(live: Live, browser: Browser) -> None:
    page = await fleet(browser, live, 1280, "en-GB")
    await page.get_by_role("button", name="nvl001").focus()
    await expect(page.locator(".figures")).to_contain_text("nvl001: Free")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Rack nvl001")).to_be_focused()
    await page.get_by_role("button", name="Drain tray 2").press("Enter")
    await expect(page.get_by_role("status").filter(has_text="Out of service: nvl001 · Tray 2")).to_be_visible()
    await expect(page.get_by_text("1 of 2 trays are in service")).to_be_visible()
    await page.get_by_role("button", name="Put the rack back into service").press("Enter")
    await expect(page.get_by_text("2 of 2 trays are in service")).to_be_visible()
    await page.get_by_role("button", name="Close").press("Enter")
    await expect(page.get_by_role("button", name="nvl001")).to_be_focused()


@pytest.mark.parametrize(("width", "locale"), [(375, "zh-TW"), (768, "en-GB")])
async def test_the_fleet_fits_and_has_no_barrier(live: Live, browser: Browser, width: int, locale: str) -> None:
    page = await fleet(browser, live, width, locale)
    await page.get_by_role("button", name="nvl001").click()
    await page.wait_for_selector("#rack")
    await page.locator("button[data-ask=table]").click()
    await page.wait_for_selector("button[data-ask=page]")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    found = (await Axe().run(page)).response["violations"]
    assert [rule["id"] for rule in found if rule["impact"] in {"serious", "critical"}] == []
    await expect(page.locator("h1")).to_have_text(re.compile("Fleet|機群"))
