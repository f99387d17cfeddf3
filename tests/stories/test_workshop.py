"""A workshop from its planning to its bill: a lead, an instructor, an officer, and eight learners, of whom some cheat.

Everything goes by what people have: commands, the REST API, pages. Nothing is read or written behind the portal's back.
"""

from __future__ import annotations

import asyncio
import codecs
import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
import yaml
from playwright.async_api import Browser, Locator, Page, expect

from nvlhub.arena import LocalArena
from nvlhub.wire import gpu_hours
from tests.arena.test_local import EQUALS_ALL, FILES, FORKS, GRADER, HONEST, PATCHES, TRUTH, WRONG
from tests.conftest import missing
from tests.stories.live import GPUS, Live, live_portal
from tests.stories.test_browser import browser, identify, open_notebook, run  # noqa: F401  # browser is a fixture
from tests.waiting import eventually

pytestmark = pytest.mark.browser
PAGES = "/services/portal/"
PATIENCE = 60_000
"""Milliseconds: eight servers start at once."""
AMY, GUS, HAL = "amy", "gus", "hal"
"""Who works in JupyterLab and passes; who comes with a telephone; who is on no list."""
HANDED_IN = {
    "bo": WRONG, "cy": EQUALS_ALL, "di": PATCHES, "eve": FILES, "fay": FORKS,
}  # fmt: skip
LEARNERS = (AMY, *HANDED_IN, GUS, HAL)
LONGEST = 8
"""Seconds that what is handed in may take: what never ends takes all of them."""
RUBRIC = {
    "files": ["solve.py"], "run": ["python", "solve.py"],
    "outputs": [{"name": "labels.csv", "kind": "csv"}, {"name": "metrics.json", "kind": "json"}],
    "limits": {"seconds": LONGEST, "memory_mib": 256, "processes": 24, "disk_mib": 16, "output_kib": 4},
    "items": [
        {"name": "labels", "title": "Right labels", "weight": 3, "check": "match", "output": "labels.csv", "at": "label", "hidden": "truth.csv"},
        {"name": "score", "title": "Score", "weight": 1, "check": "grader", "grader": "grade.py", "output": "metrics.json"},
    ],
    "hidden": ["truth.csv"], "graders": ["grade.py"], "pass_percent": 70, "attempts": 2,
}  # fmt: skip
ROSTER = "學號,student_no,name_zh,name_latin,email_or_username,group,seat\n" + "".join(
    f",{number},{name},{latin},{user},晨,{seat}\n"
    for number, (user, name, latin, seat) in enumerate(
        [(AMY, "王小美", "Amy Wang", 3), ("bo", "陳博", "Bo Chen", ""), ("cy", "", "Cy Young", ""), ("di", "林迪", "Di Lin", ""),
         ("eve", "=1+1", "Eve", ""), ("fay", "方菲", "Fay Fang", ""), (GUS, "高士", "Gus Kao", "")], start=1001,
    )
)  # fmt: skip


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    if why := LocalArena(tmp_path_factory.mktemp("arena")).lacks():
        missing(f"isolation of attempts ({why})")
    with live_portal(tmp_path_factory.mktemp("workshop")) as live:
        users = {"usernames": [*LEARNERS, "officer"]}
        httpx.post(f"{live.url}/hub/api/users", headers=_operator(live), json=users, timeout=30).raise_for_status()
        yield live


def _operator(live: Live) -> dict[str, str]:
    return {"Authorization": f"token {live.operator}"}


