"""Every sentence in every language, and every error with a sentence."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from nvlhub.text import LANGUAGES, language, say

ROOT = Path(__file__).parents[1]
LOCALES = ROOT / "hub" / "nvlhub" / "locales"


def messages(lang: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for file in sorted((LOCALES / lang).glob("*.ftl")):
        current = ""
        for line in file.read_text(encoding="utf-8").splitlines():
            if match := re.match(r"([a-z][a-z0-9-]*) =", line):
                current = match[1]
                assert current not in found, f"{current} stands twice"
                found[current] = set()
            if current:
                found[current] |= set(re.findall(r"\$([a-z_]+)", line))
    return found


def test_languages_have_the_same_sentences_with_the_same_members() -> None:
    english, chinese = messages("en"), messages("zh-TW")
    assert english == chinese


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_sentence_can_be_said(lang: str) -> None:
    for message, members in messages(lang).items():
        assert say(message, lang, **dict.fromkeys(members, "x"))


def test_every_slug_that_the_code_raises_has_a_sentence() -> None:
    known = messages("en")
    for file in (ROOT / "hub" / "nvlhub").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error") and node.args:
                slug = getattr(node.args[0], "value", None)
                if isinstance(slug, str) and re.fullmatch(r"[a-z]+(-[a-z]+)+", slug):
                    assert slug in known, f"{file.name}: {slug}"


@pytest.mark.parametrize(
    ("accept", "lang"),
    [
        ("zh-TW,zh;q=0.9", "zh-TW"),
        ("zh_TW.UTF-8", "zh-TW"),
        ("de, en;q=0.5", "en"),
        ("fr", "en"),
        (None, "en"),
        ("C.UTF-8", "en"),
    ],
)
def test_the_reader_chooses_the_language(accept: str | None, lang: str) -> None:
    assert language(accept) == lang


@pytest.mark.parametrize(
    ("message", "told", "words"),
    [
        (
            "fleet-racks-text",
            {"whole": 1, "most": 1, "fewer": 0},
            "1 rack has all its trays in service, 1 has at least",
        ),
        ("fleet-racks-text", {"whole": 2, "most": 0, "fewer": 1}, "2 racks have all their trays in service, 0 have at"),
        ("compute-have-waiting", {"waiting": 1}, "1 of them waits for room."),
        ("health-active-waiting", {"waiting": 2}, "2 of them wait for room"),
        ("waiting-outside", {"count": 1}, "One job outside the portal waits in the cluster's queue, too"),
    ],
)
def test_one_is_not_many(message: str, told: dict[str, int], words: str) -> None:
    assert say(message, "en", **told).startswith(words)
