"""The view that widgets and dashboards share, in Chromium: keeps what is being typed, counts down, asks, dismisses."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page, Route, async_playwright, expect

from nvlwidgets.markup import asset
from tests.conftest import missing

pytestmark = pytest.mark.browser

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>view</title><style>%s</style><body><div id="el"></div>
<script type="module">
import view from "/view.js";
const listeners = {};
window.saved = [];
window.state = { html: %s, asked: {}, shown: %s };
window.model = {
  get: (name) => state[name],
  set: (name, value) => { state[name] = value; },
  save_changes: () => saved.push(structuredClone({ asked: state.asked, shown: state.shown })),
  on: (name, told) => { (listeners[name] ||= new Set()).add(told); },
  off: (name, told) => listeners[name]?.delete(told),
};
window.change = (name, value) => { state[name] = value; for (const told of listeners[name ? "change:" + name : ""] || []) told(); };
window.leave = view.render({ model, el: document.getElementById("el") });
window.ready = true;
</script>"""


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        missing("Chromium (package chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield await browser.new_page()
        await browser.close()


async def show(page: Page, html: str, shown: Any = True) -> None:
    files = {
        "/": (PAGE % (asset("style.css"), json.dumps(html).replace("</", "<\\/"), json.dumps(shown)), "text/html"),
        "/view.js": (asset("view.js"), "text/javascript"),
    }

    async def answer(route: Route) -> None:
        body, kind = files["/view.js" if route.request.url.endswith("/view.js") else "/"]
        await route.fulfill(body=body, content_type=kind)

    await page.route("http://view.test/**", answer)
    await page.goto("http://view.test/")
    await page.wait_for_function("window.ready")


async def asked(page: Page) -> list[dict[str, Any]]:
    told = await page.evaluate("saved.filter((save) => save.asked.action).map((save) => save.asked)")
    return [{name: value for name, value in one.items() if name != "count"} for one in told]


async def test_new_html_keeps_focus_selection_and_what_is_being_typed(page: Page) -> None:
    form = '<p>{}</p><form data-ask="send"><label>Name <input name="n" value="old"></label></form><details><summary>More</summary>x</details>'
    await show(page, form.format("one"))
    await page.fill("input", "half a wo")
    await page.evaluate("document.querySelector('input').setSelectionRange(2, 4)")
    await page.click("summary")
    await page.focus("input")
    await page.evaluate("document.querySelector('input').setSelectionRange(2, 4)")
    await page.evaluate("(html) => change('html', html)", form.format("two"))
    await expect(page.locator("p")).to_have_text("two")
    assert await page.input_value("input") == "half a wo"
    kept = (
        "[document.activeElement.name, document.activeElement.selectionStart, document.querySelector('details').open]"
    )
    assert await page.evaluate(kept) == ["n", 2, True]


async def test_time_left_counts_down_in_its_own_words_whatever_the_clock_says(page: Page) -> None:
    await page.clock.install(time=0)
    await show(page, '<b data-left="905" data-units="天 小時 分 秒"></b>')
    place = page.locator("b")
    await expect(place).to_have_text("15 分")
    await page.clock.run_for(610_000)
    await expect(place).to_have_text("4 分 55 秒")
    await page.evaluate("Date.now = () => 0")
    await page.clock.run_for(240_000)
    await expect(place).to_have_text("55 秒")
    await page.clock.run_for(100_000)
    await expect(place).to_have_text("0 秒")
    await page.evaluate("""change('html', '<b data-left="7300" data-units="天 小時 分 秒"></b>')""")
    await expect(place).to_have_text("2 小時 1 分")


async def test_a_button_says_what_it_asks_for_and_asks_before_what_cannot_be_undone(page: Page) -> None:
    await show(
        page,
        '<button data-ask="extend" data-minutes="60">+</button><button data-ask="release" data-confirm="Sure?">x</button>',
    )
    answers = [False, True]
    questions: list[str] = []

    async def decide(dialog: Any) -> None:
        questions.append(dialog.message)
        await (dialog.accept() if answers.pop(0) else dialog.dismiss())

    page.on("dialog", decide)
    await page.get_by_role("button", name="+").click()
    await page.get_by_role("button", name="x").click()
    assert await asked(page) == [{"action": "extend", "minutes": "60"}]
    await page.get_by_role("button", name="x").press("Enter")
    assert (await asked(page))[1:] == [{"action": "release"}]
    assert questions == ["Sure?", "Sure?"]


async def test_pressing_twice_is_told_twice(page: Page) -> None:
    await show(page, '<button data-ask="a">a</button>')
    await page.get_by_role("button").click()
    await page.get_by_role("button").click()
    counts = await page.evaluate("saved.map((save) => save.asked.count)")
    assert len(set(counts)) == 2


async def test_a_form_sends_its_fields_and_a_choice_its_value(page: Page) -> None:
    await show(
        page,
        '<form data-ask="send" data-id="7"><input name="a" value="1"><input name="b" value="x"><input name="b" value="y">'
        '<button>go</button></form><select data-ask="choose"><option>one<option>two</select>',
    )
    await page.get_by_role("button").click()
    await page.select_option("select", "two")
    assert await asked(page) == [
        {"action": "send", "id": "7", "a": "1", "b": ["x", "y"]},
        {"action": "choose", "value": "two"},
    ]


async def test_what_was_dismissed_stays_away_after_new_html_and_after_loading_again(page: Page) -> None:
    html = '<div class="notice">News <button data-dismiss="announcement-1">Close</button></div><div class="notice" id="other">Other</div>'
    await show(page, html)
    await page.get_by_role("button", name="Close").click()
    await expect(page.get_by_text("News")).to_be_hidden()
    assert await page.evaluate("localStorage.getItem('nvlhub-dismissed-announcement-1')") == "1"
    await page.evaluate("(html) => change('html', html + '<p>later</p>')", html)
    await expect(page.get_by_text("later")).to_be_visible()
    await expect(page.get_by_text("News")).to_be_hidden()
    await page.reload()
    await page.wait_for_function("window.ready")
    await expect(page.get_by_text("News")).to_be_hidden()
    await expect(page.get_by_text("Other")).to_be_visible()


async def test_scripts_in_html_do_not_run(page: Page) -> None:
    await show(page, "<p>first</p><script>window.ran = 1</script>")
    await page.evaluate("change('html', '<p>second</p><script>window.ran = 2</' + 'script>')")
    await expect(page.locator("p")).to_have_text("second")
    assert await page.evaluate("window.ran") is None


async def test_a_view_says_whether_it_is_on_a_page_and_a_second_one_says_it_again(page: Page) -> None:
    await show(page, "<p>x</p>", shown=False)
    assert await page.evaluate("state.shown") is True
    await page.evaluate("change('shown', false)")  # another page has left
    assert await page.evaluate("state.shown") is True
    await page.evaluate("leave()")
    assert await page.evaluate("state.shown") is False
    saves = await page.evaluate("saved.length")
    await page.evaluate("change('shown', false); change('html', '<p>y</p>')")
    assert await page.evaluate("[saved.length, document.querySelector('p').textContent]") == [saves, "x"]


async def test_a_model_that_does_not_care_is_not_told(page: Page) -> None:
    await show(page, "<p>x</p>", shown=None)
    await page.evaluate("leave()")
    assert await page.evaluate("saved.length") == 0
