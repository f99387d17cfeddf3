"""What a researcher sees: login, spawn page, JupyterLab, refusal, queue, the portal's page. In Chromium.

With ``NVLHUB_SCREENSHOTS=docs/images`` the pictures of the README are taken anew.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.conftest import missing
from tests.stories.live import Live
from tests.waiting import eventually

pytestmark = pytest.mark.browser
SHOTS = os.environ.get("NVLHUB_SCREENSHOTS")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        missing("Chromium (package chromium)")
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield started
        await started.close()


async def shot(page: Page, name: str) -> None:
    if SHOTS:
        await page.screenshot(path=f"{SHOTS}/{name}.png")


async def identify(page: Page, live: Live, user: str) -> None:
    """Fill in the hub's login that is on the page."""
    await page.fill("input[name=username]", user)
    await page.fill("input[name=password]", live.password)
    await page.click("input[type=submit], button[type=submit]")


async def log_in(page: Page, live: Live, user: str) -> None:
    await page.goto(f"{live.url}/hub/login?next=/hub/spawn")
    await identify(page, live, user)


async def open_notebook(page: Page, card: str | re.Pattern[str]) -> None:
    """Open a notebook from the launcher."""
    await page.locator(".jp-LauncherCard[data-category=Notebook]").filter(has_text=card).first.click()


async def run(page: Page, code: str) -> None:
    cell = page.locator(".jp-Notebook:visible .jp-Cell .cm-content").last
    await cell.click()
    await page.keyboard.insert_text(code)
    await page.keyboard.press("Shift+Enter")


async def test_the_way_of_a_researcher(live: Live, browser: Browser) -> None:
    context = await browser.new_context(viewport={"width": 1400, "height": 900})
    page = await context.new_page()
    page.set_default_timeout(60_000)
    async with live.session() as cleaner:
        await cleaner.stop_server()

    await log_in(page, live, "researcher")
    await expect(
        page.get_by_text("Demo project (200.00 GPU-hours left)", exact=False)
        .or_(page.get_by_text("GPU-hours left").first)
        .first
    ).to_be_visible()
    await expect(page.locator("[data-offer=gpu8]").first).to_contain_text("8 GPUs (two trays)")
    await expect(page.locator("[data-offer=gpu8]").nth(1)).to_contain_text("not now: why")
    await shot(page, "spawn")
    await page.get_by_role("button", name="Start", exact=True).click()
    await page.wait_for_url(re.compile(r"/user/researcher/lab"), timeout=90_000)

    cards = page.locator(".jp-LauncherCard[data-category=Notebook]")
    await expect(cards).to_have_count(13)
    await shot(page, "launcher")
    await open_notebook(page, "1 GPU · Demo project")
    await expect(page.get_by_text("| Idle").first).to_be_visible()
    await run(page, "import nvlkernels; nvlkernels.lease()")
    await expect(page.locator(".jp-OutputArea-output table")).to_contain_text("SIM-nvl001-t01-g0")
    await shot(page, "lab")

    await page.goto(f"{live.url}/services/portal/")
    await expect(page.locator("tr[data-lease]")).to_contain_text("running")
    size = page.viewport_size
    await page.set_viewport_size({"width": 375, "height": 800})
    # The table scrolls within itself; what gives GPUs back stays in sight.
    await expect(page.locator("tr[data-lease] button")).to_be_in_viewport(ratio=1)
    assert size is not None
    await page.set_viewport_size(size)
    await expect(page.locator("svg g title").first).to_contain_text("yours")
    await shot(page, "portal")
    await page.get_by_role("button", name="Give back").click()
    await live.settled()
    await page.goto(f"{live.url}/services/portal/")
    await expect(page.locator("tr[data-ended]").first).to_contain_text("1 × ")
    lease = live.api("GET", "/leases?state=ended")["items"][0]
    await expect(page.locator(f"tr[data-ended='{lease['id']}']")).to_contain_text(f"{lease['charged'] // 1000} GPU-s")
    await context.close()


async def test_a_refusal_is_read_in_a_dialog_and_a_wait_in_a_notification(live: Live, browser: Browser) -> None:
    context = await browser.new_context(viewport={"width": 1400, "height": 900})
    page = await context.new_page()
    page.set_default_timeout(60_000)
    async with live.session("instructor") as other, live.session() as mine:
        await other.start_server()
        await mine.start_server()
        await log_in(page, live, "researcher")
        await page.goto(f"{live.url}/user/researcher/lab?reset")
        await open_notebook(page, "8 GPUs (two trays) · Demo project, nearly spent")
        dialog = page.locator(".jp-Dialog")
        await expect(dialog).to_contain_text(re.compile(r"Left: (2\.00|1\.\d\d) GPU-hours"))
        await expect(dialog).to_contain_text("Allowed now: ")
        await shot(page, "refused")
        await dialog.get_by_role("button").last.click()
        # What would be allowed is a tile of the launcher.
        await page.goto(f"{live.url}/user/researcher/lab?reset")
        await open_notebook(page, re.compile(r"8 GPUs \(two trays\), 1[05] min · Demo project, nearly spent"))
        await eventually(lambda: live.api("GET", "/leases?user=researcher")["total"] == 1)
        [lease] = live.api("GET", "/leases?user=researcher")["items"]
        assert (lease["gpus"], lease["seconds"] in {600, 900}) == (8, True)
        await expect(page.get_by_text("| Idle").first).to_be_visible()
        # An end from outside is told with its reason, and nothing pretends to come back.
        live.api("DELETE", f"/leases/{lease['id']}")
        gone = page.locator(".Toastify__toast").filter(has_text="an administrator ended it")
        await expect(gone).to_be_visible(timeout=60_000)
        await shot(page, "ended")

        full = await other.start_kernel("nvlhub-demo.gpu8", "full.ipynb")
        await full.run("1")
        await page.goto(f"{live.url}/user/researcher/lab?reset")
        await open_notebook(page, "1 GPU · Demo project")
        note = page.locator(".Toastify__toast").filter(has_text="position 1")
        await expect(note).to_be_visible()
        await run(page, "print('typed while waiting')")
        await shot(page, "queued")
        await full.shut_down()
        await expect(page.locator(".jp-OutputArea-output").filter(has_text="typed while waiting")).to_be_visible()
        await expect(note).to_have_count(0)
        await mine.stop_server()
        await live.settled()
    await context.close()


