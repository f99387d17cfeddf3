"""*Usage*: what was used by whom, how well, what was held for nothing, and which leases cost the most."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import panel as pn
from bokeh.models.annotations import Legend, LegendItem
from pydantic import TypeAdapter, ValidationError

from nvlhub.text import say
from nvlhub.wire import Slug, gpu_hours
from nvlwidgets.panels.parts import SERIES, Html, Plot, empty_figure
from nvlwidgets.panels.source import Source
from nvlwidgets.panels.visit import Visit

DAY = 86_400
DAYS = (7, 30, 90)
SORTS = ("charged", "idle", "busy")
FRESH = 20.0
"""Seconds for which what was read is shown again without asking."""
STACKED = 7
"""Projects that have a colour of their own; the others share the last one."""
PER_PAGE = 20
MEMBERS = 200
"""Rows of the table by member at most."""
HATCHES = (" ", "/", ".", "\\", "x", "-", "|", "+")
SLUG = TypeAdapter(Slug)


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody wants to see."""

    days: int = 30
    project: str = ""
    sort: str = "charged"
    page: int = 1

    @property
    def narrowed(self) -> dict[str, str]:
        """The project, for a query; nothing means all."""
        return {"project": self.project} if self.project else {}

    def changed(self, asked: Mapping[str, Any]) -> Choice:
        """Return what is wanted after somebody chose something; what cannot be is left as it is."""
        value = str(asked.get("value", asked.get("page", "")))
        match asked.get("action"):
            case "days" if value in map(str, DAYS):
                return replace(self, days=int(value), page=1)
            case "project":
                return replace(self, project=value if _is_slug(value) else "", page=1)
            case "sort" if value in SORTS:
                return replace(self, sort=value, page=1)
            case "page" if value.isascii() and value.isdigit() and 1 <= int(value) <= 10**6:
                return replace(self, page=int(value))
            case _:
                return self


def _is_slug(text: str) -> bool:
    try:
        SLUG.validate_python(text)
    except ValidationError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Report:
    """What the portal says of a choice."""

    since: int
    until: int
    projects: tuple[tuple[str, str, int], ...]
    """Slug, name, GPU-seconds; the largest first."""
    days: tuple[str, ...]
    by_project: Mapping[str, Sequence[int]]
    """GPU-seconds by day; of the smaller ones together under an empty name."""
    efficiency: Mapping[str, Any]
    leases: Mapping[str, Any]
    members: Sequence[Mapping[str, Any]]


