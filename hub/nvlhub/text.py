"""Sentences for people, by message id and language.

The catalogues are Fluent files, ``locales/<language>/*.ftl``: one message id per sentence, the same ids in every
language. A sentence says what happened, why, and what to do next.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fluent.runtime import FluentBundle, FluentResource

LANGUAGES = ("en", "zh-TW")
CHOSEN = "nvlhub-language"
"""Cookie with the language that somebody chose."""


@cache
def _bundle(language: str) -> FluentBundle:
    # No isolation marks: the text also goes to terminals and into plain-text dialogs.
    bundle = FluentBundle([language], use_isolating=False)
    for entry in sorted((files("nvlhub") / "locales" / language).iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".ftl"):
            bundle.add_resource(FluentResource(entry.read_text(encoding="utf-8")))
    return bundle


def language(accept: str | None) -> str:
    """Choose one of :data:`LANGUAGES` for an ``Accept-Language`` header or a locale name such as ``zh_TW.UTF-8``."""
    for part in (accept or "").split(","):
        tag = part.split(";")[0].split(".")[0].strip().replace("_", "-").lower()
        if tag.startswith("zh"):
            return "zh-TW"
        if tag.startswith("en"):
            return "en"
    return "en"


def has(message: str) -> bool:
    """Tell whether there is a sentence of this id."""
    return _bundle(LANGUAGES[0]).has_message(message)


def say(message: str, lang: str = "en", **members: object) -> str:
    """Return the sentence `message` in `lang`, filled with `members`.

    Raises `KeyError` for an id that the catalogue lacks: a programming error, caught by tests.
    """
    return _filled(message, lang, members) if members else _fixed(message, lang)


@cache
def _fixed(message: str, lang: str) -> str:
    return _filled(message, lang, {})


def _filled(message: str, lang: str, members: dict[str, object]) -> str:
    bundle = _bundle(lang)
    entry = bundle.get_message(message)
    if entry.value is None:
        raise KeyError(message)
    sentence, errors = bundle.format_pattern(entry.value, members)
    if errors:
        raise errors[0]
    return str(sentence)


def chosen_language(chosen: str | None, accept: str | None) -> str:
    """Return the language that somebody chose on a page (the cookie :data:`CHOSEN`), else that of the browser."""
    return chosen if chosen in LANGUAGES else language(accept)