@dataclass
class Workshop:
    """A run, and those who have to do with it."""

    live: Live
    folder: Path
    run: int = 0
    code: str = ""
    tokens: dict[str, str] = field(default_factory=dict)

    def cli(self, user: str, *words: object, fails: bool = False) -> str:
        """Run a command as a user does: with a token of their own."""
        if user not in self.tokens:
            address = f"{self.live.url}/hub/api/users/{user}/tokens"
            made = httpx.post(address, headers=_operator(self.live), json={"expires_in": 3600}, timeout=30)
            self.tokens[user] = made.json()["token"]
        return self.live.cli(*map(str, words), fails=fails, NVLHUB_TOKEN=self.tokens[user])

    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = self.live.api("GET", f"/runs/{self.run}")
        return found

    @property
    def board(self) -> str:
        return f"{self.live.url}{PAGES}teach/{self.run}"

    # --- planning ---------------------------------------------------------------------------------------------

    def plan(self) -> None:
        """Make course and run, as their lead and their instructor do, and ask for it."""
        self.live.cli("programme", "set", "demo", "--charge-slot")
        self.live.api("POST", "/users", json={"name": "officer"})
        self.live.api("PUT", "/programmes/demo/officers/officer")
        (self.folder / "rubric.yml").write_text(yaml.safe_dump(RUBRIC))
        (self.folder / "truth.csv").write_text(f"id,label\n1,a\n2,{TRUTH}\n")
        (self.folder / "grade.py").write_text(GRADER)
        course = (
            "course",
            "add",
            "frames",
            "Data frames",
            "demo",
            "gpu1",
            "--title-zh",
            "資料框",
            "--instructor",
            "instructor",
        )
        self.cli("researcher", *course)
        self.cli("instructor", "assessment", "set", "frames", self.folder / "rubric.yml")
        starts = self.live.api("GET", "/health")["now"] + 25
        times = ("--starts", starts, "--ends", starts + 1800, "--zone", "Asia/Taipei", "--seats", 8, "--gpus", 1)
        tried = json.loads(
            self.cli("researcher", "course", "run-add", "frames", "Spring", *times, "--dry-run", "--json")
        )
        assert (tried["room"]["fits"], tried["slot_gpus"], tried["id"]) == (True, GPUS, "")
        made = json.loads(self.cli("researcher", "course", "run-add", "frames", "Spring", *times, "--json"))
        self.run, self.code = int(made["id"]), made["code"]
        self._bring_roster()
        self.cli("instructor", "course", "request", self.run, "--note", "room B204")

    def _bring_roster(self) -> None:
        """Bring the roster as Excel writes it: with a mark, and first with a mistake in it."""
        file = self.folder / "roster.csv"
        file.write_bytes(codecs.BOM_UTF8 + (ROSTER + ",1001,又一人,Another,amy,,\n").encode())
        assert re.search(r"9.*student_no", self.cli("instructor", "course", "roster", self.run, file, fails=True))
        file.write_bytes(codecs.BOM_UTF8 + ROSTER.encode())
        assert "Nothing was changed" in self.cli("instructor", "course", "roster", self.run, file)
        assert "The roster is changed" in self.cli("instructor", "course", "roster", self.run, file, "--apply")


class Learner:
    """A learner at the real pages, by hand: what a browser without scripts does."""

    def __init__(self, workshop: Workshop, name: str) -> None:
        self._workshop = workshop
        self.name = name
        self.seat = 0
        self.http = httpx.AsyncClient(base_url=workshop.live.url, follow_redirects=True, timeout=60)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    async def join(self) -> None:
        """Follow the address with the code, log in on the way, take a seat, and say one's name where it is not known."""
        code = self._workshop.code
        login = await self.http.get(f"{PAGES}join?code={code}")
        told = {"username": self.name, "password": self._workshop.live.password, "_xsrf": hidden(login.text, "_xsrf")}
        page = await self.http.post(str(login.url), data=told)
        page = await self.http.post(f"{PAGES}join", data={"code": code, "csrf": hidden(page.text, "csrf")})
        seat = re.search(r"Seat (\d+)", page.text)
        assert seat is not None, page.text[:2000]
        self.seat = int(seat[1])
        if self.name == HAL:
            form = {"name": "Hal", "name_latin": "", "csrf": hidden(page.text, "csrf")}
            page = await self.http.post(f"{PAGES}seat/{self._workshop.run}/name", data=form)
        assert "Correct it" in page.text, page.text[:3000]

    async def hand_in(self, program: str) -> str:
        """Hand in a program on the page of the seat; return the page once it was judged."""
        path = f"{PAGES}seat/{self._workshop.run}/attempts"
        form = {"csrf": hidden((await self.http.get(path)).text, "csrf")}
        page = await self.http.post(path, data=form, files=[("files", ("solve.py", program.encode(), "text/x-python"))])
        async with asyncio.timeout(120):
            while re.search(r'data-state="(queued|running)"', page.text):
                await asyncio.sleep(0.5)
                page = await self.http.get(path)
        return page.text

    async def sees(self, path: str = "") -> httpx.Response:
        return await self.http.get(PAGES + (path or f"seat?run={self._workshop.run}"))


