"""HTML of the widgets and dashboards: Jinja templates with words, amounts and times in the reader's language.

Every value is escaped; what is shown is the same in a notebook and in a dashboard.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2

from nvlhub.dates import LAST, shown
from nvlhub.text import say
from nvlhub.waits import waits_for
from nvlhub.wire import LeaseView, gpu_hours


@cache
def _templates() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("nvlwidgets", "templates"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return found


@cache
def asset(name: str) -> str:
    """Return the text of a file in ``esm/``."""
    return (files("nvlwidgets") / "esm" / name).read_text(encoding="utf-8")


def clock(at: float | None, zone: str = "UTC") -> str:
    """Return a moment as people write it, in the zone of the site; nothing for None."""
    return "" if at is None else shown(int(min(at, LAST)), zone)


def span(seconds: float, lang: str) -> str:
    """Return a duration with its two largest units, e.g. ``"2 h 5 min"``."""
    left = max(0, int(seconds))
    units = say("units", lang).split(" ")
    parts = [(left // 86400, units[0]), (left // 3600 % 24, units[1]), (left // 60 % 60, units[2])]
    largest = [f"{number} {unit}" for number, unit in parts if number][:2]
    return " ".join(largest) or f"{left} {units[3]}"


def markup(name: str, lang: str, *, zone: str = "UTC", **values: Any) -> str:
    """Return the template `name` filled with `values`.

    Templates may use ``_(message, **members)``, ``hours(amount)``, ``span(seconds)``, ``clock(at)``, ``waits_for(lease)``, ``units`` and ``site_zone``.
    """

    def word(message: str, **members: object) -> str:
        return say(message, lang, **members)

    def why(lease: LeaseView | Mapping[str, Any]) -> str:
        told = lease if isinstance(lease, LeaseView) else LeaseView.model_construct(**lease)
        return waits_for(told, lang, zone)

    return _templates().get_template(name).render(
        _=word, lang=lang, hours=gpu_hours, span=lambda seconds: span(seconds, lang), clock=lambda at: clock(at, zone),
        waits_for=why, units=say("units", lang), site_zone=zone, **values,
    )  # fmt: skip
