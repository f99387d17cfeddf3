"""The threads that take what was handed in, one attempt after the other, and have it judged."""

from __future__ import annotations

import logging
import threading

from nvlhub.arena import ArenaError, NotHeldError
from nvlhub.registry.assessing import Assessing, Job

logger = logging.getLogger(__name__)
CARRIED = 32
"""Attempts that are on leases at once: each is a thread that waits, and no cage on this machine."""
LOOK = 30.0
"""Seconds after which the queue is looked at, although nobody says that something came."""


class Judges:
    """Judge in the background until told to end; what is half done then is begun once more by the next portal."""

    def __init__(self, assessing: Assessing, count: int) -> None:
        self._assessing = assessing
        self._over = threading.Event()
        self._places = threading.Semaphore(CARRIED)
        self._carriers: set[threading.Thread] = set()
        self._threads = [
            threading.Thread(target=self._work, name=f"judge-{number}", daemon=True) for number in range(count)
        ]

    def start(self) -> None:
        """Begin."""
        self._assessing.resume()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after what is at hand, or without it where that takes long; what has a lease gives it back now."""
        self._over.set()
        if self._assessing.arena is not None:
            self._assessing.arena.give_up()
        self._assessing.waiting.set()
        for thread in (*self._threads, *self._carriers):
            thread.join(timeout=2)

    def _work(self) -> None:
        while not self._over.is_set():
            self._assessing.waiting.wait(LOOK)
            if not self._over.is_set():
                self._assessing.waiting.clear()
                self._empty()

    def _empty(self) -> None:
        """Judge until nothing waits."""
        try:
            while not self._over.is_set() and (job := self._assessing.next()) is not None:
                self._begin(job)
        except Exception:
            # The database is away, for instance: the queue is looked at again later.
            logger.exception("attempts cannot be taken")

    def _begin(self, job: Job) -> None:
        """Judge here and now, or have a thread of its own wait for what runs on a lease."""
        arena = self._assessing.arena
        if arena is None or not arena.carries(job.rubric, job.payer):
            self._judge(job)
            return
        while not self._places.acquire(timeout=1):
            if self._over.is_set():
                return
        thread = threading.Thread(target=self._carry, args=(job,), name=f"attempt-{job.number}", daemon=True)
        self._carriers.add(thread)
        thread.start()

    def _carry(self, job: Job) -> None:
        try:
            self._judge(job)
        finally:
            self._carriers.discard(threading.current_thread())
            self._places.release()

    def _judge(self, job: Job) -> None:
        try:
            if self._assessing.arena is None:
                raise ArenaError("nothing is judged here")  # noqa: TRY301  # told like any other fault
            self._assessing.judged(job, self._assessing.arena.judge(job.files, job.rubric, job.payer))
        except NotHeldError as error:
            self._assessing.not_held(job, error.why)
        except Exception as error:
            logger.exception("attempt %s was not judged", job.number)
            if not self._over.is_set():
                self._assessing.broke(job, f"{type(error).__name__}: {error}")
