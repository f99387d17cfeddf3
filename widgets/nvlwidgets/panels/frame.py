"""The page around a screen: name, navigation, language, who is logged in, and what to do when nothing comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import panel as pn
from markupsafe import Markup

from nvlhub.text import LANGUAGES, say
from nvlwidgets.markup import asset
from nvlwidgets.panels.parts import Html
from nvlwidgets.panels.source import Reading
from nvlwidgets.panels.visit import Visit

if TYPE_CHECKING:
    from nvlwidgets.panels.screens import Screen

_PAGE = """
{% extends base %}
{% block postamble %}<meta name="viewport" content="width=device-width, initial-scale=1">{{ top }}{% endblock %}
{% block contents %}{{ head }}<main id="main" tabindex="-1">{{ embed(roots.away) }}{{ embed(roots.main) }}</main>{{ foot }}{{ embed(roots.location) }}{% endblock %}
"""


def frame(visit: Visit, screen: Screen, screens: Sequence[Screen]) -> Any:
    """Return the page of a visit."""
    title = say(screen.title, visit.lang)
    # The location loads a page again whose login is over.
    page = pn.Template(_PAGE, location=True)
    shown = [
        (other.slug, say(other.title, visit.lang)) for other in screens if other.listed and other.need(visit.guest)
    ]
    known = {
        "top": visit.markup("frame_top.html", style=Markup(asset("page.css")), script=Markup(asset("page.js"))),  # noqa: S704  # ours
        "head": visit.markup("frame_head.html", shown=shown, here=screen.slug, title=title, languages=LANGUAGES),
        "foot": visit.markup("frame_foot.html"),
    }
    for name, value in known.items():
        page.add_variable(name, Markup(value))  # noqa: S704  # rendered and escaped by the template
    page.add_variable("title", f"{title} · nvlhub")
    page.add_panel("main", screen.make(visit))
    page.add_panel("away", _away(visit))
    visit.doc.title = f"{title} · nvlhub"
    return page


def _away(visit: Visit) -> Html:
    """Return what says, on every screen, that the engine does not answer."""
    html = Html()

    def told(reading: Reading[Mapping[str, Any]] | None, _error: str) -> None:
        away = reading is not None and bool(reading.value.get("engine_away"))
        html.put(visit.markup("frame_away.html", away=away))

    visit.follow(visit.site(), told)
    return html
