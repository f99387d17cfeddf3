"""*Lease*: what its GPUs do, what happened to it, what it costs, and where it sits."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import panel as pn
from bokeh.models import ColumnDataSource

from nvlhub.dates import zone_of
from nvlhub.text import say
from nvlwidgets.markup import clock
from nvlwidgets.panels.parts import SERIES, Html, Plot, empty_figure
from nvlwidgets.panels.source import Reading
from nvlwidgets.panels.visit import Visit

EVERY = 5.0
"""Seconds between two looks at a lease."""
LEASE = re.compile(r"[0-9A-Za-z-]{1,64}")
ROWS = 48
"""Rows of a plot's table at most."""
GB = 10**9
TRAYS, GPUS = 18, 4
LONGEST = 30 * 24 * 60
"""Minutes that can be asked for at once."""


class Lease:
    """One lease, live."""

    def __init__(self, visit: Visit, lease: str) -> None:
        self._visit = visit
        self._lease = lease
        self._html = Html(self._asked)
        self._said: tuple[str, str] = ("", "")
        self._plots: tuple[_Line, ...] = ()
        self._below = pn.Column(sizing_mode="stretch_width")
        self._use = visit.own(("lease", lease), lambda: visit.api.get(f"/leases/{lease}/usage"), EVERY)
        visit.follow(self._use, self._show)

    def _show(self, reading: Reading[dict[str, Any]] | None, error: str) -> None:
        use = reading.value if reading else None
        lease = use["lease"] if use else {}
        guest = self._visit.guest
        mine = bool(use) and (guest.admin or lease["user"] == guest.name)
        self._html.put(
            self._visit.markup(
                "lease.html", use=use, lease=lease, domains=domains(lease.get("placement", ())), mine=mine, said=self._said,
                known=reading is not None, error=error, age=reading.age if reading else 0, trays=TRAYS, gpus=GPUS,
            )
        )  # fmt: skip
        if use and use["points"]:
            self._draw(use)

    def _draw(self, use: Mapping[str, Any]) -> None:
        new = not self._plots
        if new:
            kind = "gpu" if use["real"] else "process"
            self._plots = (
                _Line(self._visit, f"busy-{kind}", (0, 100), SERIES[0]), _Line(self._visit, f"memory-{kind}", None, SERIES[5])
            )  # fmt: skip
        points = use["points"]
        total = use["memory_total"] / GB
        self._plots[0].put(points, [point["busy"] for point in points], share=use["efficiency"])
        self._plots[1].put(points, [point["memory"] / GB for point in points], total=total)
        if new:
            # With what they show in them: a browser that gets them later knows nothing that could be changed.
            self._below[:] = [line.plot for line in self._plots]

    # --- what is asked for ----------------------------------------------------------------------------------------

    def _asked(self, asked: Mapping[str, Any]) -> None:
        match asked.get("action"):
            case "end":
                self._visit.run(self._act("DELETE", "", "story-ended"))
            case "extend":
                minutes = str(asked.get("minutes", ""))
                if minutes.isascii() and minutes.isdigit() and 1 <= int(minutes) <= LONGEST:
                    self._visit.run(self._act("POST", "/extend", "story-extended", json={"seconds": int(minutes) * 60}))
                else:
                    self._say("error", say("story-minutes", self._visit.lang, most=str(LONGEST)))
            case _:
                pass

    async def _act(self, method: str, path: str, done: str, **more: Any) -> None:
        _, refused = await self._visit.act(method, f"/leases/{self._lease}{path}", **more)
        self._say(*(("error", refused) if refused else ("done", say(done, self._visit.lang))))
        self._use.refresh()

    def _say(self, kind: str, text: str) -> None:
        self._said = (kind, text)
        self._visit.soon(lambda: self._show(self._use.reading, self._use.error))

    @property
    def view(self) -> Any:
        """What is shown."""
        return pn.Column(self._html, self._below, sizing_mode="stretch_width")


class _Line:
    """What was measured over time, as a line."""

    def __init__(self, visit: Visit, name: str, reach: tuple[float, float] | None, colour: str) -> None:
        self._visit = visit
        self._name = name
        self._data = ColumnDataSource({"at": [], "value": []})
        more: dict[str, Any] = {"y_range": reach} if reach else {}
        figure = empty_figure(visit.lang, x_axis_type="datetime", **more)
        figure.line("at", "value", source=self._data, line_width=2, line_color=colour)
        figure.yaxis.axis_label = say(f"story-{name}-unit", visit.lang)
        figure.y_range.start = 0
        self.plot = Plot(visit.lang, say(f"story-{name}", visit.lang), figure)

    def put(self, points: Sequence[Mapping[str, Any]], values: Sequence[float], **facts: float | None) -> None:
        """Show these values at these points."""
        lang, zone = self._visit.lang, self._visit.zone
        at: list[float] = []
        shown: list[float] = []
        until = None
        for point, value in zip(points, values, strict=True):
            if until is not None and point["at"] > until + point["seconds"]:
                # Nothing was measured in between: no line.
                at.append(_local(until, zone))
                shown.append(math.nan)
            at.append(_local(point["at"], zone))
            shown.append(value)
            until = point["at"] + point["seconds"]
        self._data.data = {"at": at, "value": shown}
        said = {
            name: "–" if value is None else f"{100 * value:.0f} %" if name == "share" else f"{value:.0f}"
            for name, value in facts.items()
        }
        sentence = say(f"story-{self._name}-words", lang, now=f"{values[-1]:.3g}", most=f"{max(values):.3g}", **said)
        step = -(-len(points) // ROWS)
        rows = [
            (clock(point["at"], zone), f"{value:.3g}")
            for point, value in list(zip(points, values, strict=True))[::-step]
        ]
        self.plot.tell(sentence, [say("col-time", lang), say(f"story-{self._name}-unit", lang)], rows)


def _local(at: float, zone: str) -> float:
    """Return milliseconds at which Bokeh, which knows no zones, shows a time as it is in the zone of the site."""
    offset = datetime.fromtimestamp(at, UTC).astimezone(zone_of(zone)).utcoffset()
    return (at + (offset.total_seconds() if offset else 0)) * 1000


def domains(placement: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, list[int]]]:
    """Return the GPUs of a placement by domain and tray."""
    found: dict[str, dict[int, list[int]]] = {}
    for share in placement:
        found.setdefault(share["domain"], {}).setdefault(share["tray"], []).extend(share["gpus"])
    return found


def screen(visit: Visit) -> Any:
    """Return the screen of a visit."""
    lease = visit.args.get("id", "")
    if LEASE.fullmatch(lease):
        return Lease(visit, lease).view
    html = Html()
    html.put(visit.markup("lease_none.html", error=""))
    return html
