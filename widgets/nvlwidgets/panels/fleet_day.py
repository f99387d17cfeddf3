"""GPUs held and GPUs computing over the last 24 hours, of everybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import panel as pn
from bokeh.models import ColumnDataSource

from nvlhub.dates import zone_of
from nvlhub.text import say
from nvlkernels.client import PortalError
from nvlwidgets.markup import clock
from nvlwidgets.panels.parts import DASHES, SERIES, Plot, empty_figure
from nvlwidgets.panels.source import Reading
from nvlwidgets.panels.visit import Visit

EVERY = 60.0
HOURS = 24


class Day:
    """Nothing at all where the portal counts no activity; otherwise a plot, made when the first figures come."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._data = ColumnDataSource({"at": [], "held": [], "busy": []})
        self._plot: Plot | None = None
        self.view = pn.Column(sizing_mode="stretch_width")
        visit.follow(visit.own("activity", self._fetch, EVERY), self._show)

    async def _fetch(self) -> Mapping[str, Any]:
        try:
            told: Mapping[str, Any] = await self._visit.api.get("/activity", hours=HOURS, everything="true")
        except PortalError as error:
            if error.problem.status != 404:
                raise
            return {}
        return told

    def _show(self, reading: Reading[Mapping[str, Any]] | None, _error: str) -> None:
        told = reading.value if reading else {}
        rows = levels(told.get("items", ()), told.get("now", 0))
        if not rows:
            return
        plot = self._plot or Plot(self._visit.lang, say("fleet-activity-title", self._visit.lang), self._figure())
        self._data.data = {
            "at": [_shown(at, self._visit.zone) for at, _, _ in rows],
            "held": [held for _, held, _ in rows],
            "busy": [busy for _, _, busy in rows],
        }
        self._tell(plot, rows)
        if self._plot is None:
            # With what it shows in it: a browser that gets it later knows nothing that could be changed.
            self._plot = plot
            self.view.append(plot)

    def _figure(self) -> Any:
        plot = empty_figure(self._visit.lang, x_axis_type="datetime")
        plot.y_range.start = 0
        for place, name in enumerate(("held", "busy")):
            plot.step(
                "at", name, source=self._data, mode="after", line_color=SERIES[place], line_dash=DASHES[place], line_width=2,
                legend_label=say(f"fleet-activity-{name}", self._visit.lang),
            )  # fmt: skip
        plot.legend.location = "top_left"
        return plot

    def _tell(self, plot: Plot, rows: Sequence[tuple[int, float, float]]) -> None:
        def word(name: str, **members: object) -> str:
            return say(f"fleet-activity-{name}", self._visit.lang, **members)

        held, busy = (round(sum(row[place] for row in rows) / len(rows)) for place in (1, 2))
        told = [(clock(at, self._visit.zone), round(held), round(busy)) for at, held, busy in reversed(rows)]
        plot.tell(word("text", held=held, busy=busy), (word("time"), word("held"), word("busy")), told)


def levels(items: Sequence[Mapping[str, int]], now: int) -> list[tuple[int, float, float]]:
    """Return since when how many GPUs were held and computing, on average; `items`: GPU-seconds of equal spans."""
    step = items[1]["at"] - items[0]["at"] if len(items) > 1 else 900
    found = []
    for item in items:
        # The newest span has only begun.
        seconds = min(step, now - item["at"])
        if seconds > 0:
            found.append((item["at"], item["held"] / seconds, item["busy"] / seconds))
    return found


def _shown(at: int, zone: str) -> datetime:
    """Return a moment as Bokeh, which knows no zones, shows it in the site's."""
    local = datetime.fromtimestamp(at, UTC).astimezone(zone_of(zone))
    return local.replace(tzinfo=None)
