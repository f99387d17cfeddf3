"""JupyterHub's own pages: in both languages, with what its scripts need, and with nobody's markup in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import jinja2.nodes
import pytest
from traitlets.config import Config

from nvlhub.portal import configure, hub_pages
from nvlhub.text import LANGUAGES
from tests.portal.hub_kit import MARKUP, STOCK, environment, show
from tests.test_text import messages

PAGES = sorted(file.stem for file in hub_pages.TEMPLATES.glob("*.html"))
SHOWN = [page for page in PAGES if page != "page"]
ENGLISH = ("admin", "oauth", "accept-share")
"""Pages that stay as JupyterHub wrote them."""
ESCAPED = "&lt;b&gt;&amp;amp;&lt;/b&gt;"


class Text(HTMLParser):
    """What is read on a page, without scripts and what says that it is English."""

    VOID = ("input", "img", "meta", "link", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[bool] = []
        self.ids: list[str] = []
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if "id" in told:
            self.ids.append(str(told["id"]))
        silent = tag in {"script", "style"} or told.get("lang") == "en"
        if tag not in self.VOID:
            self.stack.append(silent or bool(self.stack and self.stack[-1]))
        if not silent and not (self.stack and self.stack[-1]):
            self.found += [str(told[name]) for name in ("aria-label", "title", "placeholder", "alt") if told.get(name)]
            if tag == "input" and told.get("type") == "submit":
                self.found.append(str(told.get("value")))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID and self.stack:
            self.stack.pop()

    def handle_data(self, data: str) -> None:
        if not (self.stack and self.stack[-1]):
            self.found.append(data)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("page", SHOWN)
def test_every_page_is_made_in_both_languages(page: str, lang: str) -> None:
    text = show(page, lang)
    assert f'<html lang="{lang}">' in text
    if page not in ENGLISH:
        assert len(re.findall(r"<h1\b", text)) == 1
    ids = Text(text).ids
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("page", [page for page in SHOWN if page not in ENGLISH])
def test_no_english_is_left_on_a_chinese_page(page: str) -> None:
    known = {
        "nvlhub",
        "JupyterHub",
        "JavaScript",
        "HTTPS",
        "CPU",
        "GPU",
        "self",
        "researcher",
        "wiki",
        "second",
        "English",
        "b",
        "amp",
    }
    left = [word for text in Text(show(page, "zh-TW")).found for word in re.findall(r"[A-Za-z]{2,}", text)]
    paths = {"user", "amp", "x", "az"}
    assert set(left) - known - paths == set()


@pytest.mark.parametrize("page", SHOWN)
def test_markup_in_names_and_messages_is_shown_as_text(page: str) -> None:
    assert MARKUP not in show(page)


@pytest.mark.parametrize("page", ["home", "login", "spawn", "not_running", "error", "token"])
def test_what_people_chose_is_shown(page: str) -> None:
    assert ESCAPED in show(page)


def ids_of(source: str) -> set[str]:
    return set(re.findall(r'\bid="([\w-]+)"', source))


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ENGLISH])
def test_ids_and_blocks_of_jupyterhubs_page_are_kept(page: str) -> None:
    """Its scripts, and the templates of sites, go by them."""
    stock, ours = (
        (folder / f"{page}.html").read_text(encoding="utf-8") for folder in (STOCK, hub_pages.TEMPLATES)
    )  # fmt: skip
    # Of the progress bar, and of notes under fields.
    gone = {"sr-progress"}
    assert ids_of(stock) - ids_of(ours) <= gone
    if '{% extends "templates/' not in ours:
        assert blocks_of(stock) <= blocks_of(ours)


def blocks_of(source: str) -> set[str]:
    parsed = jinja2.Environment(autoescape=True).parse(source)
    return {block.name for block in parsed.find_all(jinja2.nodes.Block)}


def test_what_jupyterhub_tells_its_scripts_is_told_on_our_page_word_by_word() -> None:
    stock, ours = (
        (folder / "page.html").read_text(encoding="utf-8") for folder in (STOCK, hub_pages.TEMPLATES)
    )  # fmt: skip
    for part in (r'<script type="text/javascript">.*?</script>', r"{% block scripts %}.*?{% endblock scripts %}"):
        [theirs] = re.findall(part, stock, re.DOTALL)
        assert theirs in ours


def said() -> Iterator[str]:
    for file in hub_pages.TEMPLATES.glob("*.html"):
        source = file.read_text(encoding="utf-8")
        yield from re.findall(r'"((?:hub|page|screen|frame)-[a-z0-9-]*[a-z0-9])"', source)


def test_every_sentence_that_a_template_names_is_in_the_catalogue() -> None:
    assert set(said()) <= messages("en").keys()
    assert len(set(said())) > 60


def test_the_language_that_somebody_chose_goes_before_that_of_the_browser() -> None:
    chosen = {"Cookie": "nvlhub-language=zh-TW"}
    assert '<html lang="zh-TW">' in show("home", "en", headers=chosen)
    assert '<html lang="en">' in show("home", "zh-TW", headers={"Cookie": "nvlhub-language=en"})
    assert '<html lang="en">' in show("home", "en", headers={"Cookie": "nvlhub-language=xx"})


def test_the_link_to_the_other_language_comes_back_to_the_same_page() -> None:
    assert "/services/portal/language?to=zh-TW&amp;next=%2Fhub%2Fhome%3Fa%3Db" in show("home")
    assert "/services/portal/language?to=en&amp;next=" in show("login", "zh-TW")


def test_the_menu_leads_to_the_dashboards_where_there_are_some() -> None:
    assert "/services/panels/compute" in show("home")
    assert "/services/panels/" not in show("home", services=[])


def test_pages_are_made_by_the_hubs_other_way_too() -> None:
    """Most pages are made asynchronously, errors are not."""
    asynchronous = jinja2.Environment(loader=environment().loader, autoescape=True, enable_async=True)
    assert show("home", "zh-TW", templates=asynchronous) == show("home", "zh-TW")


def test_a_sites_own_template_is_taken_before_ours(tmp_path: Path) -> None:
    (tmp_path / "logout.html").write_text('{% extends "page.html" %}{% block main %}<h1>Bye</h1>{% endblock %}')
    assert "<h1>Bye</h1>" in show("logout", templates=environment(tmp_path))
    c = Config()
    c.JupyterHub.template_paths = ["mine"]
    c.JupyterHub.template_vars = {"mine": 1}
    configure(c, data=tmp_path / "data")
    assert c.JupyterHub.template_paths == ["mine", str(hub_pages.TEMPLATES)]
    assert c.JupyterHub.template_vars.keys() >= {"mine", "say"}


def test_a_site_can_keep_jupyterhubs_pages(tmp_path: Path) -> None:
    c = Config()
    configure(c, data=tmp_path, pages=False)
    assert "template_paths" not in c.JupyterHub
    assert "template_vars" not in c.JupyterHub
