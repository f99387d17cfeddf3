"""What is asked for again and again, once per process however many look at it.

fetch ──► Source ──► Reading ──► every view that follows it
             ▲           value, when, and why the last try failed
          every `every` seconds while anybody looks
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from nvlkernels.client import PortalDownError, PortalError

T = TypeVar("T")
logger = logging.getLogger(__name__)

KEPT = 60.0
"""Seconds that a source nobody looks at is kept: who comes back finds the last value at once."""


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """The last good value, and what became of the last try."""

    value: T
    at: float
    """``time.monotonic()`` of the value."""
    error: str = ""
    """Why there is no newer value, in words; empty: the value is fresh."""

    @property
    def age(self) -> float:
        """Seconds since the value was true."""
        return time.monotonic() - self.at


class Source(Generic[T]):
    """One thing that is asked for every `every` seconds while somebody follows it."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], every: float) -> None:
        self._fetch = fetch
        self._every = every
        self._followers: dict[int, Callable[[Reading[T] | None, str], None]] = {}
        self._count = 0
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self.reading: Reading[T] | None = None
        self.error = ""
        self.reason = ""
        """Id of the sentence that says why, for an error that nobody has told in words."""
        self.looked_at = time.monotonic()

    def follow(self, told: Callable[[Reading[T] | None, str], None]) -> Callable[[], None]:
        """Have `told` called with every reading and error from now on; return what ends that."""
        self._count += 1
        number = self._count
        self._followers[number] = told
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif self.reading is None or self.reading.age > self._every:
            self.refresh()

        def leave() -> None:
            self._followers.pop(number, None)
            self.looked_at = time.monotonic()
            if not self._followers:
                # Nobody is left: the poller ends now, not after its next question.
                self._wake.set()

        return leave

    @property
    def followed(self) -> int:
        """How many follow it."""
        return len(self._followers)

    @property
    def asking(self) -> bool:
        """Whether a poller runs."""
        return self._task is not None and not self._task.done()

    @property
    def idle(self) -> bool:
        """Whether nobody has looked for a while."""
        return not self._followers and time.monotonic() - self.looked_at > KEPT

    def refresh(self) -> None:
        """Ask now: something was changed."""
        self._wake.set()

    def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while self._followers:
            self._wake.clear()
            await self.ask()
            for number, told in list(self._followers.items()):
                try:
                    told(self.reading, self.error)
                except Exception:
                    # One view that is broken must not end what all the others follow.
                    logger.exception("a dashboard could not be told; it is told no more")
                    self._followers.pop(number, None)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._every if self._followers else 0)

    async def ask(self) -> None:
        """Ask once; a failure keeps the last good value."""
        try:
            self.reading, self.error, self.reason = Reading(await self._fetch(), time.monotonic()), "", ""
        except PortalDownError as error:
            self.error, self.reason = str(error), "panels-no-portal"
        except PortalError as error:
            self.error, self.reason = str(error), ""
        except Exception as error:
            # What is wrong with one answer must not end the view: it is shown as out of date.
            logger.exception("a dashboard could not be brought up to date")
            self.error, self.reason = type(error).__name__, "panels-failed"
        if self.error and self.reading is not None:
            self.reading = replace(self.reading, error=self.error)


class Sources:
    """All sources of a process, by what they ask for and for whom."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Source[object]] = {}

    def get(self, key: Hashable, fetch: Callable[[], Awaitable[T]], every: float) -> Source[T]:
        """Return the source of `key`, made at the first time. What is a user's own has the user in its key."""
        for old, source in list(self._known.items()):
            if source.idle and old != key:
                source.stop()
                del self._known[old]
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Source(fetch, every)
        return found  # type: ignore[return-value]

    def clear(self) -> None:
        """Forget all of them, and ask no more."""
        for source in self._known.values():
            source.stop()
        self._known.clear()
