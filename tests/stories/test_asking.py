"""A project asks for GPU-hours on the page, an officer decides, the award is there. In Chromium."""

from __future__ import annotations

import re
import time

import pytest
from playwright.async_api import Browser, Page, expect

from tests.stories.live import Live
from tests.stories.test_browser import browser, log_in, shot  # noqa: F401  # browser is a fixture

pytestmark = pytest.mark.browser


async def page_of(started: Browser, live: Live, user: str, language: str = "en-US") -> Page:
    context = await started.new_context(viewport={"width": 1100, "height": 900}, locale=language)
    page = await context.new_page()
    page.set_default_timeout(60_000)
    await log_in(page, live, user)
    await page.wait_for_url(re.compile(f"/hub/spawn|/user/{user}"))
    await page.goto(f"{live.url}/services/portal/more")
    return page


async def test_a_project_asks_and_an_officer_decides(live: Live, browser: Browser) -> None:  # noqa: F811
    lead = await page_of(browser, live, "researcher")
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86_400))
    later = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 90 * 86_400))
    await lead.select_option("select[name=pool]", "main")
    await lead.fill("input[name=gpu_hours]", "5.5")
    await lead.fill("input[name=starts]", day)
    await lead.fill("input[name=ends]", later)
    await lead.fill("textarea", "Three training runs.\n<b>not bold</b>")
    await lead.get_by_role("button", name="Ask", exact=True).click()
    await expect(lead.get_by_role("alert")).to_contain_text("gpu_hours: a whole number is wanted")
    await expect(lead.locator("textarea")).to_have_value("Three training runs.\n<b>not bold</b>")
    await lead.fill("input[name=gpu_hours]", "500")
    await lead.get_by_role("button", name="Ask", exact=True).click()
    await expect(lead.locator("article").first).to_contain_text("new award: waiting for a decision")
    await expect(lead.locator("article b")).to_have_count(0)

    officer = await page_of(browser, live, "admin", "zh-TW")
    card = officer.locator("article").first
    await expect(card).to_contain_text("等待決定")
    await card.locator("textarea").fill("Which runs?")
    await card.get_by_role("button", name="退回修改").click()
    await lead.reload()
    await lead.get_by_role("link", name="Change and ask again").click()
    await expect(lead.locator("input[name=gpu_hours]")).to_have_value("500")
    await expect(lead.locator("input[name=ends]")).to_have_value(later)
    await lead.fill("textarea", "Three training runs of model A.")
    await lead.get_by_role("button", name="Ask", exact=True).click()
    await expect(lead.locator("article").first).to_contain_text("Sent back: Which runs?")
    await officer.reload()
    await expect(card).to_contain_text("model A")
    await card.locator("input[name=gpu_hours]").fill("300")
    await card.locator("textarea").fill("Two runs first.")
    await shot(officer, "decide")
    await card.get_by_role("button", name="核准").click()
    await expect(officer.locator("article").first).to_contain_text("已核准")

    await lead.reload()
    await expect(lead.locator("article").first).to_contain_text("Approved (300.00 GPU-hours): Two runs first.")
    await shot(lead, "asking")
    [award] = [row for row in live.api("GET", "/awards?project=demo")["items"] if row["request"]]
    assert (award["awarded"], award["state"]) == (300 * 3_600_000, "new")
    await lead.goto(f"{live.url}/services/portal/")
    await expect(lead.locator(f"tr[data-award='{award['id']}']")).to_contain_text("300.00")


async def test_the_page_is_narrow_enough_for_a_telephone_and_only_leads_can_ask(live: Live, browser: Browser) -> None:  # noqa: F811
    page = await page_of(browser, live, "researcher")
    await page.set_viewport_size({"width": 375, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") <= 375
    await shot(page, "asking-narrow")
    member = await page_of(browser, live, "instructor")
    await expect(member.locator("form")).to_have_count(0)
    answer = await member.request.post(f"{live.url}/services/portal/more", form={"project": "demo", "kind": "new"})
    assert answer.status == 403
