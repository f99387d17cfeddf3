"""Parts of screens: a template over one source, what people ask for in it, and what came of that."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

from nvlhub.text import say
from nvlkernels.client import PortalDownError, PortalError
from nvlwidgets.markup import asset
from nvlwidgets.panels.parts import Html
from nvlwidgets.panels.source import Reading, Source
from nvlwidgets.panels.visit import Visit

logger = logging.getLogger(__name__)

CARD = {"background": "#fff", "border": "1px solid #dfe5da", "border-radius": "8px", "padding": "0.8rem 1rem"}
"""Styles of what is no HTML, to look like the cards beside it."""
Query = tuple[Hashable, Callable[[], Awaitable[Any]]]
"""What a source is known by among a guest's own, and how it is asked."""


class StyledHtml(Html):
    """HTML with the styles of the screens."""

    _stylesheets: ClassVar = [asset("style.css"), asset("screens.css")]


@dataclass(frozen=True, slots=True)
class Said:
    """What came of an action. `place`: the id of what it was about."""

    place: str
    text: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a call. `refused`: why not, in words; empty: it was done."""

    answer: Any
    refused: str = ""
    status: int = 200


class Block:
    """One part of a screen.

    Those who inherit set `template` and write :meth:`query` and :meth:`values`; ``do_NAME`` is called with what was sent
    when somebody asks for NAME. An answer of the portal that cannot be shown is no reason to show nothing: the last good
    one stays, with a note.
    """

    template: ClassVar[str]
    nothing: ClassVar[Mapping[str, Any]] = {}
    """What the template needs as long as there is no value."""
    every: ClassVar[float] = 10.0
    """Seconds between two looks."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.page = 1
        self.said: Said | None = None
        self.html = StyledHtml(self._asked)
        self.heard: list[Callable[[Any], None]] = []
        """Called with every good value."""
        self._good: Reading[Any] | None = None
        self._error = ""
        self._base = 0
        self._source: Source[Any] | None = None
        self._leave: Callable[[], None] = lambda: None

    # --- what those who inherit say -------------------------------------------------------------------------------

    def query(self) -> Query | None:
        """Return what is to be followed now; None: nothing. It must not change with the block afterwards."""
        return None

    def values(self, value: Any) -> dict[str, Any]:
        """Return what the template needs of a value. May raise anything for one that makes no sense."""
        return {"value": value}

    def always(self) -> dict[str, Any]:
        """Return what the template needs besides, whether there is a value or not."""
        return {}

    def clock_of(self, value: Any) -> int:
        """Return the portal's time in a value; 0: it has none."""
        return 0

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> Block:
        """Follow what :meth:`query` says, instead of what was followed before."""
        self._leave()
        self._leave, self._source, self._good, self._error = (lambda: None), None, None, ""
        wanted = self.query()
        if wanted is None:
            self.draw()
            return self
        name, ask = wanted
        odd = say("answer-odd", self.visit.lang)

        async def fetch() -> Any:
            try:
                return await ask()
            except (TypeError, KeyError, IndexError, ValueError):
                # What it answered is not what it should be.
                raise PortalDownError(odd) from None

        self._source = self.visit.own((type(self).__name__, name), fetch, self.every)
        self._leave = self.visit.follow(self._source, self._told)
        return self

    def refresh(self) -> None:
        """Ask now: something was changed."""
        if self._source is not None:
            self._source.refresh()

    def _told(self, reading: Reading[Any] | None, error: str) -> None:
        self._error = error
        if reading is not None and (self._good is None or reading.at != self._good.at):
            before, self._good = self._good, reading
            try:
                self._render()
            except Exception:
                # Whatever is wrong with it: it came from outside, and what was shown before is still worth reading.
                logger.exception("an answer of the portal could not be shown")
                self._good, self._error = before, say("answer-odd", self.visit.lang)
            else:
                for told in self.heard:
                    told(reading.value)
        self.draw()

    def draw(self) -> None:
        """Show what is known now; times that count down by themselves are no reason to send anything."""
        if self._render() != self.html.html:
            self._base = self.now
            self.html.put(self._render())

    @property
    def known(self) -> Any:
        """The last good value, or None."""
        return self._good.value if self._good is not None else None

    @property
    def now(self) -> int:
        """The portal's time, as far as the last good value tells."""
        at = self.clock_of(self._good.value) if self._good is not None else 0
        return at + int(self._good.age) if at and self._good is not None else 0

    def _render(self) -> str:
        good = self._good
        return self.visit.markup(
            self.template, known=good is not None, error=self._error, age=good.age if good else 0, said=self.said,
            now=self._base, **self.always(), **(self.values(good.value) if good else self.nothing),
        )  # fmt: skip

    # --- actions --------------------------------------------------------------------------------------------------

    def _asked(self, asked: Mapping[str, Any]) -> None:
        do = getattr(self, f"do_{asked.get('action', '')}", None)
        if do is None:
            return
        found = do(asked)
        if inspect.iscoroutine(found):
            self.visit.run(found)

    def do_page(self, asked: Mapping[str, Any]) -> None:
        """Show another page."""
        self.page = max(1, whole(asked.get("page")) or 1)
        self.said = None
        self.start()

    async def act(self, place: str, done: str, method: str, path: str, **more: Any) -> Sent:
        """Ask the portal to change something, and say what came of it at `place`: `done`, or why not."""
        sent = await self.send(method, path, **more)
        self.say(place, sent.refused or done, ok=not sent.refused)
        self.refresh()
        return sent

    async def send(self, method: str, path: str, **more: Any) -> Sent:
        """Ask the portal to change something."""
        try:
            return Sent(await self.visit.api.call(method, path, **more))
        except PortalError as error:
            return Sent(None, str(error), error.problem.status)
        except PortalDownError as error:
            return Sent(None, str(error), 503)

    def say(self, place: str, text: str, *, ok: bool) -> None:
        """Say what came of something."""
        self.said = Said(place, text, ok)
        self.visit.soon(self.draw)


def legend_above(figure: Any) -> None:
    """Put the legend of a figure where it covers nothing."""
    legend = figure.legend[0]
    legend.orientation = "horizontal"
    legend.border_line_color = None
    figure.add_layout(legend, "above")


def whole(given: object) -> int | None:
    """Return the whole number that somebody typed, or None."""
    text = str(given if given is not None else "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


def typed(asked: Mapping[str, Any], name: str, most: int = 4000) -> str:
    """Return what somebody typed into a field."""
    given = asked.get(name, "")
    return given.strip()[:most] if isinstance(given, str) else ""


def part(name: object) -> str:
    """Return a name as one part of a path, whatever is in it."""
    return quote(str(name), safe="")
