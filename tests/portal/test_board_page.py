"""The board in Chromium, without a hub: by axe, on a phone, in both languages; what somebody types is not lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from nvlhub.api import Doors, make_app
from nvlhub.forms import RunView
from nvlhub.portal.html import Site
from nvlhub.portal.teaching import TeachingPages
from nvlhub.ports import free_port
from tests.courses_kit import TEACHER
from tests.portal.test_teaching import PREFIX, Login, login, portal, run  # noqa: F401  # fixtures
from tests.portal_kit import Kit
from tests.stories.test_browser import browser  # noqa: F401  # a fixture

pytestmark = pytest.mark.browser
PATHS = ("teach", "teach/1", "teach/1?pseudonyms=1", "teach/1?sort=help", "teach/1/ready", "teach/1/results")
NARROW = {"width": 375, "height": 800}


@pytest.fixture
def address(portal: Kit, login: Login) -> Iterator[str]:  # noqa: F811
    app = make_app(Doors(portal.desk, portal.registry, lambda request: TEACHER), PREFIX)
    site = Site(PREFIX, "/hub/", "", "UTC")
    app.include_router(TeachingPages(portal.registry, login, site, "https://hub.example").routes())  # type: ignore[arg-type]
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield f"http://127.0.0.1:{port}{PREFIX}"
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
async def page(browser: Browser) -> Page:  # noqa: F811
    context = await browser.new_context(viewport=NARROW)  # type: ignore[arg-type]
    return await context.new_page()


async def accessible(page: Page) -> None:
    found = await Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert await page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


async def test_every_page_of_teaching_is_accessible_on_a_phone(page: Page, address: str, run: RunView) -> None:  # noqa: F811
    for lang in ("en-US", "zh-TW"):
        await page.set_extra_http_headers({"Accept-Language": lang})
        for path in PATHS:
            await page.goto(address + path)
            await page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
            await accessible(page)


async def test_a_board_renews_itself_and_keeps_what_is_typed(
    page: Page, address: str, portal: Kit, run: RunView, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    await page.clock.install()
    await page.goto(address + "teach/1")
    tile = page.locator("[data-seat='1']")
    await tile.locator("summary").click()
    await tile.locator("textarea").fill("Look at cell 3")
    with portal.store.writing() as unit:
        unit.change_seat(1, 1, step=4, steps=5)
    await page.clock.fast_forward(11_000)
    await expect(tile.get_by_text("Step 4 of 5")).to_be_visible()
    await expect(tile.locator("textarea")).to_have_value("Look at cell 3")
    await expect(tile.locator("textarea")).to_be_focused()
    await page.screenshot(path=tmp_path / "board.png", full_page=True)
    await page.locator("[data-seat='1'] summary").click()
    await page.evaluate("document.activeElement.blur()")
    with portal.store.writing() as unit:
        unit.change_seat(1, 1, hand_at=None, helped_by="")
    await page.clock.fast_forward(11_000)
    await expect(tile.get_by_text("Hand up")).to_have_count(0)
    await page.route("**/seats?*", lambda route: route.abort())
    await page.clock.fast_forward(11_000)
    await expect(page.locator("#away")).to_be_visible()


async def test_the_board_of_a_run_that_is_closed_stands_still(
    page: Page, address: str, portal: Kit, run: RunView, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    with portal.store.writing() as unit:
        unit.change_run(1, state="closed", closed_at=portal.clock.now())
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    await page.goto(address + "teach/1")
    await accessible(page)
    for gone in ("Hand up", "comes anew every", " left", "Before the class"):
        await expect(page.locator("main").get_by_text(gone)).to_have_count(0)
    await expect(page.locator("[data-live]")).to_have_count(0)
    await expect(page.locator(".bar").first.get_by_role("link", name="Results")).to_be_visible()
    await page.screenshot(path=tmp_path / "closed.png", full_page=True)
    await page.goto(address + "teach/1/results")
    await accessible(page)
    await page.screenshot(path=tmp_path / "results.png", full_page=True)
    assert failed == []
