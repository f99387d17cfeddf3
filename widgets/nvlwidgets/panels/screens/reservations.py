"""*Reservations*: what is kept for whom and when, against what there is; made, moved and cancelled."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import panel as pn
from bokeh.models import ColumnDataSource, DatetimeTickFormatter, Range1d

from nvlhub.dates import UnclearTimeError, moment, zone_of
from nvlhub.places import where
from nvlhub.text import say
from nvlwidgets.markup import clock
from nvlwidgets.panels.parts import SERIES, Html, Plot, empty_figure
from nvlwidgets.panels.source import Reading
from nvlwidgets.panels.visit import Visit

EVERY = 10.0
"""Seconds between two looks at the reservations."""
DAY = 24 * 3600
SPANS = (14, 28)
"""Days that can be shown."""
TIMES = ("starts", "ends")
FIELDS = ("name", "project", "gpus", *TIMES, "note", *(f"{name}_second" for name in TIMES))


@dataclass(frozen=True)
class Shown:
    """What the portal says."""

    now: int
    capacity: int
    """GPUs in service."""
    rows: list[dict[str, Any]]
    total: int
    projects: list[dict[str, Any]]


@dataclass
class Form:
    """What somebody has filled in, and the times in it that clocks show twice."""

    values: dict[str, str]
    twice: dict[str, dict[str, str]] = field(default_factory=dict)

    def take(self, told: Mapping[str, Any]) -> None:
        """Take what was typed; whoever can send it has chosen it."""
        self.values |= {name: str(told[name])[:500] for name in FIELDS if name in told}

    def times(self, zone: str, lang: str) -> tuple[dict[str, int], str]:
        """Return the times that were filled in, and why one of them cannot be meant."""
        found: dict[str, int] = {}
        self.twice = {}
        for name in TIMES:
            value, chosen = self.values.get(name, ""), self.values.get(f"{name}_second", "")
            if not value:
                continue
            try:
                found[name] = moment(value, zone_of(zone))
            except UnclearTimeError as error:
                if error.slug != "time-twice":
                    return {}, say(error.slug, lang, **error.members)
                self.twice[name] = {**error.members, "chosen": chosen}
                found[name] = moment(value, zone_of(zone), second=chosen == "1")
        return found, ""

    @property
    def unclear(self) -> bool:
        """Whether it was not said yet which of two moments is meant."""
        return any(not told["chosen"] for told in self.twice.values())


class Reservations:
    """One administrator's view of the reservations, live."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._days = SPANS[0]
        self._form = Form(dict.fromkeys(FIELDS, ""))
        self._tried: dict[str, Any] | None = None
        self._refused = ""
        self._said = ""
        self._notice: tuple[str, str] | None = None
        self._moves: dict[str, Form] = {}
        self._asked_for = 0
        self._key = secrets.token_hex(16)
        self._reading: Reading[Shown] | None = None
        self._error = ""
        self._head, self._new, self._list = Html(self._asked), Html(self._asked), Html(self._asked)
        self._chart = Timeline(visit)
        self._source = visit.own("reservations", self._fetch, EVERY)
        visit.follow(self._source, self._show)

    async def _fetch(self) -> Shown:
        api = self._visit.api
        health, pools, page, projects = await asyncio.gather(
            api.get("/health"), api.items("/pools", per_page=200), api.get("/reservations", per_page=200),
            api.items("/projects", per_page=200),
        )  # fmt: skip
        return Shown(
            health["now"], sum(pool["in_service"] for pool in pools), page["items"], page["total"], projects
        )  # fmt: skip

    def _show(self, reading: Reading[Shown] | None, error: str) -> None:
        if reading is not None and not self._form.values["starts"]:
            hour = reading.value.now - reading.value.now % 3600 + 3600
            self._form.values |= {"starts": self._local(hour), "ends": self._local(hour + 8 * 3600)}
        self._reading, self._error = reading, error
        self._draw()

    def _local(self, at: int) -> str:
        """Return a time as an input of the browser wants it, in the zone of the site."""
        return f"{datetime.fromtimestamp(at, zone_of(self._visit.zone)):%Y-%m-%dT%H:%M}"

    def _draw(self) -> None:
        known = self._reading is not None
        shown = self._reading.value if self._reading else Shown(0, 0, [], 0, [])
        zone = clock(shown.now, self._visit.zone).rpartition(" ")[2]
        zone_name = self._visit.zone if zone == self._visit.zone else f"{self._visit.zone} ({zone})"
        self._head.put(
            self._visit.markup(
                "reservations_head.html", known=known, error=self._error, choices=SPANS, days=self._days,
                age=self._reading.age if self._reading else 0,
            )
        )  # fmt: skip
        self._chart.show(shown, self._days)
        self._new.put(
            self._visit.markup(
                "reservations_new.html", form=self._form.values, twice=self._form.twice, projects=shown.projects,
                tried=self._tried, refused=self._refused, said=self._said, zone_name=zone_name,
            )
        )  # fmt: skip
        rows = [self._row(row, shown.now) for row in shown.rows]
        self._list.put(
            self._visit.markup(
                "reservations_list.html", rows=rows, total=shown.total, known=known, notice=self._notice,
                zone_name=zone_name,
            )
        )  # fmt: skip

    def _row(self, row: dict[str, Any], now: int) -> dict[str, Any]:
        form = self._moves.get(row["id"])
        values = form.values if form else {name: self._local(row[name]) for name in TIMES}
        return row | {
            "where": where(row["trays"]), "active": row["starts"] <= now, "form": values,
            "twice": form.twice if form else {},
        }  # fmt: skip

    # --- what is asked for ------------------------------------------------------------------------------------

    def _asked(self, asked: Mapping[str, Any]) -> None:
        number = str(asked.get("id", ""))
        match asked.get("action"):
            case "span":
                self._days = next((days for days in SPANS if str(days) == asked.get("value")), SPANS[0])
                self._draw()
            case "try" | "add":
                self._form.take(asked)
                self._said = ""
                self._asked_for += 1
                self._visit.run(self._send(self._asked_for, dry_run=asked["action"] == "try"))
            case "move" if number.isdecimal():
                self._visit.run(self._move(number, asked))
            case "cancel" if number.isdecimal():
                self._visit.run(self._cancel(number))
            case _:
                pass

    async def _send(self, turn: int, *, dry_run: bool) -> None:
        """Try what is filled in, or reserve it; only the answer to what was asked last is shown."""
        values = self._form.values
        times, refused = self._form.times(self._visit.zone, self._visit.lang)
        gpus = int(values["gpus"]) if values["gpus"].isdecimal() and len(values["gpus"]) < 6 else 0
        made: Any = None
        if not refused and values["gpus"] and not 1 <= gpus <= 10_008:
            refused = say("reservations-bad-gpus", self._visit.lang)
        ready = gpus and values["project"] and len(times) == len(TIMES) and (dry_run or not self._form.unclear)
        if not refused and ready:
            # What is tried needs no name yet.
            name = values["name"] or ("-" if dry_run else "")
            body = {"name": name, "project": values["project"], "gpus": gpus, "note": values["note"], **times}
            headers = {} if dry_run else {"Idempotency-Key": self._key}
            made, refused = await self._visit.act(
                "POST", "/reservations", json={**body, "dry_run": dry_run}, headers=headers
            )  # fmt: skip
        if turn != self._asked_for:
            return
        self._refused = refused
        self._tried = {**made, "where": where(made["trays"])} if made and dry_run else None
        if made and not dry_run:
            self._said = say("reservations-made", self._visit.lang, gpus=made["gpus"], project=made["project"])
            self._key = secrets.token_hex(16)
            self._form = Form(values | {"name": "", "note": "", "gpus": ""})
            self._source.refresh()
        self._visit.soon(self._draw)

    async def _move(self, number: str, asked: Mapping[str, Any]) -> None:
        form = self._moves[number] = Form({})
        form.take(asked)
        times, refused = form.times(self._visit.zone, self._visit.lang)
        self._notice = None
        if not refused and len(times) == len(TIMES) and not form.unclear:
            refused = await self._moved(number, times, asked)
            if not refused:
                self._moves.pop(number, None)
                self._notice = ("done", say("reservations-moved", self._visit.lang))
                self._source.refresh()
        if refused:
            self._notice = ("error", refused)
        self._visit.soon(self._draw)

    async def _moved(self, number: str, times: Mapping[str, int], asked: Mapping[str, Any]) -> str:
        """Move a reservation that still is as it was shown; return why not in words."""
        path = f"/reservations/{number}"
        found, tag, refused = await self._visit.tagged(path)
        if refused:
            return refused
        if any(str(found[name]) != asked.get(f"was{name.title()}") for name in TIMES):
            self._moves.pop(number, None)
            self._source.refresh()
            return say("reservations-changed", self._visit.lang)
        _, refused = await self._visit.act("PATCH", path, json=dict(times), headers={"If-Match": tag})
        return refused

    async def _cancel(self, number: str) -> None:
        _, refused = await self._visit.act("DELETE", f"/reservations/{number}")
        words = refused or say("reservations-cancelled", self._visit.lang)
        self._notice = ("error" if refused else "done", words)
        self._source.refresh()
        self._visit.soon(self._draw)

    @property
    def view(self) -> Any:
        """What is shown."""
        return pn.Column(self._head, self._chart.view, self._new, self._list, sizing_mode="stretch_width")


