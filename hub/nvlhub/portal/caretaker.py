"""What the portal does about runs by itself: ends those that nobody ended, and removes names when their days are over."""

from __future__ import annotations

import logging
import threading

from nvlhub.clock import SteadyClock
from nvlhub.registry.board import Boards

logger = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two looks."""
DAY = 86_400


class Caretaker:
    """A thread that looks after runs that are over."""

    def __init__(self, boards: Boards, clock: SteadyClock) -> None:
        self._boards = boards
        self._clock = clock
        self._redacted: int | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._loop, name="caretaker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None

    def _loop(self) -> None:
        while not self._ended.is_set():
            try:
                self.turn()
            except Exception:
                logger.exception("runs that are over could not be looked after; trying again")
            self._ended.wait(EVERY)

    def turn(self) -> None:
        """End what nobody ended; once a day, and at the portal's start, remove names."""
        now = self._clock.now()
        for number in self._boards.end_left_open():
            logger.info("run %s is over and was ended", number)
        if self._redacted is None or now - self._redacted >= DAY:
            for number in self._boards.redact():
                logger.info("names of learners of run %s were removed", number)
            self._redacted = now
