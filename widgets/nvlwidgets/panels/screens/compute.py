"""*My compute*: can I start now, what do I have, what am I wasting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import panel as pn

from nvlwidgets.panels.parts import Html
from nvlwidgets.panels.source import Reading
from nvlwidgets.panels.visit import Visit

EVERY = 3.0
"""Seconds between two looks at one's own leases."""


class Compute:
    """One guest's leases, live."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._html = Html(self._asked)
        self._said = ""
        self._leases = visit.own("leases", self._fetch, EVERY)
        visit.follow(self._leases, self._show)

    async def _fetch(self) -> list[dict[str, Any]]:
        return await self._visit.api.items("/leases", user=self._visit.guest.name, per_page=200)

    def _show(self, reading: Reading[list[dict[str, Any]]] | None, error: str) -> None:
        leases = reading.value if reading else []
        age = reading.age if reading else 0
        self._html.put(
            self._visit.markup(
                "compute.html", leases=leases, known=reading is not None, said=self._said, error=error, age=age
            )
        )

    def _asked(self, asked: Mapping[str, Any]) -> None:
        if asked.get("action") == "end":
            self._visit.run(self._end(str(asked.get("lease", ""))))

    async def _end(self, lease: str) -> None:
        _, self._said = await self._visit.act("DELETE", f"/leases/{lease}")
        self._leases.refresh()

    @property
    def view(self) -> Any:
        """What is shown."""
        return pn.Column(self._html, sizing_mode="stretch_width")


def screen(visit: Visit) -> Any:
    """Return the screen of a visit."""
    return Compute(visit).view
