"""A hub whose servers have hosts of their own: an instructor opens a learner's server, and the portal stays at the hub's host."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, expect

from nvlhub.store import Store
from tests.stories.live import Live, live_portal
from tests.stories.test_browser import browser, identify

__all__ = ["browser"]
pytestmark = pytest.mark.browser
CODE = "VISITS23"
ASKS = """async (url) => {
    try { return (await fetch(url, { credentials: 'include' })).status } catch (error) { return error.name }
}"""


SENDS = "async ([url, how]) => (await fetch(url, how)).type"


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Live]:
    with live_portal(tmp_path, "--subdomains") as live:
        yield live


def teach(live: Live) -> int:
    """Make a run that begins in a minute, with one seat, which ends its class in an hour."""
    store, now = Store(f"sqlite:///{live.data / 'portal.sqlite'}"), int(time.time())
    try:
        with store.writing() as unit:
            unit.add_course(
                ["instructor"],
                slug="visits",
                project="demo",
                title="Visits",
                profile="gpu1",
                made_by="admin",
                made_at=now,
            )
            return unit.add_run(
                ["Jade Heron"], course="visits", name="Spring", zone="UTC", starts=now + 60, ends=now + 3600, seats=1, gpus=1,
                warm=1800, flex=1800, grace=900, no_show=1200, code=CODE, roster_only=False, state="approved",
                made_by="admin", made_at=now,
            )  # fmt: skip
    finally:
        store.close()


async def entered(started: Browser, live: Live, user: str, path: str) -> Page:
    """Open a page at the hub's host and log in on the way."""
    context = await started.new_context(viewport={"width": 1400, "height": 900})
    page = await context.new_page()
    page.set_default_timeout(60_000)
    await page.goto(f"http://hub.localhost:{urlsplit(live.url).port}{path}")
    await identify(page, live, user)
    await page.wait_for_url(f"**{path}")
    return page


async def status(page: Page, url: str) -> int:
    answer = await page.goto(url)
    assert answer is not None
    return answer.status


async def agreed(page: Page) -> None:
    """Say yes where the hub asks whether a server may know who comes."""
    confirm = page.locator("#oauth-form [type=submit], form [type=submit]")
    await page.wait_for_url(re.compile("oauth2/authorize|/lab"))
    if "oauth2/authorize" in page.url:
        await confirm.first.click()
    await page.wait_for_url("**/lab**")


async def test_an_instructor_visits_a_learner_at_an_origin_of_its_own(apart: Live, browser: Browser) -> None:
    run = teach(apart)
    port = urlsplit(apart.url).port
    hub, server = f"http://hub.localhost:{port}", f"http://researcher.hub.localhost:{port}"
    learner = await entered(browser, apart, "researcher", f"/services/portal/join?code={CODE}")
    await learner.get_by_role("button", name="Join").click()
    await learner.get_by_label("Your name, in your own script").fill("Amy")
    await learner.get_by_role("button", name="Save").click()
    await learner.get_by_role("link", name="Open JupyterLab").click(timeout=90_000)
    await agreed(learner)
    assert learner.url.startswith(f"{server}/user/researcher/class-{run}/lab")

    # Without having been let in the way is shut.
    board = await entered(browser, apart, "instructor", f"/services/portal/teach/{run}")
    assert await status(board, f"{server}/user/researcher/class-{run}/lab") == 403
    await board.goto(f"{hub}/services/portal/teach/{run}")
    await board.locator("[data-seat='1'] summary").click()
    await board.get_by_role("button", name="Open server").click()
    await agreed(board)
    assert board.url.startswith(f"{server}/user/researcher/class-{run}/lab")
    await expect(board.locator(".jp-Launcher")).to_be_visible()
    assert await status(board, f"{server}/user/researcher/class-{run}/api/status") == 200

    await board.goto(f"{server}/user/researcher/class-{run}/lab")
    # What such a page asks of the portal, with the cookies of whoever opened it, it cannot read; and it can do nothing there.
    blind = {"mode": "no-cors", "credentials": "include"}
    assert await board.evaluate(SENDS, [f"{hub}/hub/logo", blind]) == "opaque"
    ends = {
        **blind,
        "method": "POST",
        "headers": {"Content-Type": "application/x-www-form-urlencoded"},
        "body": "sure=1",
    }
    # The browser keeps even the shape of the answer to itself.
    await board.evaluate(
        f"(given) => ({SENDS})(given).catch(() => null)", [f"{hub}/services/portal/teach/{run}/end", ends]
    )
    assert apart.api("GET", f"/runs/{run}")["state"] == "approved"
    for path in ("/services/portal/", "/services/portal/api/v1/leases", "/services/panels/compute", "/hub/home"):
        assert await board.evaluate(ASKS, hub + path) == "TypeError"
        if path.startswith("/services"):
            assert await board.evaluate(ASKS, server + path) == "TypeError"
    # Its links to the portal lead there all the same.
    await board.goto(f"{server}/services/portal/language?to=zh-TW&next=/services/portal/teach/{run}")
    assert board.url == f"{hub}/services/portal/teach/{run}"
    await expect(board.locator("html")).to_have_attribute("lang", "zh-TW")

    await learner.goto(f"{hub}/services/portal/seat?run={run}")
    await expect(learner.get_by_text("instructor opens your server to help you")).to_be_visible()
    audit = apart.api("GET", "/audit")["items"]
    assert [line["actor"] for line in audit if line["action"] == "seat-open"] == ["instructor"]

    # What is at the hub's host links and asks there: pages of the hub, of the portal and the dashboards.
    await learner.goto(f"{hub}/hub/home")
    await expect(learner.locator("[data-live]")).to_contain_text("GPU-hours left in")
    await learner.goto(f"{hub}/services/panels/compute")
    await expect(learner.get_by_text("Demo project").first).to_be_visible()
    assert learner.url == f"{hub}/services/panels/compute"

    # The class ends, and the visit with it.
    await board.goto(f"{hub}/services/portal/teach/{run}")
    await board.locator("form[action$='/end'] [name=sure]").check()
    await board.locator("form[action$='/end'] button").click()
    async with asyncio.timeout(90):
        while await status(board, f"{server}/user/researcher/class-{run}/api/status") == 200:
            await asyncio.sleep(0.5)
