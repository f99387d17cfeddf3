"""Markup of the portal's pages and of what it puts into JupyterHub's: words, amounts and times in the reader's language.

Used in the hub's process, too: nothing here needs a web framework.
"""

from __future__ import annotations

from typing import Any

from nvlhub.dates import shown
from nvlhub.explain import duration
from nvlhub.page import templates
from nvlhub.text import say
from nvlhub.waits import waits_for
from nvlhub.wire import gpu_hours

_TEMPLATES = templates("nvlhub.portal")


def clock(at: int | None, zone: str = "UTC") -> str:
    """Return a moment in the zone of the site; nothing for None."""
    return "" if at is None else shown(at, zone, "%Y-%m-%d %H:%M:%S")


def plain(name: str) -> str:
    """Return a template as it stands: one that holds no words and nothing to fill in."""
    return _TEMPLATES.get_template(name).render()


def render(name: str, lang: str, zone: str = "UTC", **values: Any) -> str:
    """Return a template filled in, in the reader's language and the site's zone."""

    def word(message: str, **members: object) -> str:
        return say(message, lang, **members)

    return _TEMPLATES.get_template(name).render(
        _=word, lang=lang, hours=gpu_hours, span=lambda seconds: duration(seconds, lang),
        clock=lambda at: clock(at, zone), waits_for=lambda lease: waits_for(lease, lang, zone), site_zone=zone, **values,
    )  # fmt: skip
