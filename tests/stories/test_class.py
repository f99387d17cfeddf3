"""A class at a real hub: two learners join with a code, get servers with the material, and the instructor's visit ends with it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from nvlhub.portal.classroom import Classroom
from nvlhub.store import Store
from tests.stories.live import Live
from tests.stories.test_browser import browser, identify, shot  # noqa: F401  # browser is a fixture

pytestmark = pytest.mark.browser
CODE = "FRAMES23"
NARROW = {"width": 375, "height": 800}


def git(where: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(["git", *who, *words], cwd=where, check=True, capture_output=True, text=True).stdout.strip()


def material(where: Path) -> tuple[str, str]:
    """Make a repository; return its address and a commit that is not its last."""
    where.mkdir()
    git(where, "init", "-q", "-b", "main")
    commits = []
    for text in ("pinned", "newer"):
        cell = {"cell_type": "markdown", "id": "one", "metadata": {}, "source": f"# {text}"}
        notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (where / "01 start.ipynb").write_text(json.dumps(notebook))
        git(where, "add", ".")
        git(where, "commit", "-qm", text)
        commits.append(git(where, "rev-parse", "HEAD"))
    return where.as_uri(), commits[0]


def teach(live: Live, folder: Path) -> int:
    """Make a run that begins in ten minutes, for the two seats of whom nobody knows yet."""
    repository, commit = material(folder / "course")
    store, now = Store(f"sqlite:///{live.data / 'portal.sqlite'}"), int(time.time())
    try:
        with store.writing() as unit:
            unit.add_course(
                ["instructor"], slug="frames", project="demo", title="Data frames", title_zh="資料框", profile="gpu1",
                repository=repository, commit=commit, opens="01 start.ipynb", made_by="admin", made_at=now,
            )  # fmt: skip
            return unit.add_run(
                ["Jade Heron", "Ruby Otter"], course="frames", name="Spring", zone="Asia/Taipei", starts=now + 600,
                ends=now + 7200, seats=2, gpus=1, warm=1800, flex=1800, grace=900, no_show=1200, code=CODE, roster_only=False,
                state="approved", made_by="admin", made_at=now,
            )  # fmt: skip
    finally:
        store.close()


async def learner(started: Browser, live: Live, user: str, language: str, *, scripts: bool) -> Page:
    """Follow the address that the instructor showed; log in on the way."""
    context = await started.new_context(viewport=NARROW, locale=language, java_script_enabled=scripts)  # type: ignore[arg-type]
    page = await context.new_page()
    page.set_default_timeout(60_000)
    await page.goto(f"{live.url}/services/portal/join?code={CODE.lower()}")
    await identify(page, live, user)
    await page.wait_for_url("**/services/portal/join?code=*")
    await expect(page.locator("#code")).to_have_value(CODE.lower())
    return page


async def accessible(page: Page) -> None:
    found = await Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert await page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def server_of(live: Live, user: str, run: int) -> psutil.Process:
    """Return the process of a seat's server."""
    [found] = [
        process for process in live.processes("nvlkernels.singleuser")
        if process.environ().get("NVLHUB_COURSE_RUN") == str(run) and process.environ()["JUPYTERHUB_USER"] == user
    ]  # fmt: skip
    return found


async def test_two_learners_join_work_and_are_visited(live: Live, browser: Browser, tmp_path: Path) -> None:  # noqa: F811
    run = teach(live, tmp_path)
    first = await learner(browser, live, "researcher", "en-US", scripts=False)
    second = await learner(browser, live, "instructor", "zh-TW", scripts=True)
    await accessible(second)
    await shot(second, "join")
    await second.fill("#code", "NOSUCH23")
    await second.get_by_role("button", name="加入").click()
    await expect(second.get_by_role("alert")).to_contain_text("無法為您開啟座位")
    await accessible(second)
    await second.fill("#code", CODE)
    await second.get_by_role("button", name="加入").click()
    await first.get_by_role("button", name="Join").click()
    await expect(first.get_by_text("Seat 2")).to_be_visible()
    await expect(second.get_by_text("座位 1", exact=False).first).to_be_visible()
    await first.get_by_label("Your name, in your own script").fill("Amy")
    await first.get_by_role("button", name="Save").click()
    await second.get_by_label("您的姓名").fill("王小美")
    await accessible(second)
    await second.get_by_role("button", name="儲存").click()

    # Without a script and without a click the page comes to the link when the server is there.
    opens = first.get_by_role("link", name="Open JupyterLab")
    await expect(opens).to_be_visible(timeout=90_000)
    await expect(second.get_by_role("link", name="開啟 JupyterLab")).to_be_visible(timeout=90_000)
    await accessible(second)
    await shot(second, "seat")
    await second.get_by_role("link", name="開啟 JupyterLab").click()
    await second.wait_for_url(re.compile("/lab/tree/frames"), timeout=60_000)
    [notebook] = (live.data / "home" / "instructor").rglob("01 start.ipynb")
    assert "pinned" in notebook.read_text()

    # What a notebook of the seat says is seen.
    environment = server_of(live, "researcher", run).environ()
    code = "from nvlkernels import course; course.hand(); course.step(2, 5); course.check('mean', True)"
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], env={**os.environ, **environment}, check=True, timeout=60
    )
    await first.reload()
    await expect(first.get_by_text("Your hand is up.")).to_be_visible()
    await expect(first.get_by_text("Step 2 of 5")).to_be_visible()

    await closed(live, second, run)


async def opened(live: Live, page: Page, run: int) -> int:
    """Open a fellow's server in a browser, through the hub's login; return what its API then says."""
    await page.goto(f"{live.url}/user/researcher/class-{run}/lab")
    confirm = page.locator("#oauth-form [type=submit], form [type=submit]")
    if "oauth2/authorize" in page.url and await confirm.count():
        await confirm.first.click()
        await page.wait_for_url(f"**/user/researcher/class-{run}/lab**")
    return (await page.request.get(f"{live.url}/user/researcher/class-{run}/api/status")).status


async def closed(live: Live, page: Page, run: int) -> None:
    """Nobody is let into another's server on a hub without subdomains; when the run is closed its servers are gone."""
    assert await opened(live, page, run) == 403
    portal = next(iter(live.processes("nvlhub.portal.service"))).environ()
    hub = Classroom(portal["JUPYTERHUB_API_URL"], portal["JUPYTERHUB_API_TOKEN"])
    try:
        assert not hub.let_in("researcher", run, "instructor")
    finally:
        hub.close()
    assert await opened(live, page, run) == 403
    store = Store(f"sqlite:///{live.data / 'portal.sqlite'}")
    try:
        with store.writing() as unit:
            unit.change_run(run, state="closed", closed_at=int(time.time()))
    finally:
        store.close()
    async with httpx.AsyncClient(headers={"Authorization": f"token {live.operator}"}) as operator:
        for user in ("researcher", "instructor"):
            address = f"{live.url}/hub/api/users/{user}/servers/class-{run}"
            async with asyncio.timeout(150):
                while (await operator.get(address)).status_code != 404:
                    await asyncio.sleep(0.2)
    assert await opened(live, page, run) != 200