async def appears(what: Locator) -> None:
    await expect(what).to_be_visible(timeout=PATIENCE)


async def says(what: Locator, words: str) -> None:
    await expect(what).to_contain_text(words, timeout=PATIENCE)


def hidden(page: str, name: str) -> str:
    """Return what a form of a page sends by itself."""
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found is not None, page[:2000]
    return found[1]


async def visitor(started: Browser, workshop: Workshop, user: str, path: str, **context: Any) -> Page:
    """Open a page of the portal in a browser of somebody's own; log in on the way."""
    page = await (await started.new_context(**context)).new_page()
    page.set_default_timeout(PATIENCE)
    await page.goto(workshop.live.url + path)
    await identify(page, workshop.live, user)
    await page.wait_for_url(f"**{path.partition('?')[0]}*")
    return page


@pytest.mark.timeout(600)
async def test_a_workshop_from_its_planning_to_its_bill(hub: Live, browser: Browser, tmp_path: Path) -> None:  # noqa: F811
    workshop = Workshop(hub, tmp_path)
    workshop.plan()
    await approved(browser, workshop)
    teacher = await visitor(browser, workshop, "instructor", f"{PAGES}teach/{workshop.run}")
    await expect(teacher.locator("p.code")).to_have_text(workshop.code, timeout=PATIENCE)
    assert "good" in workshop.cli("instructor", "course", "ready", workshop.run)

    amy = await arrived(browser, workshop, AMY, "en-US")
    gus = await arrived(
        browser, workshop, GUS, "zh-TW", viewport={"width": 375, "height": 800}, java_script_enabled=False
    )
    others = [Learner(workshop, name) for name in (*HANDED_IN, HAL)]
    try:
        await asyncio.gather(*(other.join() for other in others))
        seats = {row["user"]: row for row in hub.api("GET", f"/runs/{workshop.run}/seats")["seats"]}
        assert seats.keys() == set(LEARNERS)
        assert (seats[AMY]["number"], seats[AMY]["name"], seats[HAL]["name"]) == (3, "王小美", "Hal")
        await worked(workshop, amy)
        await helped(workshop, teacher, amy, gus)
        await kept_apart(others[0])
        await judged(workshop, amy, others)
        await certified(workshop, amy)
        await counted(workshop, teacher)
        await ended(workshop, teacher, others)
    finally:
        for other in others:
            await other.http.aclose()
    await paid(workshop)


async def approved(started: Browser, workshop: Workshop) -> None:
    """An officer of the programme finds the run from their first page, sees that there is room, and approves it."""
    page = await visitor(started, workshop, "officer", PAGES)
    await page.get_by_role("link", name="Courses").click()
    asked = page.locator(f"article[data-run='{workshop.run}']").first
    await says(asked, "room B204")
    await says(asked, "There is room now")
    await asked.get_by_label("Reason").fill("as planned")
    await asked.get_by_role("button", name="Approve and reserve").click()
    await appears(page.get_by_text("as planned").first)
    told = workshop.told()
    assert (told["state"], told["slot_charge"], len(told["trays"])) == ("approved", True, 2)
    assert told["held"] == told["price"] > 0
    await page.context.close()


async def arrived(started: Browser, workshop: Workshop, user: str, language: str, **context: Any) -> Page:
    """Join with the code that the instructor shows, in a browser."""
    page = await visitor(
        started, workshop, user, f"{PAGES}join?code={workshop.code.lower()}", locale=language, **context
    )
    await page.get_by_role("button", name="Join" if language == "en-US" else "加入", exact=True).click()
    await page.wait_for_url("**/seat?run=*")
    return page


async def worked(workshop: Workshop, amy: Page) -> None:
    """A learner works in a kernel of the seat, which the slot pays for, and raises her hand there."""
    await amy.get_by_role("link", name="Open JupyterLab").click()
    await amy.wait_for_url(re.compile(rf"/user/{AMY}/class-{workshop.run}/lab"))
    await open_notebook(amy, "1 GPU · Demo project")
    await appears(amy.get_by_text("| Idle").first)
    solution = f"open('solve.py', 'w').write({HONEST!r})"
    await run(
        amy, f"from nvlkernels import course; {solution}; course.step(2, 5); course.check('mean', True); course.hand()"
    )
    await appears(amy.locator(".jp-OutputArea-output").filter(has_text="Step 2 of 5"))
    [lease] = workshop.live.api("GET", f"/leases?user={AMY}")["items"]
    assert (lease["gpus"], lease["held"], lease["state"]) == (1, 0, "running")
    kept = {(tray["domain"], tray["tray"]) for tray in workshop.told()["trays"]}
    assert {(share["domain"], share["tray"]) for share in lease["placement"]} <= kept


