"""All GPUs as a small picture in a notebook; where widgets cannot run, the same figures in words.

from nvlwidgets.fleet_mini import FleetMini

FleetMini()
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import anywidget
import httpx
import traitlets

from nvlhub.text import say
from nvlhub.trust import trusted
from nvlkernels.client import PortalDownError, PortalError, answer, settings
from nvlwidgets import fleet_cells
from nvlwidgets.markup import asset, markup

EVERY = 10.0
"""Seconds between two looks."""
TIMEOUT = httpx.Timeout(10.0, connect=3.0)


class FleetMini(anywidget.AnyWidget):
    """Reads what any user may see of the fleet, every `every` seconds while the kernel is free; `mode` may be changed.

    Never raises for a portal that does not answer: the picture keeps its last good state and says why.
    """

    _esm = asset("fleet.js")
    _css = asset("style.css") + asset("fleet.css")

    cells = traitlets.Bytes(b"").tag(sync=True)
    racks: traitlets.List[Any] = traitlets.List().tag(sync=True)
    mode = traitlets.Enum(("state", "busy"), "state").tag(sync=True)
    legend: traitlets.List[Any] = traitlets.List().tag(sync=True)
    words = traitlets.Dict().tag(sync=True)
    chosen = traitlets.Unicode("").tag(sync=True)
    sentence = traitlets.Unicode("").tag(sync=True)
    asked = traitlets.Dict().tag(sync=True)

    def __init__(
        self, mode: str = "state", *, every: float = EVERY, environment: Mapping[str, str] = os.environ
    ) -> None:  # fmt: skip
        base, self._headers = settings(environment)
        self._address = f"{base}/fleet"
        self._lang = self._headers["Accept-Language"]
        self._seen: fleet_cells.Seen | None = None
        super().__init__(mode=mode, words=fleet_cells.words(self._lang, helped="fleet-help-mini"))
        self._dress()
        self.refresh()
        self._task = self._begin(every)

    def refresh(self) -> None:
        """Look now."""
        try:
            self._take(httpx.get(self._address, headers=self._headers, timeout=TIMEOUT, verify=trusted()))
        except httpx.HTTPError:
            self._miss(say("portal-down", self._lang))

    def _begin(self, every: float) -> asyncio.Task[None] | None:
        try:
            return asyncio.get_running_loop().create_task(self._keep_up(every))
        except RuntimeError:
            # Nothing that waits can run here, as in a script: it is read once.
            return None

    async def _keep_up(self, every: float) -> None:
        async with httpx.AsyncClient(headers=self._headers, timeout=TIMEOUT, verify=trusted()) as http:
            while True:
                await asyncio.sleep(every)
                try:
                    self._take(await http.get(self._address))
                except httpx.HTTPError:
                    self._miss(say("portal-down", self._lang))

    def _take(self, response: httpx.Response) -> None:
        try:
            self._seen = fleet_cells.seen_of(answer(response))
        except (PortalError, PortalDownError) as error:
            self._miss(str(error))
        except (ValueError, LookupError, TypeError):
            self._miss(say("portal-down", self._lang))
        else:
            self._show(self._seen)

    def _show(self, seen: fleet_cells.Seen) -> None:
        with self.hold_sync():
            self.racks = seen.racks
            self.cells = seen.busy_cells if self.mode == "busy" else seen.states
            self.sentence = fleet_cells.sentence(seen.view, self._lang)

    def _miss(self, why: str) -> None:
        last = fleet_cells.sentence(self._seen.view, self._lang) if self._seen else ""
        self.sentence = f"{say('fleet-mini-down', self._lang, why=why)} {last}".strip()

    def _dress(self) -> None:
        self.legend = [list(entry) for entry in fleet_cells.legend(self.mode, self._lang)]

    @traitlets.observe("mode")
    def _other_mode(self, _change: Mapping[str, Any]) -> None:
        with self.hold_sync():
            self._dress()
            if self._seen is not None:
                self._show(self._seen)

    def close(self) -> None:
        """Take the picture away and look no more."""
        if self._task is not None:
            self._task.cancel()
        super().close()

    def _repr_mimebundle_(self, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the widget, and the figures in words for whoever cannot show it."""
        data, metadata = super()._repr_mimebundle_(**more) or ({}, {})
        data["text/plain"] = self.sentence
        data["text/html"] = markup("fleet_mini.html", self._lang, sentence=self.sentence)
        return data, metadata