async def test_a_wait_is_cancelled_from_its_notification(live: Live, browser: Browser) -> None:
    context = await browser.new_context(viewport={"width": 1400, "height": 900})
    page = await context.new_page()
    page.set_default_timeout(60_000)
    async with live.session("instructor") as other, live.session() as mine:
        await other.start_server()
        await mine.start_server()
        full = await other.start_kernel("nvlhub-demo.gpu8", "full.ipynb")
        await full.run("1")
        await log_in(page, live, "researcher")
        await page.goto(f"{live.url}/user/researcher/lab?reset")
        await open_notebook(page, "1 GPU · Demo project")
        note = page.locator(".Toastify__toast").filter(has_text="position 1")
        await note.get_by_role("button", name="Cancel").click()
        await eventually(lambda: live.api("GET", "/leases?user=researcher")["total"] == 0)
        await full.shut_down()
        await mine.stop_server()
        await live.settled()
    await context.close()


async def test_a_cluster_is_made_in_a_cell_and_watched_in_the_sidebar(live: Live, browser: Browser) -> None:
    context = await browser.new_context(viewport={"width": 1500, "height": 950})
    page = await context.new_page()
    page.set_default_timeout(60_000)
    async with live.session() as mine, live.session("instructor") as other:
        await mine.start_server()
        await other.start_server()
        await log_in(page, live, "researcher")
        await page.goto(f"{live.url}/user/researcher/lab?reset")
        await open_notebook(page, "1 GPU · Demo project")
        await expect(page.get_by_text("| Idle").first).to_be_visible()
        await run(
            page, "from nvlkernels import Cluster\ncluster = Cluster(workers=3)\nclient = cluster.get_client()\ncluster"
        )
        view = page.locator(".jp-OutputArea-output").filter(has_text="Price").first
        await expect(view).to_contain_text("nvl001")
        await expect(view).to_contain_text("3 GPU-h per hour")
        await run(
            page,
            "import time\nfutures = client.map(lambda n: time.sleep(0.2) or n, range(120)); cluster.dashboard_link",
        )
        link = page.locator(".jp-OutputArea-output").filter(has_text=re.compile(r"^\s*'/user/"))
        address = (await link.inner_text()).strip().strip("'")

        await page.get_by_role("tab", name="Dask").click()
        box = page.locator(".dask-DaskDashboardLauncher input, .dask-URLInput input").first
        await box.fill(address)
        await box.press("Enter")
        await (
            page.locator(".dask-DashboardListing-item button")
            .filter(has_text=re.compile("^Task Stream$", re.IGNORECASE))
            .click()
        )
        pane = page.frame_locator("iframe").last
        await expect(pane.locator(".bk-Figure, .bk-Column, .bk-Row, .bk-root").first).to_be_visible()
        await page.wait_for_timeout(3000 if SHOTS else 0)
        await shot(page, "cluster")

        # Another user, logged in: not the page, not its data, not by the way of their own server.
        stranger = await browser.new_context()
        theirs = await stranger.new_page()
        await log_in(theirs, live, "instructor")
        await theirs.wait_for_url(re.compile(r"/hub/spawn|/user/instructor"))
        await theirs.goto(f"{live.url}/user/instructor/lab")
        for way, status in ((address, 403), (address.replace("/user/researcher/", "/user/instructor/"), 404)):
            answer = await theirs.goto(live.url + way)
            assert answer is not None
            assert answer.status == status, way
        await stranger.close()
        await mine.stop_server()
        await other.stop_server()
        await live.settled()
    await context.close()


async def test_pages_speak_the_readers_language_and_forms_need_their_own_page(live: Live, browser: Browser) -> None:
    context = await browser.new_context(locale="zh-TW", viewport={"width": 390, "height": 800})
    page = await context.new_page()
    await log_in(page, live, "instructor")
    await page.goto(f"{live.url}/services/portal/")
    await expect(page.locator("h1")).to_have_text("我的租約")
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    await shot(page, "portal-zh")
    forged = await page.request.post(f"{live.url}/services/portal/leases/x/end", form={"csrf": "forged"})
    assert forged.status == 403
    open_page = await (await browser.new_context()).request.get(f"{live.url}/services/portal/", max_redirects=0)
    assert open_page.status == 302
    assert "/hub/api/oauth2/authorize" in open_page.headers["location"]
    await context.close()


async def test_an_answer_to_a_login_that_was_not_begun_here_opens_nothing(live: Live, browser: Browser) -> None:
    context = await browser.new_context()
    answer = await context.request.get(f"{live.url}/services/portal/oauth_callback?code=x&state=y", max_redirects=0)
    assert answer.status == 302
    assert answer.headers["location"] == "/services/portal/"
    assert not [cookie for cookie in await context.cookies() if cookie["name"] == "nvlhub-session"]
    await context.close()
