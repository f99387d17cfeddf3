"""One visit of one guest to one screen: what a screen may use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import panel as pn
from bokeh.document import Document

from nvlhub.text import say
from nvlkernels.client import PortalDownError, PortalError
from nvlwidgets.markup import markup
from nvlwidgets.panels.api import Api
from nvlwidgets.panels.door import Guest
from nvlwidgets.panels.source import Reading, Source, Sources

T = TypeVar("T")
SITE_EVERY = 10.0
"""Seconds between two looks at what the portal says of itself."""
logger = logging.getLogger(__name__)


def site(sources: Sources, nobody: Api) -> Source[Mapping[str, Any]]:
    """Return the source of what the portal says of itself: one for the whole process."""
    return sources.get(("", "health"), lambda: nobody.get("/health"), SITE_EVERY)


@dataclass
class Visit:
    """What a screen is made for."""

    guest: Guest
    lang: str
    zone: str
    """Time zone of the site."""
    prefix: str
    """Path of this service, without a slash at its end."""
    args: Mapping[str, str]
    """Query of the address. Whoever may read it has chosen it: check it as any input."""
    api: Api
    """The portal, with the guest's own token."""
    nobody: Api
    """The portal with the token of this service: for what is the same to everybody."""
    sources: Sources
    doc: Document
    ready: bool = True
    """False: the browser has not said yet that it shows the page, see :meth:`shown`."""
    _early: list[Callable[[], None]] = field(default_factory=list)
    _leave: list[Callable[[], None]] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def markup(self, template: str, **values: Any) -> str:
        """Return a template in the guest's language and the site's zone; `prefix` and `guest` are known in it."""
        return markup(template, self.lang, zone=self.zone, prefix=self.prefix, guest=self.guest, **values)

    def own(self, name: Hashable, fetch: Callable[[], Awaitable[T]], every: float) -> Source[T]:
        """Return a source of what is this guest's own: shared by their tabs, with nobody else."""
        return self.sources.get((self.guest.name, self.guest.token, self.lang, name), fetch, every)

    def public(self, name: Hashable, fetch: Callable[[], Awaitable[T]], every: float) -> Source[T]:
        """Return a source of what is the same to everybody: one for the whole process. `fetch` uses :attr:`nobody`."""
        return self.sources.get(("", name), fetch, every)

    def site(self) -> Source[Mapping[str, Any]]:
        """Return the source of what the portal says of itself: zone, clock, whether its engine answers."""
        return site(self.sources, self.nobody)

    def follow(self, source: Source[T], told: Callable[[Reading[T] | None, str], None]) -> Callable[[], None]:
        """Have `told` called with what is known now, and with every new reading until the tab is closed.

        Returns what ends that sooner.
        """

        def tell() -> None:
            reading, error = source.reading, source.error
            if error and source.reason:
                # What is the same to everybody was asked for in no language in particular.
                error = say(source.reason, self.lang)
                reading = replace(reading, error=error) if reading else None
            told(reading, error)

        tell()
        leave = source.follow(lambda _reading, _error: self.soon(tell))
        self._leave.append(leave)

        def end() -> None:
            leave()
            if leave in self._leave:
                self._leave.remove(leave)

        return end

    def soon(self, do: Callable[[], None]) -> None:
        """Change the screen when its document may be changed."""
        if self.ready:
            self.doc.add_next_tick_callback(lambda: self._change([do]))
        else:
            self._early.append(do)

    def shown(self) -> None:
        """Do what was put off: the browser shows the page. Panel loses what changes after it was fetched and before that."""
        self.ready = True
        early = self._early.copy()
        self._early.clear()
        self.doc.add_next_tick_callback(lambda: self._change(early))

    def _change(self, changes: Sequence[Callable[[], None]]) -> None:
        """Change the screen by one message.

        One by one, Panel sends some changes at once and puts off others while the socket is busy: what uses a new part
        could come before the part.
        """
        with pn.io.hold(self.doc):
            for change in changes:
                change()
            # A browser paints what becomes visible at once. A plot whose data and ranges do not fit yet can keep it busy for
            # minutes, so becoming visible comes last.
            self.doc.callbacks._held_events.sort(key=lambda event: getattr(event, "attr", "") == "visible")  # noqa: SLF001  # the only way to their order

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that takes time, e.g. call the portal, without holding up the screen."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a screen could not do what it was asked for", exc_info=task.exception())

    async def act(self, method: str, path: str, **more: Any) -> tuple[Any, str]:
        """Ask the portal to change something; return its answer and, where it refused, why in words."""
        try:
            return await self.api.call(method, path, **more), ""
        except PortalError as error:
            return None, str(error)
        except PortalDownError:
            return None, say("panels-no-answer", self.lang)

    async def tagged(self, path: str) -> tuple[Any, str, str]:
        """Read what is to be changed; return it, its entity tag, and where the portal refused, why in words."""
        try:
            return *(await self.api.tagged(path)), ""
        except (PortalError, PortalDownError) as error:
            return None, "", str(error)

    def leave(self) -> None:
        """Follow nothing any more: the tab is closed."""
        for end in self._leave:
            end()
        self._leave.clear()
        for task in list(self._tasks):
            task.cancel()

    def over(self) -> None:
        """End a visit whose login is over: the page is loaded again, which leads to the login, and its session ends."""
        self.leave()
        if pn.state.location is not None:
            pn.state.location.reload = True
        # After this callback, so that the browser hears of it; one that does not listen loses the socket all the same.
        self.doc.add_next_tick_callback(self._end)

    def _end(self) -> None:
        context: Any = self.doc.session_context
        session = context.session
        for connection in list(session._subscribed_connections):  # noqa: SLF001  # Bokeh has no public way to end a session
            connection._socket.close(1008, "the login is over")  # noqa: SLF001  # likewise
        session.request_expiration()
