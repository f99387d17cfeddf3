"""All pages in Chromium: in both languages, on a phone, a tablet and a desk, by axe, and with their pictures.

With ``NVLHUB_SCREENS=1`` the pictures in ``docs/screens`` are taken anew.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from nvlhub.text import say
from tests.conftest import missing
from tests.stories.live import Live, live_portal
from tests.stories.screens import (
    DOCUMENTS,
    HEIGHT,
    LOCALES,
    NAMES,
    WIDTHS,
    Look,
    Watched,
    come_up,
    looks,
    picture,
    too_wide,
    violations,
    wants_pictures,
    wrong_with,
)
from tests.waiting import eventually

pytestmark = pytest.mark.browser


async def liven(live: Live) -> str:
    """Start two leases, let a third wait, and ask for more; return the id of one that runs."""
    async with live.session() as mine:
        await mine.start_server()
        for profile, path in (("gpu4", "train.ipynb"), ("gpu2", "look.ipynb")):
            kernel = await mine.start_kernel(f"nvlhub-demo.{profile}", path)
            await kernel.run("1")
        asked = asyncio.create_task(mine.start_kernel("nvlhub-demo.gpu8", "large.ipynb"))
        await eventually(lambda: live.api("GET", "/leases")["total"] == 3)
        asked.cancel()
        [award] = (await mine.portal("GET", "/awards", params={"project": "demo"}))["items"]
        wish = {
            "project": "demo",
            "kind": "supplement",
            "award": award["id"],
            "gpu_hours": 500,
            "reasons": "A larger run.",
        }
        assert "id" in (told := await mine.portal("POST", "/requests", json=wish)), told
        leases = live.api("GET", "/leases?user=researcher")["items"]
        return str(next(lease["id"] for lease in leases if lease["gpus"] == 4))


@dataclass
class Place:
    """One hub with some life in it, one browser, one context for each user and language."""

    live: Live
    browser: Browser
    lease: str
    pictures: Path
    open: dict[tuple[str, str], BrowserContext]

    def context(self, user: str, locale: str) -> BrowserContext:
        if (user, locale) not in self.open:
            context = self.browser.new_context(locale=locale, viewport={"width": WIDTHS[-1], "height": HEIGHT})
            context.set_default_timeout(60_000)
            if user:
                log_in(context.new_page(), self.live, user).close()
            self.open[user, locale] = context
        return self.open[user, locale]

    def look(self, name: str) -> Look:
        return next(look for look in looks(self.lease) if look.name == name)


def log_in(page: Page, live: Live, user: str) -> Page:
    page.goto(f"{live.url}/hub/login?next=/hub/home")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", live.password)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"^http://[^/]+/hub/home"))
    return page


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        missing("Chromium (package chromium)")
    pictures = DOCUMENTS if wants_pictures() else tmp_path_factory.mktemp("screens")
    pictures.mkdir(parents=True, exist_ok=True)
    with live_portal(tmp_path_factory.mktemp("place"), NVLHUB_PANELS_RECHECK="1") as live:
        lease = asyncio.run(liven(live))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=program,
                args=["--no-sandbox", "--disable-dev-shm-usage", "--use-gl=swiftshader", "--enable-unsafe-swiftshader"],
            )
            yield Place(live, browser, lease, pictures, {})
            browser.close()


@pytest.fixture
def opened(place: Place) -> Iterator[Callable[[str, str], Watched]]:
    """Opens pages, and closes them."""
    pages: list[Page] = []

    def open_one(user: str, locale: str) -> Watched:
        pages.append(page := place.context(user, locale).new_page())
        return Watched(page, place.live.url.removeprefix("http://"))

    yield open_one
    for page in pages:
        page.close()


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_whole_in_every_width(
    place: Place, opened: Callable[[str, str], Watched], name: str, locale: str
) -> None:
    look = place.look(name)
    watched = opened(look.user, locale)
    page = watched.page
    wrong: list[str] = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        # Drawn anew on a phone and on a desk; what lies between is the desk made narrower.
        if width != 768:
            assert come_up(page, look, place.live.url, locale) == look.status
        wrong += [f"{width}: {what}" for what in too_wide(page)]
        if (width, locale) in {(375, "zh-TW"), (1280, "zh-TW"), (1280, "en-US")}:
            wrong += [f"{width}: {what}" for what in violations(page)]
            picture(page, place.pictures / f"{name}.{locale}.{width}.png")
    wrong += wrong_with(watched, look, locale)
    assert wrong == []


def test_without_a_websocket_a_page_leads_to_the_plain_one(place: Place, opened: Callable[[str, str], Watched]) -> None:
    page = opened("researcher", "zh-TW").page
    page.route_web_socket(re.compile("/ws"), lambda socket: socket.close())
    page.clock.install()
    page.goto(f"{place.live.url}/services/panels/compute")
    page.clock.fast_forward(11_000)
    notice = page.locator("#silent")
    expect(notice).to_be_visible()
    expect(notice).to_contain_text(say("frame-silent", "zh-TW"))
    notice.get_by_role("link").click()
    expect(page.locator("h1")).to_have_count(1)
    assert "/services/portal/" in page.url


def test_a_logout_in_one_tab_leads_the_other_to_the_login(place: Place) -> None:
    context = place.browser.new_context(locale="en-US")
    page = log_in(context.new_page(), place.live, "instructor")
    page.goto(f"{place.live.url}/services/panels/compute")
    expect(page.locator("h1")).to_have_text(say("screen-compute"))
    context.new_page().goto(f"{place.live.url}/hub/logout")
    page.wait_for_url(re.compile(r"^http://[^/]+/hub/(login|api/oauth2)"))
    context.close()


def test_the_pictures_are_small(place: Place) -> None:
    taken = list(place.pictures.glob("*.png"))
    if len(taken) < 3 * len(NAMES):
        pytest.skip("not all pages were looked at in this run")
    assert sum(picture.stat().st_size for picture in taken) < 3_000_000
