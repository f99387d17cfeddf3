"""One rack, looked into: its trays, who holds them, and what those who run the portal can do about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from nvlhub.text import say
from nvlkernels.client import PortalDownError, PortalError
from nvlwidgets.panels.parts import Html
from nvlwidgets.panels.visit import Visit

OUTSIDE = "outside"
"""Who holds a GPU that somebody has outside the portal: no lease."""
LEVELS = ("info", "warning", "urgent")
STICKY = ":host{position:sticky;bottom:0;z-index:2;display:block}"
"""What was done, and the form of a message, stay in sight wherever on the page they were asked for."""


class Acts:
    """Messages to holders, ends of leases, trays out of service: done with the visitor's own token."""

    def __init__(self, visit: Visit, changed: Callable[[], None]) -> None:
        self._visit = visit
        self._changed = changed
        self._to: dict[str, str] = {}
        self.pool = ""
        self.html = Html(self.asked, stylesheets=[STICKY])

    def _put(self, said: str = "", kind: str = "error") -> None:
        self.html.put(self._visit.markup("fleet_note.html", said=said, kind=kind, to=self._to, levels=LEVELS))

    def _say(self, error: str, message: str, **members: object) -> None:
        self._put(error) if error else self._put(say(message, self._visit.lang, **members), "done")

    def asked(self, asked: Mapping[str, Any]) -> None:
        """Do what somebody asked for on the screen; what is none of these is left alone."""
        match asked.get("action"):
            case "message":
                self._to = {name: str(asked.get(name, ""))[:255] for name in ("user", "lease")}
                self._put()
            case "cancel":
                self._to = {}
                self._put()
            case "send":
                self._visit.run(self._send(str(asked.get("level", "")), str(asked.get("text", ""))))
            case "end":
                self._visit.run(self._end(str(asked.get("lease", ""))))
            case _:
                pass

    async def _send(self, level: str, text: str) -> None:
        to = self._to
        _, error = await self._visit.act("POST", "/announcements", json={"level": level, "text": text, **to})
        if not error:
            self._to = {}
        self._say(error, "fleet-message-sent", user=to.get("user", ""))

    async def _end(self, lease: str) -> None:
        _, error = await self._visit.act("DELETE", f"/leases/{quote(lease, safe='')}")
        self._say(error, "fleet-ended", lease=lease[:8])
        self._changed()

    async def serve(self, domain: str, tray: int | None, *, in_service: bool) -> None:
        """Take a rack, or one tray of it, out of service or put it back."""
        path = f"/domains/{quote(self.pool, safe='')}/{quote(domain, safe='')}"
        _, error = await self._visit.act("PUT", path, json={"in_service": in_service, "tray": tray})
        what = domain if tray is None else f"{domain} · {say('fleet-tray-title', self._visit.lang, tray=tray)}"
        self._say(error, "fleet-undrained" if in_service else "fleet-drained", what=what)
        self._changed()


class Rack:
    """The rack that is open now, or none."""

    def __init__(self, visit: Visit, acts: Acts, opened: Callable[[str], None]) -> None:
        self._visit = visit
        self._acts = acts
        self._opened = opened
        self.name = ""
        self._tray = 0
        self._rack: Mapping[str, Any] = {}
        self._leases: list[Mapping[str, Any]] = []
        self._known = False
        self._error = ""
        self.html = Html(self._asked)

    def open(self, name: str) -> None:
        """Look into a rack; an empty name looks into none."""
        self.name, self._tray, self._rack, self._leases, self._known, self._error = name[:100], 0, {}, [], False, ""
        self._put()
        self._opened(self.name)
        self.again()

    def again(self) -> None:
        """Read the open rack anew."""
        if self.name:
            self._visit.run(self._read(self.name, self._tray))

    async def _read(self, name: str, tray: int) -> None:
        try:
            found = await self._visit.api.items("/domains", name=name)
            rack: Mapping[str, Any] = found[0] if found else {}
            leases = await self._of_tray(rack, tray)
        except (PortalError, PortalDownError) as error:
            if (name, tray) == (self.name, self._tray):
                self._error = str(error)
                self._put()
            return
        # Whoever opens another rack meanwhile does not get this one.
        if (name, tray) == (self.name, self._tray):
            self._rack, self._leases, self._known, self._error = rack, leases, True, ""
            self._put()

    async def _of_tray(self, rack: Mapping[str, Any], tray: int) -> list[Mapping[str, Any]]:
        held = {
            lease
            for one in rack.get("trays", ())
            if one["index"] == tray
            for lease in one["gpus"]
            if lease not in {"", OUTSIDE}
        }
        return list(await asyncio.gather(*(self._visit.api.get(f"/leases/{lease}") for lease in sorted(held))))

    def _put(self) -> None:
        columns = max((len(one["gpus"]) for one in self._rack.get("trays", ())), default=0)
        self.html.put(
            self._visit.markup(
                "fleet_rack.html", wanted=self.name, rack=self._rack, tray=self._tray, leases=self._leases, columns=columns,
                known=self._known, error=self._error,
            )
        )  # fmt: skip

    def _asked(self, asked: Mapping[str, Any]) -> None:
        tray = number(asked.get("tray"))
        match asked.get("action"):
            case "close":
                self.open("")
            case "tray":
                self._tray = tray or 0
                self.again()
            case "drain" | "undrain" as action:
                self._visit.run(self._acts.serve(self.name, tray, in_service=action == "undrain"))
            case _:
                self._acts.asked(asked)


def number(given: object) -> int | None:
    """Return the whole number that a browser sent, or None for anything else."""
    text = str(given)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None
