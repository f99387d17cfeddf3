"""What JupyterLab shows of leases beside the notebook: time left, warnings, announcements, a notebook from a link; and widgets."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.stories.live import Live
from tests.stories.test_browser import browser, log_in, run
from tests.waiting import eventually

__all__ = ["browser"]
pytestmark = pytest.mark.browser


@pytest.fixture
async def page(live: Live, browser: Browser) -> AsyncIterator[Page]:
    """A researcher with a server, logged in; all is given back afterwards."""
    context = await browser.new_context(viewport={"width": 1400, "height": 900})
    page = await context.new_page()
    page.set_default_timeout(60_000)
    async with live.session() as session:
        await session.start_server()
        await log_in(page, live, "researcher")
        await page.wait_for_url(re.compile(r"/hub/spawn|/user/researcher"))
        yield page
        await context.close()
        await session.stop_server()
        await live.settled()


def lab(live: Live, query: str) -> str:
    return f"{live.url}/user/researcher/lab?reset{query}"


def toast(page: Page, text: str | re.Pattern[str]) -> Any:
    return page.locator(".Toastify__toast").filter(has_text=text)


def held(live: Live) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = live.api("GET", "/leases?user=researcher")["items"]
    return found


async def test_a_link_from_elsewhere_asks_before_it_starts_and_opens_one_notebook(live: Live, page: Page) -> None:
    await page.goto(lab(live, "&nvlhub-kernel=nvlhub-demo.gpu1"))
    dialog = page.locator(".jp-Dialog")
    await expect(dialog).to_contain_text("1 GPU · Demo project")
    assert "nvlhub-kernel" not in page.url
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(page.locator(".jp-Launcher")).to_be_visible()
    assert held(live) == []

    await page.goto(lab(live, "&nvlhub-kernel=nvlhub-demo.gpu1"))
    await dialog.get_by_role("button", name="Start").click()
    await expect(page.locator(".jp-Notebook")).to_have_count(1)
    await eventually(lambda: len(held(live)) == 1)
    # A notebook that is reloaded while its session is being made is one without a kernel, and JupyterLab asks for one.
    await expect(page.get_by_text("| Idle").first).to_be_visible()
    await page.reload()
    await expect(page.locator(".nvlhub-left:not([hidden])")).to_be_visible()
    await expect(dialog).to_have_count(0)
    assert len(held(live)) == 1


async def test_a_button_of_the_portals_own_pages_starts_at_once(live: Live, page: Page) -> None:
    await page.goto(lab(live, "&nvlhub-kernel=nvlhub-demo.gpu1"), referer=f"{live.url}/services/panels/compute")
    await expect(page.locator(".jp-Notebook")).to_have_count(1)
    await expect(page.locator(".jp-Dialog")).to_have_count(0)
    await eventually(lambda: len(held(live)) == 1)


async def test_a_kernel_that_is_not_there_is_told_and_nothing_is_opened(live: Live, page: Page) -> None:
    await page.goto(lab(live, "&nvlhub-kernel=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"))
    await expect(toast(page, "There is no kernel called “<img src=x onerror=alert(1)>”")).to_be_visible()
    await expect(page.locator(".jp-Notebook")).to_have_count(0)
    assert await page.locator(".Toastify__toast img").count() == 0


async def test_time_left_is_in_the_status_bar_where_a_lease_is_extended_and_given_back(live: Live, page: Page) -> None:
    await page.goto(lab(live, "&nvlhub-kernel=nvlhub-demo.gpu1"), referer=f"{live.url}/services/panels/compute")
    status = page.locator(".nvlhub-left")
    await expect(status).to_have_text(re.compile("GPU: (3 h 59 min|4 h) left"))
    assert (await status.get_attribute("data-level")) == ""
    await expect(page.get_by_role("button", name=re.compile("Press to extend it or give it back"))).to_be_visible()
    [before] = held(live)

    # The same lease in a widget.
    await expect(page.get_by_text("| Idle").first).to_be_visible()
    await run(page, "from nvlwidgets import LeaseBar\nLeaseBar()")
    bar = page.locator(".jp-OutputArea-output .nvl")
    await expect(bar.get_by_role("img")).to_have_attribute("aria-label", re.compile("nvl001 tray 1"))
    await bar.get_by_role("button", name="Extend by 30 min").click()
    await expect(bar).to_contain_text("Extended by 30 min.")
    await eventually(lambda: held(live)[0]["deadline"] == before["deadline"] + 1800)
    await expect(bar.locator("[data-left]")).to_have_text(re.compile("4 h [23]"))

    await expect(status).to_have_text(re.compile("4 h [23]"))
    await status.click()
    await toast(page, "1 × GPU (demo)").get_by_role("button", name="Extend by 60 min").click()
    await expect(toast(page, "Extended by 60 min.")).to_be_visible()
    await expect(status).to_have_text(re.compile("5 h [23]"))
    assert held(live)[0]["deadline"] == before["deadline"] + 5400
    await status.click()
    # The one of before may still be going away.
    await toast(page, "1 × GPU (demo)").last.get_by_role("button", name="Give back").click()
    await page.locator(".jp-Dialog").get_by_role("button", name="Give back").click()
    await eventually(lambda: held(live) == [])
    await expect(status).to_be_hidden()


async def test_the_end_is_warned_of_at_15_and_5_minutes_and_announcements_are_shown_once(
    live: Live, page: Page
) -> None:
    changed: dict[str, Any] = {}

    async def change(route: Route) -> None:
        response = await route.fetch()
        told = await response.json()
        told["items"] = [item | changed for item in told["items"]]
        told["announcements"] = [{"id": "7", "level": "warning", "text": "Down <b>at</b> five"}]
        await route.fulfill(response=response, body=json.dumps(told))

    await page.route("**/nvlhub/leases?*", change)
    await page.goto(lab(live, ""))
    news = toast(page, "Down <b>at</b> five")
    await expect(news).to_be_visible()
    await page.reload()
    await expect(page.locator(".jp-Launcher")).to_be_visible()
    await page.goto(lab(live, "&nvlhub-kernel=nvlhub-demo.gpu1"), referer=f"{live.url}/services/panels/compute")
    status = page.locator(".nvlhub-left")
    await expect(status).to_be_visible()
    await expect(news).to_have_count(0)
    await page.evaluate("sessionStorage.clear()")
    await news.get_by_role("button", name="Do not show again").click()
    assert await page.evaluate("localStorage.getItem('nvlhub-dismissed-announcement-7')") == "1"

    changed.update(left=890, level="soon")
    await expect(status).to_have_text("⚠ GPU: 14 min left, ends within 15 minutes")
    await expect(status).to_have_attribute("data-level", "soon")
    await expect(toast(page, "ends within 15 minutes").get_by_role("button", name="Extend by 60 min")).to_be_visible()
    await expect(page.locator(".nvlhub-spoken")).to_contain_text("ends within 15 minutes")
    changed.update(left=299, level="last")
    await expect(status).to_have_text(re.compile(r"⚠⚠ GPU: 4 min \d+ s left, ends within 5 minutes"))
    await expect(toast(page, "ends within 5 minutes")).to_have_count(1)


async def test_what_cannot_be_extended_is_refused_in_words(live: Live) -> None:
    async with live.session() as session:
        await session.start_server()
        kernel = await session.start_kernel("nvlhub-demo.gpu1", "extend.ipynb")
        await kernel.run("1")
        path = f"/nvlhub/leases/{kernel.id}/extend"
        for body, status in (("{}", 400), ('{"seconds": "x"}', 400), ("rubbish", 400), ('{"seconds": 2000000}', 409)):
            refused = await session.jupyter("POST", path, content=body)
            assert (refused.status_code, bool(refused.json()["text"])) == (status, True), body
        unknown = await session.jupyter(
            "POST", f"/nvlhub/leases/{'0' * 8}-{'0' * 4}-{'0' * 4}-{'0' * 4}-{'0' * 12}/extend", json={"seconds": 60}
        )
        assert unknown.status_code == 404
        await kernel.shut_down()
        await session.stop_server()
        await live.settled()