class Timeline:
    """Reservations as bars over time, as high as the GPUs that they keep, against what is in service."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        lang = visit.lang
        self._bars = ColumnDataSource(
            {name: [] for name in ("left", "right", "bottom", "top", "middle", "color", "name")}
        )
        self._line = ColumnDataSource({"x": [], "y": [], "label": []})
        self._x, self._y = Range1d(start=0, end=1), Range1d(start=0, end=1)
        plot = empty_figure(lang, height=260, x_axis_type="datetime", x_range=self._x, y_range=self._y)
        plot.yaxis.axis_label = say("reservations-axis", lang)
        plot.xaxis.formatter = DatetimeTickFormatter(days="%m-%d", hours="%m-%d %H:%M", months="%Y-%m-%d")
        plot.quad(
            left="left", right="right", bottom="bottom", top="top", source=self._bars, color="color", alpha=0.55,
            line_color="#1d2420", hatch_pattern="/", hatch_alpha=0.25,
        )  # fmt: skip
        plot.text(
            x="left",
            y="middle",
            text="name",
            source=self._bars,
            x_offset=4,
            text_baseline="middle",
            text_font_size="12px",
        )
        plot.line(x="x", y="y", source=self._line, color="#1d2420", line_width=2, line_dash="dashed")
        plot.text(
            x="x", y="y", text="label", source=self._line, x_offset=4, y_offset=-2, text_baseline="bottom",
            text_font_size="12px",
        )  # fmt: skip
        self._plot = Plot(lang, say("reservations-plot", lang), plot)

    @property
    def view(self) -> Any:
        """What is shown."""
        return self._plot

    def show(self, shown: Shown, days: int) -> None:
        """Show the next `days` days."""
        zone, lang = self._visit.zone, self._visit.lang
        since, until = shown.now, shown.now + days * DAY
        rows = [row for row in shown.rows if row["starts"] < until]
        bars = stacked(rows)
        self._bars.data = {
            "left": [_axis(max(since, row["starts"]), zone) for row in rows],
            "right": [_axis(min(until, row["ends"]), zone) for row in rows],
            "bottom": bars,
            "top": [low + row["gpus"] for low, row in zip(bars, rows, strict=True)],
            "middle": [low + row["gpus"] / 2 for low, row in zip(bars, rows, strict=True)],
            "color": [SERIES[int(row["id"]) % 7] for row in rows],
            # A name beside a bar that is too short for it would lie on the next one: the table has it.
            "name": [
                row["name"][:24] if min(until, row["ends"]) - max(since, row["starts"]) > days * DAY / 8 else ""
                for row in rows
            ],
        }
        capacity = say("reservations-capacity", lang, gpus=shown.capacity)
        self._line.data = {
            "x": [_axis(since, zone), _axis(until, zone)], "y": [shown.capacity] * 2, "label": [capacity, ""],
        }  # fmt: skip
        self._x.update(start=_axis(since, zone), end=_axis(until, zone))
        self._y.update(start=0, end=1.2 * max([shown.capacity, 1, *self._bars.data["top"]]))
        names = ("starts", "ends", "axis", "name", "project")
        self._plot.tell(
            say("reservations-in", lang, days=days, count=len(rows), peak=peak(rows), capacity=shown.capacity),
            [say(f"reservations-{name}", lang) for name in names],
            [
                (clock(row["starts"], zone), clock(row["ends"], zone), row["gpus"], row["name"], row["project"])
                for row in rows
            ],
        )


def stacked(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return where the bar of each reservation begins: as low as can be without lying on another."""
    lows: list[int] = []
    for number, row in enumerate(rows):
        beside = sorted(
            (low, low + other["gpus"])
            for low, other in zip(lows, rows[:number], strict=True)
            if other["starts"] < row["ends"] and row["starts"] < other["ends"]
        )
        low = 0
        for bottom, top in beside:
            if low + row["gpus"] <= bottom:
                break
            low = max(low, top)
        lows.append(low)
    return lows


def peak(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return the most GPUs that are kept at once."""
    return max(
        (sum(one["gpus"] for one in rows if one["starts"] <= row["starts"] < one["ends"]) for row in rows), default=0
    )


def _axis(at: int, zone: str) -> float:
    """Return a moment as the time axis shows it: on the clocks of the site, in milliseconds."""
    offset = datetime.fromtimestamp(at, zone_of(zone)).utcoffset()
    return (at + (offset.total_seconds() if offset else 0)) * 1000


def screen(visit: Visit) -> Any:
    """Return the screen of a visit."""
    return Reservations(visit).view