async def helped(workshop: Workshop, teacher: Page, amy: Page, gus: Page) -> None:
    """The instructor sees the hand, goes there, and tells everybody; no server is opened that has the portal's own origin."""
    await teacher.goto(f"{workshop.board}?sort=help")
    first = teacher.locator("[data-seat]").first
    await says(first, "王小美")
    await says(first, "Hand up for")
    await says(first, "Step 2 of 5")
    await first.locator("summary").click()
    await first.get_by_role("button", name="I go there").click()
    await says(teacher.locator("[data-seat='3']"), "instructor goes there")
    await teacher.get_by_label("To everybody").fill("休息十分鐘 <b>&amp; ten minutes</b>")
    await teacher.get_by_role("button", name="Send").last.click()
    await appears(teacher.get_by_text("休息十分鐘 <b>&amp; ten minutes</b>").first)
    await teacher.locator("[data-seat='3'] summary").click()
    await appears(teacher.locator("[data-seat='3']").get_by_role("button", name="Restart server"))
    await expect(teacher.get_by_role("button", name="Open server")).to_have_count(0)
    assert await contents(workshop, teacher) != 200
    page = await amy.context.new_page()
    await page.goto(f"{workshop.live.url}{PAGES}seat?run={workshop.run}")
    await appears(page.get_by_text("instructor is on the way to you."))
    await page.close()
    await gus.reload()
    await appears(gus.get_by_text("休息十分鐘 <b>&amp; ten minutes</b>"))


async def contents(workshop: Workshop, teacher: Page) -> int:
    """Return what a learner's server answers the instructor who asks for her file."""
    answer = await teacher.request.get(f"{workshop.live.url}/user/{AMY}/class-{workshop.run}/api/contents/solve.py")
    return answer.status


async def kept_apart(learner: Learner) -> None:
    """A learner sees neither the board, nor what an attempt is compared with, nor another's server."""
    run = learner._workshop.run
    for path in (f"teach/{run}", f"teach/{run}/seats", f"teach/{run}/results.csv"):
        assert (await learner.sees(path)).status_code == 404, path
    assert f"teach/{run}" not in (await learner.sees("teach")).text
    assert (await learner.http.get(f"/user/{AMY}/class-{run}/api/contents")).status_code == 403


async def judged(workshop: Workshop, amy: Page, others: list[Learner]) -> None:
    """All hand in at once: the honest one passes, every other fails, each by itself, and learns nothing that is hidden."""
    await eventually(lambda: workshop.told()["phase"] == "live")
    await run(amy, "course.assess()")
    pages = dict(
        zip(HANDED_IN, await asyncio.gather(*(one.hand_in(HANDED_IN[one.name]) for one in others if one.name != HAL)), strict=True)
    )  # fmt: skip
    shown = amy.locator(".jp-OutputArea-output").filter(has_text="Right labels: Enough of it is right")
    await appears(shown)
    await says(shown, "Passed.")
    for name, page in pages.items():
        assert 'data-state="failed"' in page, (name, page)
        assert TRUTH not in page.replace(HANDED_IN[name], ""), name
        assert "the grader read" not in page, name
    assert f"took longer than {LONGEST} s" in pages["fay"]
    attempts = {row["user"]: row for row in workshop.live.api("GET", f"/runs/{workshop.run}/attempts")["items"]}
    scores = {name: row["score_milli"] for name, row in attempts.items()}
    assert scores == {AMY: 1000, "bo": 250, "cy": 0, "di": 0, "eve": 0, "fay": 0}
    assert "unpickled" not in attempts["cy"]["grader_log"]


