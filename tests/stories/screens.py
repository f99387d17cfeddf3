"""Every page that people see, and what must be true of each of them in every language and width."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from fluent.syntax import FluentParser
from fluent.syntax.ast import Message, Pattern, TextElement
from PIL import Image
from playwright.sync_api import ConsoleMessage, Page, Request

from nvlhub.text import language, say
from nvlwidgets.panels.screens import SCREENS
from nvlwidgets.panels.screens import anybody as for_everybody

LOCALES = ("en-US", "zh-TW")
WIDTHS = (375, 768, 1280)
HEIGHT = 900
TALLEST = 2400
"""Pixels of a picture's height, at most."""
DOCUMENTS = Path(__file__).parents[2] / "docs" / "screens"
BASELINE = Path(__file__).with_name("axe_baseline.json")
HUB_SPEAKS = find_spec("nvlhub.portal.hub_pages") is not None
"""Whether JupyterHub's own pages are in the reader's language, too."""

WORDS = """() => {
  const found = [];
  const walk = (node) => {
    for (const child of node.childNodes) {
      if (child.nodeType === Node.TEXT_NODE && child.data.trim()) found.push(child.data.trim().replace(/\\s+/g, " "));
      if (child.nodeType !== Node.ELEMENT_NODE || /^(SCRIPT|STYLE|TEMPLATE|NOSCRIPT|CODE|PRE)$/.test(child.nodeName)) continue;
      if (child.lang && child.lang !== document.documentElement.lang) continue;
      for (const name of ["aria-label", "title", "placeholder", "alt", "data-confirm"]) {
        if (child.getAttribute(name)) found.push(child.getAttribute(name).trim());
      }
      if (child.shadowRoot) walk(child.shadowRoot);
      walk(child);
    }
  };
  walk(document.body);
  return found;
}"""
READY = """(waiting) => {
  const bokeh = window.Bokeh;
  if (!document.getElementById("silent")) return document.readyState === "complete";
  if (!bokeh || !bokeh.documents.length || !bokeh.documents.every((one) => one.is_idle)) return false;
  const shadows = (node) => Array.from(node.querySelectorAll("*")).filter((one) => one.shadowRoot)
    .flatMap((one) => [one.shadowRoot, ...shadows(one.shadowRoot)]);
  const views = shadows(document).flatMap((root) => Array.from(root.querySelectorAll(".nvl")));
  return views.length > 0 && !views.some((view) => view.textContent.includes(waiting));
}"""
HEADINGS = """() => {
  const all = (node) => Array.from(node.querySelectorAll("*")).flatMap((one) => one.shadowRoot ? [one, ...all(one.shadowRoot)] : [one]);
  return all(document).filter((one) => one.nodeName === "H1").map((one) => one.textContent.trim());
}"""


@dataclass(frozen=True)
class Look:
    """One page, and who looks at it."""

    name: str
    path: str
    user: str = ""
    status: int = 200
    speaks: bool = True
    """Whether it is in the reader's language."""


def looks(lease: str) -> list[Look]:
    """Return all pages; `lease` is one to be looked at in detail."""
    query = {"lease": f"?id={lease}"}
    screens = [
        Look(
            screen.slug,
            f"/services/panels/{screen.slug}{query.get(screen.slug, '')}",
            "researcher" if screen.need is for_everybody else "admin",
        )
        for screen in SCREENS
    ]
    return [
        *screens,
        Look("panels-refused", "/services/panels/health", "researcher", 403),
        Look("panels-missing", "/services/panels/nothing", "researcher", 404),
        Look("portal", "/services/portal/", "researcher"),
        Look("more", "/services/portal/more", "researcher"),
        Look("login", "/hub/login", speaks=HUB_SPEAKS),
        Look("home", "/hub/home", "researcher", speaks=HUB_SPEAKS),
        Look("spawn", "/hub/spawn", "instructor", speaks=HUB_SPEAKS),
        Look("token", "/hub/token", "researcher", speaks=HUB_SPEAKS),
        Look("hub-missing", "/hub/nothing", "researcher", 404, speaks=HUB_SPEAKS),
    ]


NAMES = [look.name for look in looks("")]


