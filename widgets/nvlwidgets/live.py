"""What all widgets of a notebook are: a template over what a feed knows, the same view as in the dashboards, and plain text."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar

import anywidget
import traitlets

from nvlhub.text import say
from nvlkernels.client import spoken
from nvlwidgets.asking import UnreadError, call, portal
from nvlwidgets.feed import PORTAL, Feed, Reading, Topic, stale
from nvlwidgets.markup import asset, markup
from nvlwidgets.plain import plain

FIRST = 2.0
"""Seconds that text waits for the first answer, so that it says more than that something was asked."""


def _site(found: Any) -> tuple[str, int, bool]:
    return str(found["zone"]), int(found["now"]), bool(found.get("engine_away"))


def site() -> Topic:
    """Return the topic of the site's time zone and clock, and whether its engine is away."""
    return portal("/health", _site, 30.0)


class Live(anywidget.AnyWidget):
    """Shows a template over readings; a subclass says which (:meth:`topics`) and what it makes of them (:meth:`values`)."""

    _esm = asset("view.js")
    _css = asset("style.css")

    html = traitlets.Unicode("").tag(sync=True)
    asked = traitlets.Dict().tag(sync=True)
    """What somebody pressed in it."""
    shown = traitlets.Bool(True).tag(sync=True)
    """Whether it is on a page: what is on none is not kept up to date."""

    template: ClassVar[str] = ""
    title: ClassVar[str] = ""
    """Message of its heading."""
    feed: ClassVar[Feed] = PORTAL

    def __init__(self) -> None:
        self.lang = spoken()
        self._turn = threading.RLock()
        self._told = threading.Event()
        self._busy = False
        self._said: tuple[str, str] = ("", "")
        super().__init__()
        self._paint()
        self.observe(self._look, "shown")
        self.observe(lambda change: self.answer(change["new"]), "asked")
        self.feed.follow(self)

    # --- what subclasses say -----------------------------------------------------------------------------------

    def topics(self) -> tuple[Topic, ...]:
        """Return what is looked at."""
        raise NotImplementedError

    def values(self) -> Mapping[str, Any]:
        """Return what the template shows besides what all of them show."""
        return {}

    def answer(self, asked: Mapping[str, Any]) -> None:
        """Do what somebody pressed. `asked` comes from a browser: check it as any input."""

    # --- what they are made of ---------------------------------------------------------------------------------

    def reading(self, topic: Topic) -> Reading:
        """Return what is known of a topic."""
        return self.feed.reading(topic)

    def act(self, method: str, path: str, done: str, *, doing: str = "", **more: Any) -> None:
        """Have the portal do something, one thing at a time; say `doing` meanwhile, then `done`, or why not."""
        with self._turn:
            if self._busy:
                return
            self._busy = True
            self._said = ("warning", doing)
            self._paint()

        def job() -> None:
            try:
                call(method, path, **more)
                said = ("done", done)
            except UnreadError:
                said = ("warning", say("widget-unsure", self.lang))
            except RuntimeError as error:
                said = ("error", str(error))
            with self._turn:
                self._busy, self._said = False, said

        self.feed.do(job)

    def told(self) -> None:
        """Show what is known now."""
        if self.comm is not None:
            self._paint()
            self._told.set()

    def close(self) -> None:
        """Take the widget off its pages; nothing is asked for it any more."""
        if getattr(self, "_turn", None) is not None:
            self.feed.leave(self)
        super().close()

    def set_state(self, sync_data: Any) -> None:
        """Take in what the page says, while the feed's thread changes nothing."""
        with self._turn:
            super().set_state(sync_data)

    def _look(self, change: Mapping[str, Any]) -> None:
        (self.feed.follow if change["new"] else self.feed.leave)(self)

    def _rendered(self, *, live: bool) -> str:
        readings = {topic: self.reading(topic) for topic in self.topics()}
        kind, said = self._said
        where = readings.get(site(), Reading())
        zone, now, away = where.value or ("UTC", None, False)
        late = stale({topic: reading for topic, reading in readings.items() if not self.may_fail(topic, reading)})
        return markup(
            self.template, self.lang, zone=zone, title=say(self.title, self.lang), live=live, waits=self._busy, kind=kind,
            said=said, error=late.error if late else "", known=late is not None and late.value is not None,
            age=late.age if late else 0, away=away, as_of=None if live or now is None else now + where.age, **self.values(),
        )  # fmt: skip

    def may_fail(self, topic: Topic, reading: Reading) -> bool:
        """Tell whether a topic is an extra: its failing is not worth a sentence."""
        return topic == site()

    def _paint(self) -> None:
        with self._turn:
            self.html = self._rendered(live=True)

    # --- where widgets cannot run ------------------------------------------------------------------------------

    def _first(self) -> None:
        """Wait a little for the first answer, where one is on its way."""
        if self.comm is not None and self.shown:
            self._told.wait(FIRST)

    def __repr__(self) -> str:
        """Return what it shows as text."""
        self._first()
        return plain(self._rendered(live=False))

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        static = self._rendered(live=False)
        return {**data, "text/plain": plain(static), "text/html": static}, metadata


def left(until: int | None, now: int, reading: Reading) -> int | None:
    """Return the seconds until a moment of the portal's clock; this machine's clock is not asked."""
    return None if until is None else max(0, until - now - int(reading.age))