async def certified(workshop: Workshop, amy: Page) -> None:
    """The certificate counts for anybody: on its page without a login, and as a file without a portal."""
    page = await amy.context.new_page()
    await page.goto(f"{workshop.live.url}{PAGES}seat?run={workshop.run}")
    await page.get_by_role("link", name="Your certificate").click()
    await says(page.get_by_role("status"), "It counts")
    name = page.url.rpartition("/")[2]
    await page.close()
    async with httpx.AsyncClient(base_url=workshop.live.url + PAGES) as anybody:
        public = await anybody.get(f"verify/{name}")
        file = await anybody.get(f"certificates/{name}.json")
        pdf = await anybody.get(f"certificates/{name}.pdf")
    assert (public.status_code, pdf.content[:5]) == (200, b"%PDF-")
    for words in ("It counts", "王小美", "Amy Wang", "Data frames", "100 %"):
        assert words in public.text, words
    own, keys, forged = (workshop.folder / one for one in ("own.json", "keys.json", "forged.json"))
    own.write_bytes(file.content)
    keys.write_text(workshop.live.cli("certificate", "keys", "--json"))
    forged.write_bytes(file.content.replace("王小美".encode(), "王大美".encode()))
    nowhere = {"NVLHUB_URL": "http://127.0.0.1:1"}
    assert "valid" in workshop.live.cli("certificate", "verify", str(own), "--keys", str(keys), **nowhere)
    assert "forged" in workshop.live.cli(
        "certificate", "verify", str(forged), "--keys", str(keys), fails=True, **nowhere
    )


async def counted(workshop: Workshop, teacher: Page) -> None:
    """The board tells who passed, the file of results tells everybody, and a name that looks like a formula is none."""
    await teacher.goto(workshop.board)
    await says(teacher.locator("[data-seat='3']"), "one attempt, best 100 %")
    await says(teacher.locator("[data-seat='3']"), "passed")
    answer = await teacher.request.get(f"{workshop.board}/results.csv")
    rows = {row["user"]: row for row in csv.DictReader(io.StringIO((await answer.body()).decode("utf-8-sig")))}
    assert rows.keys() == set(LEARNERS)
    assert (rows[AMY]["student_no"], rows[AMY]["best_percent"], rows[GUS]["attempts"]) == ("1001", "100.0", "0")
    assert [name for name, row in rows.items() if row["certificate"]] == [AMY]
    assert not any(cell.startswith("=") for row in rows.values() for cell in row.values())


async def ended(workshop: Workshop, teacher: Page, others: list[Learner]) -> None:
    """The instructor ends the class: servers go, nobody is let in any more, and what was handed in counts."""
    live, run = workshop.live, workshop.run
    await teacher.get_by_label("Yes, do it").last.check()
    await teacher.get_by_role("button", name="End the class now").click()
    await expect(teacher.locator("p.code")).to_have_count(0, timeout=PATIENCE)
    assert workshop.told()["state"] == "closed"
    async with httpx.AsyncClient(base_url=live.url, headers=_operator(live)) as operator, asyncio.timeout(90):
        for user in LEARNERS:
            while (await operator.get(f"/hub/api/users/{user}/servers/class-{run}")).status_code != 404:
                await asyncio.sleep(0.2)
    assert await contents(workshop, teacher) != 200
    assert {row["user"] for row in live.api("GET", "/projects/demo/members")["items"]} == {"researcher", "instructor"}
    over = await others[0].sees()
    assert "This class is over" in over.text
    assert "Not passed." in (await others[0].sees(f"seat/{run}/attempts")).text


async def paid(workshop: Workshop) -> None:
    """The slot is charged by the rule, to the second; leases in it cost nothing; the ledger is whole and nothing is kept."""
    live, told = workshop.live, workshop.told()
    [lease, *more] = await live.settled()
    assert (lease["user"], lease["charged"], more) == (AMY, 0, [])
    statement = json.loads(workshop.cli("researcher", "project", "statement", "demo", "--json"))
    [award] = [one for one in statement["awards"] if one["movements"]]
    kept, over = (one for one in award["movements"] if one["entry"].startswith("slot-"))
    begun = told["ends"] - kept["change"]["held"] // (GPUS * 1000)
    used = GPUS * 1000 * (told["closed_at"] - begun)
    assert begun == kept["at"]
    assert over["change"] == {"left": -kept["change"]["left"] - used, "held": -kept["change"]["held"], "charged": used}
    assert told["charged"] == used == award["closing"]["charged"]
    assert 0 < used < kept["change"]["held"]
    assert over["key"] == f"slot-end:{workshop.run}:1"
    assert f"{gpu_hours(used)} GPU-h" in workshop.cli("instructor", "course", "run-show", workshop.run)
    live.cli("ledger", "verify")