@dataclass
class Watched:
    """What a page complains of and asks for while it is looked at."""

    page: Page
    host: str
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _request(self, request: Request) -> None:
        there = urlsplit(request.url)
        if there.scheme not in {"data", "blob"} and there.netloc != self.host:
            self.strangers.append(request.url)

    def troubles(self, look: Look) -> list[str]:
        """Return what it complained of, but the browser's own line on an expected refusal."""
        own = f"status of {look.status}"
        return [error for error in self.errors if look.status == 200 or own not in error or look.path not in error]


@cache
def sentences(lang: str) -> dict[str, str]:
    """Return the catalogue of a language: all sentences that are the same for everybody, by id."""
    found = {}
    for entry in (files("nvlhub") / "locales" / lang).iterdir():
        if entry.name.endswith(".ftl"):
            found |= dict(_plain(entry.read_text(encoding="utf-8")))
    return found


def _plain(text: str) -> Iterator[tuple[str, str]]:
    for entry in FluentParser().parse(text).body:
        if isinstance(entry, Message) and isinstance(entry.value, Pattern):
            parts = entry.value.elements
            yield (
                entry.id.name,
                (
                    "".join(cast("str", part.value) for part in parts)
                    if all(isinstance(part, TextElement) for part in parts)
                    else ""
                ),
            )


def raw_ids(words: list[str]) -> set[str]:
    """Return the ids of sentences that a page shows instead of the sentences."""
    shown = {word for text in words for word in re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)+", text)}
    return shown & {name for name in sentences("en") if "-" in name}


def untranslated(words: list[str], lang: str) -> set[str]:
    """Return English words of ours on a page in another language."""
    english = {
        text: len(text) > 25 for name, text in sentences("en").items() if text and sentences(lang).get(name) != text
    }
    others = set(sentences(lang).values())
    whole = {text for text in words if text in english and text not in others}
    return whole | {text for text, long in english.items() if long and any(text in shown for shown in words)}


def violations(page: Page) -> list[str]:
    """Return what axe finds serious or critical and the baseline does not name."""
    known = json.loads(BASELINE.read_text(encoding="utf-8"))
    found = []
    # Without its own loading of style sheets, which asks for addresses that no page has.
    told = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response
    for violation in told["violations"]:
        if violation["impact"] not in {"serious", "critical"}:
            continue
        for node in violation["nodes"]:
            target = " ".join(part if isinstance(part, str) else " ".join(part) for part in node["target"])
            if not any(violation["id"] == one["rule"] and target.startswith(one["target"]) for one in known):
                found.append(f"{violation['id']} at {target}: {node['html'][:200]}")
    return found


def come_up(page: Page, look: Look, url: str, locale: str) -> int:
    """Load a page and wait until it shows what it has; return its status."""
    answer = page.goto(url + look.path, wait_until="load")
    assert answer is not None
    page.wait_for_function(READY, arg=say("frame-loading", language(locale)), timeout=60_000)
    return answer.status


def wrong_with(watched: Watched, look: Look, locale: str) -> list[str]:
    """Return what is wrong with a page that has come up, whatever its width."""
    page, lang = watched.page, language(locale)
    words: list[str] = page.evaluate(WORDS)
    wrong = [f"console: {error}" for error in watched.troubles(look)]
    wrong += [f"asks another host: {url}" for url in watched.strangers]
    wrong += [f"raw id: {name}" for name in raw_ids(words)]
    headings: list[str] = page.evaluate(HEADINGS)
    if look.speaks:
        if len(headings) != 1:
            wrong.append(f"h1: {headings}")
        if (told := page.evaluate("document.documentElement.lang")) != lang:
            wrong.append(f"lang: {told}")
        if lang != "en":
            wrong += [f"English: {text}" for text in untranslated(words, lang)]
    return wrong


def too_wide(page: Page) -> list[str]:
    """Return by how much a page must be scrolled sideways."""
    wide: dict[str, int] = page.evaluate("({page: document.documentElement.scrollWidth, window: window.innerWidth})")
    return [f"{wide['page']} px on {wide['window']}"] if wide["page"] > wide["window"] else []


def picture(page: Page, target: Path) -> None:
    """Take a picture with few colours: small enough for a repository."""
    page.screenshot(path=target, full_page=True, animations="disabled")
    with Image.open(target) as taken:
        cut = taken.convert("RGB").crop((0, 0, taken.width, min(taken.height, TALLEST)))
    cut.quantize(64, dither=Image.Dither.NONE).save(target, optimize=True)


def wants_pictures() -> bool:
    """Whether the pictures of the documents are taken anew."""
    return os.environ.get("NVLHUB_SCREENS") == "1"
