"""Starts the servers of seats before their learners come, keeps them running, and stops them when the run is over.

What to do is :func:`nvlhub.flow.warming.plan`'s; this asks the hub, many at once, and writes what came of it into the
rows of the seats. Nothing else is remembered that a restart would miss.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from nvlhub.clock import SteadyClock
from nvlhub.flow.course import RunState
from nvlhub.flow.warming import Chair, Key, Step, plan
from nvlhub.portal.classroom import Answer, Found
from nvlhub.registry.joining import Joining
from nvlhub.registry.teaching import times_of
from nvlhub.store import Store, Unit

logger = logging.getLogger(__name__)

EVERY, SOON = 5.0, 1.0
"""Seconds between two turns, and while something is being done."""
SHORTEST = 0.2
"""Seconds between two turns at least, however much happens: what happens meanwhile is written together."""
ROSTERS = 15
"""Seconds between two looks whether somebody on a roster can be seated."""
SETTLING = 60
"""Seconds after its start in which what moves at a server is the hub's doing, not its user's."""
LONGEST = 200
"""Signs of a reason that are kept."""


class Rooms(Protocol):
    """What is asked of the hub; :class:`nvlhub.portal.classroom.Classroom`."""

    def start(self, user: str, run: int, title: str) -> Answer:
        """Start a server."""

    def look(self, user: str, run: int) -> Answer:
        """Tell how one stands."""

    def stop(self, user: str, run: int, *, remove: bool = False) -> Answer:
        """Stop one."""


class Warming:
    """The loop that tends the servers of seats."""

    def __init__(self, store: Store, clock: SteadyClock, rooms: Rooms, joining: Joining, together: int = 50) -> None:
        """`together`: servers that are being started at once."""
        self._store = store
        self._clock = clock
        self._rooms = rooms
        self._joining = joining
        self._together = together
        self._busy: dict[Key, tuple[Step, Chair, Future[Answer]]] = {}
        self._looked: dict[Key, int] = {}
        self._rosters: dict[int, int] = {}
        self._not_before = 0
        self._wanted = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None
        self._pool: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._loop, name="warming", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; what the hub was asked for goes on, and the next portal finds it."""
        self._ended = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        """Have the next turn come at once: somebody was seated."""
        self._wanted.set()

    def _loop(self) -> None:
        while not self._ended:
            self._wanted.clear()
            began = time.monotonic()
            try:
                self.turn()
            except Exception:
                logger.exception("the servers of classes could not be tended; trying again")
            self._wanted.wait(SOON if self._busy else EVERY)
            if not self._ended:
                time.sleep(max(0.0, began + SHORTEST - time.monotonic()))

    # --- one turn ---------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Write what came of what was asked, look where seats stand, and ask for what is to be done."""
        now = self._clock.now()
        done = {key: told for key, told in self._busy.items() if told[2].done()}
        if done:
            with self._store.writing() as unit:
                for found, chair, answer in done.values():
                    self._write(unit, found, chair, answer.result(), now)
            for key in done:
                del self._busy[key]
        self._seat_rosters(now)
        with self._store.reading() as unit:
            chairs = [chair_of(row) for row in unit.seats_to_tend(now)]
        room = self._together if now >= self._not_before else 0
        steps = plan(chairs, now, busy=self._busy.keys(), room=room, looked=self._looked)
        starts = [chair for found, chair in steps if found is Step.START]
        if starts:
            with self._store.writing() as unit:
                mine = {
                    chair.key
                    for chair in starts
                    if unit.change_seat_of(*chair.key, chair.user, warm_at=now, failed="", ready_at=None)
                }
            steps = [(found, chair) for found, chair in steps if found is not Step.START or chair.key in mine]
        for found, chair in steps:
            self._looked[chair.key] = now
            self._ask(found, chair)
        known = {chair.key for chair in chairs}
        self._looked = {key: at for key, at in self._looked.items() if key in known}

    def _ask(self, found: Step, chair: Chair) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._together + 4, "classroom")
        does: dict[Step, Callable[[], Answer]] = {
            Step.START: lambda: self._rooms.start(chair.user, chair.run, chair.title),
            Step.LOOK: lambda: self._rooms.look(chair.user, chair.run),
            Step.FREE: lambda: self._leave(chair),
            Step.CLEAR: lambda: self._rooms.stop(chair.user, chair.run, remove=True),
        }
        future = self._pool.submit(does[found])
        self._busy[chair.key] = (found, chair, future)
        future.add_done_callback(lambda _: self._wanted.set())

    def _leave(self, chair: Chair) -> Answer:
        """Stop the server of somebody who did not come; tell when they were at it after all."""
        if chair.warm_at is None:
            return Answer(Found.STOPPED)
        known = self._rooms.look(chair.user, chair.run)
        if known.found is Found.AWAY or _moved(chair, known):
            return known
        return self._rooms.stop(chair.user, chair.run, remove=True)

    def _write(self, unit: Unit, found: Step, chair: Chair, answer: Answer, now: int) -> None:
        if answer.found is Found.BUSY:
            self._not_before = max(self._not_before, now + answer.wait)
        if found is Step.FREE and answer.found in {Found.STOPPED, Found.PENDING} and not _moved(chair, answer):
            if unit.free_seat(*chair.key, chair.user):
                logger.info("seat %s of run %s is free again: nobody came", chair.number, chair.run)
            return
        values = _values(found, chair, answer, now)
        if values:
            unit.change_seat_of(*chair.key, chair.user, **values)

    def _seat_rosters(self, now: int) -> None:
        """Seat those on rosters whom the portal knows, so that their servers run before they come."""
        with self._store.reading() as unit:
            runs = [run for run in unit.runs_warming(now) if now - self._rosters.get(run, 0) >= ROSTERS]
        for run in runs:
            self._rosters[run] = now
            self._joining.seat_roster(run, now)


def _moved(chair: Chair, answer: Answer) -> bool:
    """Tell whether a server was used since it runs."""
    return bool(answer.active_at and chair.ready_at and answer.active_at > chair.ready_at + SETTLING)


def _values(found: Step, chair: Chair, answer: Answer, now: int) -> dict[str, Any]:
    """Return what an answer of the hub changes of a seat."""
    if found is Step.CLEAR:
        return {"warm_at": None, "ready_at": None} if answer.found is Found.STOPPED else {}
    seen = (
        {"seen_at": answer.active_at}
        if _moved(chair, answer) and (answer.active_at or 0) > (chair.seen_at or 0)
        else {}
    )
    if answer.found is Found.READY:
        return seen if chair.ready_at is not None else {"ready_at": now, "failed": "", "tries": 0}
    if answer.found in {Found.BUSY, Found.AWAY}:
        # It was not asked for: nobody's fault, and no try.
        return {"warm_at": None} if found is Step.START else {}
    if answer.found is Found.STOPPED and chair.ready_at is not None:
        # It ran and was stopped: by its user, by an instructor who wants a new one, by the hub.
        return {"warm_at": None, "ready_at": None}
    if answer.found in {Found.FAILED, Found.STOPPED}:
        return {"failed": (answer.reason or "stopped")[:LONGEST], "tries": chair.tries + 1, "warm_at": now}
    return {}


def chair_of(row: dict[str, Any]) -> Chair:
    """Return what a row of :meth:`nvlhub.store.Unit.seats_to_tend` stands for."""
    return Chair(
        row["run"], row["number"], row["user"], row["title"], RunState(row["state"]), times_of(row), row["extra"],
        row["warm_at"], row["ready_at"], row["seen_at"], row["failed"], row["tries"],
    )  # fmt: skip
