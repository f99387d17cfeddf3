"""*Fleet*: what all GPUs do, what could start, who holds them, and what can be done about it.

On a new reading the map gets its bytes, one per GPU, and the short texts that changed; longer ones are made when somebody asks
for them.
"""

from __future__ import annotations

import struct
from base64 import b64decode
from collections.abc import Mapping
from functools import partial
from typing import Any

import panel as pn

from nvlwidgets.fleet_cells import MODES, STATES, Seen, legend, seen_of, sentence
from nvlwidgets.panels.fleet_day import Day
from nvlwidgets.panels.fleet_map import FleetMap
from nvlwidgets.panels.fleet_rack import Acts, Rack, number
from nvlwidgets.panels.parts import Html
from nvlwidgets.panels.source import Reading, Source
from nvlwidgets.panels.visit import Visit

EVERY = 2.0
"""Seconds between two pictures, for all who look at it."""
HOLDERS_EVERY = 10.0
GROUPS = ("programme", "project", "user")
PER_PAGE = 20
"""Racks in a page of the table."""


class Fleet:
    """One administrator's look at the fleet."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._seen: Seen | None = None
        self._mode, self._by = MODES[0], GROUPS[0]
        self._page: int | None = None
        self._marks: tuple[int, ...] = ()
        self._told: Mapping[str, Any] = {}
        self._head, self._room, self._state = Html(), Html(), Html()
        self._modes, self._table = Html(self._asked), Html(self._asked)
        self._map = FleetMap(visit.lang, self._asked, legend=legend("state", visit.lang))
        self._acts = Acts(visit, self._refresh)
        self._rack = Rack(visit, self._acts, self._open)
        self._holders = Html(self._acts.asked)
        self._day = Day(visit)
        self._sources: dict[str, Source[Mapping[str, Any]]] = {}
        self._picture = visit.public("fleet", self._fetch, EVERY)
        self._put_modes()
        visit.follow(self._picture, self._show)
        self._group(self._by)

    async def _fetch(self) -> Seen:
        return seen_of(await self._visit.nobody.get("/fleet"))

    def _refresh(self) -> None:
        self._picture.refresh()
        self._sources[self._by].refresh()
        self._rack.again()

    # --- the picture ------------------------------------------------------------------------------------------

    def _show(self, reading: Reading[Seen] | None, error: str) -> None:
        before, self._seen = self._seen, reading.value if reading else None
        self._head.put(
            self._visit.markup(
                "fleet_head.html", seen=self._seen, sentence=sentence(self._seen.view, self._visit.lang) if self._seen else "",
                error=error, known=reading is not None, age=reading.age if reading else 0,
            )
        )  # fmt: skip
        view = self._seen.view if self._seen else {}
        for html, name in ((self._room, "fleet_room.html"), (self._state, "fleet_state.html")):
            html.put(self._visit.markup(name, seen=self._seen, view=view))
        self._draw()
        self._put_table()
        if self._seen is not None:
            self._acts.pool = str(view["pool"])
            if (
                before is not None
                and self._rack.name
                and _part(before, self._rack.name) != _part(self._seen, self._rack.name)
            ):
                self._rack.again()

    def _draw(self) -> None:
        if self._seen is None:
            return
        match self._mode:
            case "busy":
                cells = self._seen.busy_cells
            case "holder":
                cells = self._seen.held_cells(self._marks)
            case _:
                cells = self._seen.states
        shown = legend(self._mode, self._visit.lang, self._told.get("names", ()))
        told = {
            "mode": self._mode,
            "legend": [list(entry) for entry in shown],
            "racks": self._seen.racks,
            "cells": cells,
        }
        # What is as it was is not sent again.
        self._map.param.update(**{name: value for name, value in told.items() if getattr(self._map, name) != value})

    def _put_modes(self) -> None:
        self._modes.put(
            self._visit.markup("fleet_modes.html", modes=MODES, mode=self._mode, groups=GROUPS, by=self._by)
        )

    def _put_table(self) -> None:
        racks = list(self._seen.figures()) if self._seen and self._page is not None else []
        pages = max(1, -(-len(racks) // PER_PAGE))
        page = min(self._page or 0, pages - 1)
        self._table.put(
            self._visit.markup(
                "fleet_racks.html", shown=self._page is not None, racks=racks[page * PER_PAGE : (page + 1) * PER_PAGE],
                states=STATES, first=page * PER_PAGE + 1, total=len(racks), page=page, pages=pages,
            )
        )  # fmt: skip

    # --- holders ----------------------------------------------------------------------------------------------

    def _group(self, by: str) -> None:
        """Tell who holds the GPUs by programme, project or user."""
        self._by = by
        if by in self._sources:
            known = self._sources[by]
            self._hold(by, known.reading, known.error)
            return
        self._sources[by] = self._visit.own(("holders", by), partial(self._fetch_holders, by), HOLDERS_EVERY)
        self._visit.follow(self._sources[by], partial(self._hold, by))

    async def _fetch_holders(self, by: str) -> Mapping[str, Any]:
        told: Mapping[str, Any] = await self._visit.api.get("/fleet/holders", by=by)
        return told

    def _hold(self, by: str, reading: Reading[Mapping[str, Any]] | None, error: str) -> None:
        if by != self._by:
            return
        self._told = reading.value if reading else {}
        raw = b64decode(self._told.get("holders", ""))
        self._marks = struct.unpack(f"<{len(raw) // 2}H", raw)
        self._holders.put(self._visit.markup("fleet_holders.html", told=self._told, error=error))
        if self._mode == "holder":
            self._draw()

    # --- what is asked for ------------------------------------------------------------------------------------

    def _open(self, name: str) -> None:
        self._map.chosen = name

    def _asked(self, asked: Mapping[str, Any]) -> None:
        match asked.get("action"):
            case "rack":
                self._rack.open(str(asked.get("domain", "")))
            case "mode" if asked.get("value") in MODES:
                self._mode = str(asked["value"])
                self._put_modes()
                self._draw()
            case "by" if asked.get("value") in GROUPS:
                self._group(str(asked["value"]))
                self._put_modes()
            case "table":
                self._page = 0 if self._page is None else None
                self._put_table()
            case "page":
                self._page = number(asked.get("to")) or 0
                self._put_table()
            case _:
                pass

    @property
    def view(self) -> Any:
        """What is shown."""
        return pn.Column(
            self._head, self._modes, self._map, self._rack.html, self._table, self._room, self._state, self._day.view,
            self._holders, self._acts.html, sizing_mode="stretch_width",
        )  # fmt: skip


def _part(seen: Seen, name: str) -> bytes:
    """Return the bytes of one rack; none for one that is not there."""
    at = 0
    for other, sizes in seen.racks:
        if other == name:
            return seen.states[at : at + sum(sizes)]
        at += sum(sizes)
    return b""


def screen(visit: Visit) -> Any:
    """Return the screen of a visit."""
    return Fleet(visit).view
