"""Somebody who types no commands makes a course, plans a run, brings a roster, has it approved. In Chromium, without scripts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Locator, Page, expect

from nvlhub.portal.paged import unnamed
from nvlhub.text import LANGUAGES, say
from tests.stories.live import Live
from tests.stories.test_browser import browser, identify, shot  # noqa: F401  # browser is a fixture

pytestmark = pytest.mark.browser
NARROW, WIDE, TALLEST = {"width": 375, "height": 800}, 1280, 2400
RUBRIC = """\
files: [solve.py]
outputs: [{name: answer.json, kind: json}]
items:
  - {name: answer, title: The answer, title_zh: 答案, check: match, output: answer.json, hidden: truth.json}
hidden: [truth.json]
"""
SOLUTION = "print('solved'); open('answer.json', 'w').write('42')"
ROSTER = "\ufeffstudent_no,name_zh,name_latin,email_or_username,group,seat\r\n1,王小明,Wang Xiao-Ming,ming,A,1\r\n,,,mei,A,99\r\n"


@dataclass
class Person:
    """Somebody at the portal, in a browser without scripts and on a telephone."""

    page: Page
    browser: Browser
    lang: str

    def field(self, name: str) -> Locator:
        return self.page.locator(f"#f-{name}")

    async def fill(self, **fields: str) -> None:
        for name, value in fields.items():
            await self.page.get_by_label(say(f"plan-{name}", self.lang), exact=True).fill(value)

    async def press(self, name: str, **members: str) -> None:
        await self.page.get_by_role("button", name=say(name, self.lang, **members), exact=True).click()

    async def follow(self, name: str) -> None:
        await self.page.get_by_role("link", name=say(name, self.lang), exact=True).first.click()

    async def reads(self, role: str, name: str, **members: str) -> None:
        await expect(self.page.get_by_role(role).first).to_contain_text(say(name, self.lang, **members))  # type: ignore[arg-type]

    async def look(self, name: str) -> None:
        """Have the page proven as it came: axe needs scripts, which only another browser has."""
        context = await self.browser.new_context(viewport=NARROW)  # type: ignore[arg-type]
        there = await context.new_page()
        await there.set_content(await self.page.content())
        found = await Axe().run(there)
        assert found.violations_count == 0, found.generate_report()
        assert await there.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], (
            name,
            await there.evaluate("""[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth)
                .map(e => e.tagName + ' ' + e.getBoundingClientRect().right + ' ' + e.outerHTML.slice(0, 300))"""),
        )
        for width in (NARROW["width"], WIDE):
            await there.set_viewport_size({"width": width, "height": NARROW["height"]})
            tall = min(TALLEST, await there.evaluate("document.documentElement.scrollHeight"))
            await there.set_viewport_size({"width": width, "height": tall})
            await shot(there, f"planning-{name}-{self.lang}-{width}")
        await context.close()


async def visitor(started: Browser, live: Live, user: str, lang: str) -> Person:
    """Log in on the way to the page of those who teach."""
    context = await started.new_context(viewport=NARROW, locale=lang, java_script_enabled=False)  # type: ignore[arg-type]
    page = await context.new_page()
    page.set_default_timeout(60_000)
    await page.goto(f"{live.url}/services/portal/teach")
    await identify(page, live, user)
    await page.wait_for_url("**/services/portal/teach")
    return Person(page, started, lang)


@pytest.mark.parametrize("lang", LANGUAGES)
async def test_a_class_is_planned_without_a_command(live: Live, browser: Browser, tmp_path: Path, lang: str) -> None:  # noqa: F811
    lead = await visitor(browser, live, "researcher", lang)
    slug = f"tensors-{lang.lower()}"
    await made(lead, slug)
    teacher = await visitor(browser, live, "instructor", lang)
    await teacher.page.locator(f"a[href$='/teach/courses/{slug}']").click()
    await assessed(teacher, tmp_path)
    await teacher.follow("plan-new-run")
    plan = await planned(teacher)
    await listed(teacher, tmp_path)

    admin = await visitor(browser, live, "admin", lang)
    card = admin.page.locator("article").filter(has_text="40 人").first
    await card.locator("textarea").fill("OK")
    await card.get_by_role("button", name=say("teach-approve", lang)).click()
    await teacher.follow("plan-plan")
    await expect(teacher.page.get_by_text(say("plan-is-approved", lang))).to_be_visible()
    await teacher.look("approved")
    await teacher.follow("plan-ready")
    await teacher.look("ready")
    await teacher.follow("teach-title")
    await teacher.look("teach")
    await teacher.page.goto(plan)
    await teacher.page.get_by_role("checkbox").check()
    await teacher.press("plan-cancel-do")
    await teacher.reads("status", "plan-done-cancelled")
    await live.settled()


async def made(lead: Person, slug: str) -> None:
    """Make a course; what is wrong is told beside what was typed."""
    await lead.follow("plan-new-course")
    await lead.look("new-course")
    await lead.fill(
        slug=slug, title="Tensors on GPUs", title_zh="GPU 上的張量", instructors="instructor", commit="main"
    )
    await lead.press("plan-make-course")
    await lead.reads("alert", "plan-bad-commit")
    await expect(lead.field("title_zh")).to_have_value("GPU 上的張量")
    await lead.look("new-course-refused")
    await lead.fill(commit="")
    await lead.press("plan-make-course")
    await lead.reads("status", "plan-done-made")


async def assessed(teacher: Person, folder: Path) -> None:
    """Set a rubric, and hand in a solution oneself."""
    for name, text in (("rubric.yml", RUBRIC), ("truth.json", "42"), ("solve.py", SOLUTION)):
        (folder / name).write_text(text)
    await teacher.field("rubric").set_input_files(folder / "rubric.yml")
    await teacher.press("plan-assess")
    await expect(teacher.page.get_by_role("alert")).to_contain_text("truth.json")
    await teacher.field("rubric").set_input_files(folder / "rubric.yml")
    await teacher.field("beside").set_input_files(folder / "truth.json")
    await teacher.press("plan-assess")
    await teacher.reads("status", "plan-done-assessed")
    await teacher.field("files").set_input_files(folder / "solve.py")
    await teacher.press("plan-try-do")
    # Where no cage can be made, that is said, and nothing is judged.
    off = say("assessment-off", teacher.lang, why="\n").partition("\n")[0].strip()
    await expect(teacher.page.get_by_text("solved").or_(teacher.page.get_by_text(off)).first).to_be_visible()
    await teacher.look("course")


async def planned(teacher: Person) -> str:
    """Look for room, save a draft, ask for it; return where its plan is."""
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 3 * 86_400))
    await teacher.fill(name="Spring, group A", zone="Asia/Taipei", day=day, starts="09:00", ends="12:00", seats="40")
    await teacher.press("plan-look")
    await teacher.reads("status", "teach-no-room", gpus="40", most="8")
    await teacher.look("no-room")
    await teacher.fill(seats="8", note="40 人選課，分五梯")
    await teacher.press("plan-look")
    await expect(teacher.page.locator("[data-fits=true]")).to_be_visible()
    await teacher.look("room")
    await teacher.press("plan-save-draft")
    await teacher.reads("status", "plan-done-drafted")
    await teacher.look("draft")
    plan = teacher.page.url.partition("?")[0]
    await teacher.press("plan-ask-do")
    await teacher.reads("status", "plan-done-asked")
    return plan


async def listed(teacher: Person, folder: Path) -> None:
    """Bring a roster: tried, put right on the page, applied."""
    (folder / "roster.csv").write_text(ROSTER, newline="")
    await teacher.follow("check-name-roster")
    await teacher.field("file").set_input_files(folder / "roster.csv")
    await teacher.press("roster-try")
    for fault, field in (("roster-name", "name_zh"), ("roster-seat", "seat")):
        said = unnamed(say(fault, teacher.lang, most="8"), field)
        await expect(teacher.page.get_by_role("row").filter(has_text=said)).to_have_count(1)
    await teacher.look("roster-refused")
    text = teacher.field("csv")
    await text.fill((await text.input_value()).replace(",,,mei,A,99", "2,李美,Li Mei,mei,A,2"))
    await teacher.press("roster-try-again")
    counts = {"added": "2", "changed": "0", "unchanged": "0", "dropped": "0"}
    await teacher.reads("status", "roster-would", **counts)
    await teacher.look("roster-tried")
    await teacher.press("roster-apply", count="2")
    await teacher.reads("status", "plan-done-listed")
    await teacher.look("roster")
