"""What the widgets of a process look at: each thing is asked for once, on one thread, while a widget looks.

topic ──► Feed (thread) ──► Reading ──► every widget that wants the topic
             ▲               last good value, its age, why the last try failed
          refresh(): something was changed, ask now
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

RETRY = 5.0
"""Seconds after which what failed is tried again, at most."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing to ask for. Topics of one name are the same."""

    name: str
    fetch: Callable[[], Any] = field(compare=False)
    """Asks; raises an error whose text is for people."""
    every: float = field(compare=False, default=5.0)
    """Seconds between two times."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The last good value, and what became of the last try."""

    value: Any = None
    """None: there never was one."""
    at: float = 0.0
    """``time.monotonic()`` of the value."""
    error: str = ""
    """Why there is no newer value, in words; empty: the value is fresh."""
    cause: Exception | None = None
    tries: int = 0

    @property
    def age(self) -> float:
        """Seconds since the value was true; 0 without one."""
        return time.monotonic() - self.at if self.value is not None else 0.0


class Follower(Protocol):
    """Who looks at topics. Kept by weak references: the feed keeps nobody alive."""

    def topics(self) -> tuple[Topic, ...]:
        """Return what is wanted now; called on the feed's thread."""
        ...

    def told(self) -> None:
        """Take in that something may have changed; called on the feed's thread."""
        ...


class Feed:
    """Asks while somebody follows. The thread ends with the last follower."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._followers: weakref.WeakSet[Follower] = weakref.WeakSet()
        self._readings: dict[Topic, Reading] = {}
        self._due: dict[Topic, float] = {}
        self._jobs: list[Callable[[], None]] = []
        self._woken = False
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether the thread is there."""
        return self._thread is not None

    def follow(self, who: Follower) -> None:
        """Ask for what `who` wants from now on. Does no harm when repeated."""
        with self._changed:
            if who not in self._followers:
                self._followers.add(who)
                self._wake()

    def leave(self, who: Follower) -> None:
        """Ask for `who` no more."""
        with self._changed:
            if who in self._followers:
                self._followers.discard(who)
                self._wake()

    def reading(self, topic: Topic) -> Reading:
        """Return what is known of a topic."""
        with self._changed:
            return self._readings.get(topic, Reading())

    def do(self, job: Callable[[], None]) -> None:
        """Do something on the feed's thread, then ask for everything at once: it may have changed."""
        with self._changed:
            self._jobs.append(job)
            self._wake()

    def join(self, seconds: float) -> None:
        """Wait until the thread has ended."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _wake(self) -> None:
        self._woken = True
        self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._turn():
            with self._changed:
                # Nobody is referred to from here while this waits, so that widgets can go.
                if not self._woken:
                    self._changed.wait(
                        max(0.0, min(self._due.values(), default=RETRY + time.monotonic()) - time.monotonic())
                    )

    def _turn(self) -> bool:
        """Do what there is to do, once; False: nobody follows any more, and the thread ends."""
        with self._changed:
            self._woken = False
            jobs, self._jobs = self._jobs, []
            followers = list(self._followers)
            if not followers and not jobs:
                self._readings.clear()
                self._due.clear()
                self._thread = None
                return False
        for job in jobs:
            self._safely(job)
        wanted = {topic for follower in followers for topic in follower.topics()}
        with self._changed:
            for topic in self._readings.keys() - wanted:
                del self._readings[topic]
                self._due.pop(topic, None)
            if jobs:
                self._due.clear()
        now = time.monotonic()
        for topic in sorted(wanted, key=lambda topic: topic.name):
            if self._due.get(topic, now) <= now:
                self._ask(topic)
        for follower in followers:
            self._safely(follower.told)
        return True

    def _ask(self, topic: Topic) -> None:
        before = self.reading(topic)
        try:
            after = Reading(topic.fetch(), time.monotonic(), tries=before.tries + 1)
        except Exception as error:
            if not str(error):
                logger.exception("a widget could not be brought up to date")
            after = replace(before, error=str(error) or type(error).__name__, cause=error, tries=before.tries + 1)
        with self._changed:
            self._readings[topic] = after
            self._due[topic] = time.monotonic() + (min(topic.every, RETRY) if after.error else topic.every)

    @staticmethod
    def _safely(do: Callable[[], None]) -> None:
        try:
            do()
        except Exception:
            # One widget that cannot be shown must not hold up the others.
            logger.exception("a widget could not be shown")


PORTAL = Feed("nvlwidgets-portal")
"""What the portal says."""
HERE = Feed("nvlwidgets-here")
"""What is measured in this process: a portal that answers slowly does not hold it up."""


def stale(readings: Mapping[Topic, Reading]) -> Reading | None:
    """Return the reading that is out of date for the longest time; None: all are fresh."""
    failed = [reading for reading in readings.values() if reading.error]
    return max(failed, key=lambda reading: reading.age, default=None)