class Usage:
    """What was used, as one guest may see it."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._choice = Choice(project=visit.args["project"]) if _is_slug(visit.args.get("project", "")) else Choice()
        self._choice = self._choice.changed({"action": "days", "value": visit.args.get("days", "")})
        self._top, self._tables = Html(self._asked), Html(self._asked)
        self._plots = pn.Column(sizing_mode="stretch_width")
        self._drawn: Report | None = None
        self._put(None)
        visit.run(self._load())

    # --- asking ---------------------------------------------------------------------------------------------------

    def _source(self, choice: Choice) -> Source[Report]:
        return self._visit.own(("usage", choice), lambda: self._fetch(choice), FRESH)

    async def _load(self) -> None:
        choice = self._choice
        source = self._source(choice)
        if source.reading is None or source.reading.age > FRESH or source.error:
            await source.ask()
        if choice == self._choice:
            self._visit.soon(lambda: self._put(source))

    async def _fetch(self, choice: Choice) -> Report:
        api, guest = self._visit.api, self._visit.guest
        until = int((await api.get("/health"))["now"])
        # Whole days (UTC), today among them: the report counts by such days.
        since = until - until % DAY - (choice.days - 1) * DAY
        asked: dict[str, Any] = {"since": since, **choice.narrowed}
        leads = guest.decides or any(role in {"pi", "manager"} for _, _, role in guest.projects)
        total, efficiency, leases, members = await asyncio.gather(
            api.get("/usage", by="project", **asked),
            api.get("/efficiency", **asked),
            api.get("/usage/leases", sort=choice.sort, page=choice.page, per_page=PER_PAGE, **asked),
            api.get("/usage", by="user", **asked) if leads else _nothing(),
        )
        rows = [row for row in total["rows"] if row["gpu_seconds"]]
        large = rows[:STACKED]
        by_day = await asyncio.gather(
            *(api.get("/usage", by="day", **{**asked, "project": row["group"]}) for row in large)
        )
        return Report(
            since=since, until=until, projects=tuple((row["group"], row["name"], row["gpu_seconds"]) for row in rows),
            days=tuple(row["group"] for row in total["over_time"]),
            by_project=_by_project(total["over_time"], {row["group"]: of["rows"] for row, of in zip(large, by_day, strict=True)}),
            efficiency=efficiency, leases=leases, members=members["rows"][:MEMBERS],
        )  # fmt: skip

    def _asked(self, asked: Mapping[str, Any]) -> None:
        self._choice = self._choice.changed(asked)
        self._visit.run(self._load())

    # --- showing --------------------------------------------------------------------------------------------------

    def _put(self, source: Source[Report] | None) -> None:
        reading = source.reading if source else None
        report = reading.value if reading else None
        choice, guest = self._choice, self._visit.guest
        projects = {slug: name for slug, name, _ in guest.projects}
        if report:
            projects |= {slug: name for slug, name, _ in report.projects}
        if choice.project:
            projects.setdefault(choice.project, choice.project)
        told = {
            "choice": choice, "report": report, "projects": sorted(projects.items()), "days": DAYS, "sorts": SORTS,
            "known": report is not None, "error": source.error if source else "", "age": reading.age if reading else 0,
            "query": urlencode({"since": report.since, **choice.narrowed}) if report else "",
            "pages": -(-report.leases["total"] // PER_PAGE) if report else 0,
        }  # fmt: skip
        self._top.put(self._visit.markup("usage.html", **told))
        self._tables.put(self._visit.markup("usage_tables.html", **told))
        if report is not None and report is not self._drawn:
            self._drawn = report
            self._plots[:] = [self._by_day(report), self._histogram(report.efficiency)] if report.projects else []

    def _by_day(self, report: Report) -> Plot:
        lang = self._visit.lang
        names = {slug: name for slug, name, _ in report.projects} | {"": say("used-others", lang)}
        at = [datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) for day in report.days]
        figure = empty_figure(lang, x_axis_type="datetime", height=260)
        below, items = [0.0] * len(at), []
        for place, (slug, seconds) in enumerate(report.by_project.items()):
            top = [base + value / 3600 for base, value in zip(below, seconds, strict=True)]
            bars = figure.vbar(
                x=at, bottom=below, top=top, width=0.8 * DAY * 1000, fill_color=SERIES[place], line_color="#fff",
                hatch_pattern=HATCHES[place], hatch_color="#fff",
            )  # fmt: skip
            items.append(LegendItem(label=names[slug], renderers=[bars]))
            below = top
        figure.add_layout(Legend(items=items, orientation="vertical", border_line_color=None), "below")
        figure.yaxis.axis_label = say("used-hours", lang)
        figure.y_range.start = 0
        plot = Plot(lang, say("used-by-day", lang), figure)
        total = sum(map(sum, report.by_project.values()))
        largest = names[next(iter(report.by_project))]
        sentence = say("used-by-day-words", lang, hours=gpu_hours(total * 1000), days=str(len(at)), largest=largest)
        rows = [
            (day, *(gpu_hours(seconds[place] * 1000) for seconds in report.by_project.values()))
            for place, day in enumerate(report.days)
        ]
        plot.tell(sentence, [say("used-day", lang), *(names[slug] for slug in report.by_project)], rows[::-1])
        return plot

    def _histogram(self, found: Mapping[str, Any]) -> Plot:
        lang = self._visit.lang
        bins = found["bins"]
        figure = empty_figure(lang, x_range=(0, 100))
        figure.vbar(
            x=[(one["least"] + one["most"]) / 2 for one in bins], top=[one["gpu_seconds"] / 3600 for one in bins],
            width=9, fill_color=SERIES[0], line_color=SERIES[0],
        )  # fmt: skip
        kind = "process" if found["simulated"] else "gpu"
        figure.xaxis.axis_label = say(f"used-percent-{kind}", lang)
        figure.yaxis.axis_label = say("used-hours", lang)
        figure.y_range.start = 0
        plot = Plot(lang, say(f"used-efficiency-{kind}", lang), figure)
        mean = "–" if found["efficiency"] is None else f"{100 * found['efficiency']:.0f} %"
        unmeasured = gpu_hours(found["unmeasured"] * 1000)
        head = [say(f"used-{name}", lang) for name in ("percent", "leases", "hours")]
        rows = [
            (f"{one['least']}–{one['most']} %", one["leases"], gpu_hours(one["gpu_seconds"] * 1000)) for one in bins
        ]
        plot.tell(say(f"used-efficiency-{kind}-words", lang, mean=mean, unmeasured=unmeasured), head, rows)
        return plot

    @property
    def view(self) -> Any:
        """What is shown."""
        return pn.Column(self._top, self._plots, self._tables, sizing_mode="stretch_width")


async def _nothing() -> dict[str, Any]:
    return {"rows": []}


def _by_project(
    total: Sequence[Mapping[str, Any]], large: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, list[int]]:  # fmt: skip
    """Return GPU-seconds by project and day; what is left of the total belongs to the others."""
    found = {slug: [int(row["gpu_seconds"]) for row in rows] for slug, rows in large.items()}
    others = [
        max(0, int(row["gpu_seconds"]) - sum(seconds[place] for seconds in found.values()))
        for place, row in enumerate(total)
    ]
    # Two reports are not of the same second: a few seconds of what runs are no other project.
    return {**found, "": others} if sum(others) > len(found) * 3600 else found


def screen(visit: Visit) -> Any:
    """Return the screen of a visit."""
    return Usage(visit).view
