"""The one loop: event -> ``lease.advance`` -> effect -> engine -> event.

    inbox   what people and heartbeats say, from any thread
    look    what the engine sees of all tasks, in one call
    board   what everybody may read: the floor, the queue, who holds what (a frozen snapshot)

Every move is saved before its effect is carried out, so a restart loads the rows and takes the next step. One
thread drives all leases; nothing else changes a lease.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace

from nvlhub.board import Board, held_by, keepers_of, running_of, waiting_of, yields
from nvlhub.clock import SteadyClock
from nvlhub.engines.base import AwayError, Engine, EngineError, Handle, Sight, Sighting, Task
from nvlhub.errors import ConflictError, FailedError, NvlhubError
from nvlhub.flow import lease as states
from nvlhub.flow.displacement import displaced
from nvlhub.flow.lease import (
    Effect,
    End,
    Event,
    Extended,
    Gone,
    Launched,
    Lease,
    Placed,
    Saved,
    Warned,
    advance,
)
from nvlhub.flow.metering import due, kept_until
from nvlhub.flow.placement import Domain, Placement, given_back, without
from nvlhub.flow.preemption import Tenant, make_room
from nvlhub.flow.queue import Outlook, Rule, Running, Wait, Waiting, order, plan
from nvlhub.flow.reservation import Kept, keep
from nvlhub.flow.settlement import extend_postings, settle_postings
from nvlhub.housekeeping import end_over_slots, note_capacity, return_over_awards
from nvlhub.logs import about
from nvlhub.observer import SILENT, Observer
from nvlhub.sightings import Move, as_gone, happened, read_back, unplaced
from nvlhub.store import Store, Unit
from nvlhub.versions import Versions
from nvlhub.wire import EndReason, State

logger = logging.getLogger(__name__)

ENDING_TICK = 0.15
"""Seconds between two looks at the engine while something ends."""
_NOT_SEEN_RUNNING = frozenset({Sight.PENDING, Sight.GONE})
FLUSH_EVERY = 10
"""Seconds between two savings of heartbeats: after a restart silence counts from the restart, so losing some is
harmless."""


def _advanced(lease: Lease, events: tuple[Event, ...]) -> tuple[Lease, Effect | None]:
    """Advance a lease by what happened to it; what follows is what follows from the last event."""
    effect = None
    for event in events:
        lease, effect = advance(lease, event)
    return lease, effect


def _elsewhere(before: Lease, after: Lease) -> bool:
    """Tell whether a lease that had GPUs has others now."""
    return bool(before.placement) and after.active and after.placement != before.placement


@dataclass(frozen=True, slots=True)
class _Said:
    """Something said to the loop: leases that the desk has just saved as held, or an event of one."""

    lease: tuple[Lease, ...] | str
    event: Event | None
    actor: str
    answer: Future[Lease]


class Runner:
    """Drives leases from where they stand to where they should be.

    :meth:`step` is one turn and can be called by hand in tests; :meth:`start` calls it from a thread of its own,
    whenever something was said, and every `tick` seconds.
    """

    def __init__(
        self, store: Store, engine: Engine, clock: SteadyClock, pool: str, *, grace: int, tick: float, sweep: int,
        observer: Observer = SILENT, preempt_notice: int = 120,
    ) -> None:  # fmt: skip
        self._store = store
        self._versions = Versions(store)
        self._engine = engine
        self._clock = clock
        self._pool = pool
        self._grace = grace
        self._tick = tick
        self._sweep = sweep
        self._observer = observer
        self._notice = preempt_notice
        self._inbox: queue.SimpleQueue[_Said | None] = queue.SimpleQueue()
        self._beats: dict[str, tuple[int, int]] = {}
        self._unsaved: dict[str, tuple[int, int]] = {}
        self._flushed = 0
        self._looked = float("-inf")
        self._ticked = float("-inf")
        self._swept = float("-inf")
        self._counted = float("-inf")
        self._crowded = True
        self._doubtful: set[str] = set()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.listening_since = clock.now()
        with store.reading() as unit:
            self._leases = {lease.id: lease for lease in unit.active_leases()}
        self._waiting = {lease.id for lease in self._leases.values() if lease.state is State.HELD}
        self._ending = {lease.id for lease in self._leases.values() if lease.state is State.ENDING}
        # Those whose tasks are stopped because they cannot start where they were placed.
        self._moving: set[str] = set()
        self._warned = {lease.id for lease in self._leases.values() if lease.preempt_at is not None}
        self._capacity: tuple[Domain, ...] = ()
        self._domains: tuple[Domain, ...] = ()
        self._outlook: Mapping[str, Outlook] = {}
        self._rules: Mapping[str, Rule] = {}
        self._kept: tuple[Kept, ...] = ()
        self._others: tuple[Running, ...] = ()
        self._waits: Mapping[str, Wait] = {}
        self._away = engine.away
        self._closed = engine.closed
        self._queue_outside = engine.queue_outside
        # When what is kept begins or ends, or is to be cleared of those who make room; the next last.
        self._moments: list[int] = []
        # GPUs on which others make room, by the lease that waits for them.
        self._rooms: Mapping[str, Placement] = {}
        self._changed = True
        self._recount()
        self.board = self._snapshot(clock.now())

    # --- from other threads -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the loop's thread."""
        self._thread = threading.Thread(target=self._loop, name="run", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the loop's thread; tasks go on, as they do when the portal dies."""
        self._stopping = True
        self._inbox.put(None)
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None
        self._flush(self._clock.now())

    @contextmanager
    def saving(self, *lease_ids: str) -> Iterator[Unit]:
        """Return a unit that changes leases, or adds some.

        When the commit fails, nobody can tell whether it was saved: the connection may have broken after it. The
        leases do not move then before the rows have been read again.
        """
        written = False
        try:
            with self._store.writing() as unit:
                yield unit
                written = True
        except Exception:
            if written:
                self._doubtful.update(lease_ids or ("",))
            raise

    def admitted(self, *leases: Lease) -> Future[Lease]:
        """Hand over leases that were saved as held; the answer is the first of them after the first turn.

        All of them are on the board then.
        """
        answer: Future[Lease] = Future()
        self._inbox.put(_Said(leases, None, leases[0].user, answer))
        return answer

    def tell(self, lease_id: str, event: Event, actor: str) -> Future[Lease]:
        """Say that `event` happened to a lease; the answer is the lease as it is then, or why it cannot be."""
        answer: Future[Lease] = Future()
        self._inbox.put(_Said(lease_id, event, actor, answer))
        return answer

    def beat(self, lease_id: str, idle_seconds: int) -> Lease | None:
        """Take a sign of life; return the lease, or None when nothing active has that id."""
        lease = self.board.leases.get(lease_id)
        if lease is not None:
            now = self._clock.now()
            at, idle = self._beats.get(lease_id, (now, idle_seconds))
            # Of two between two turns the later one does not undo that something was done at the earlier one.
            self._beats[lease_id] = (now, min(idle_seconds, idle + max(0, now - at)))
        return lease

    def kept_until(self, lease: Lease) -> int | None:
        """Return when a running lease ends as lost if its holder stays silent; None for others."""
        return kept_until(lease, self._grace, self.listening_since) if lease.state is State.RUNNING else None

    def capacity_changed(self) -> None:
        """Have the capacity counted again at the next turn."""
        self._swept = float("-inf")
        self._inbox.put(None)

    # --- the loop ---------------------------------------------------------------------------------------------

    @property
    def _pace(self) -> float:
        """Seconds between two looks: who ends something waits for its GPUs."""
        return min(self._tick, ENDING_TICK) if self._ending else self._tick

    def _loop(self) -> None:
        while not self._stopping:
            try:
                self.step()
            except Exception:
                # Whatever it was (the database away, an engine that raises): the rows still say what to do next.
                logger.exception("a turn of the run loop failed; trying again")
                time.sleep(min(1.0, self._tick))

    def _wait(self) -> list[_Said]:
        said: list[_Said] = []
        try:
            first = self._inbox.get(timeout=max(0.0, self._looked + self._pace - time.monotonic()))
            while True:
                if first is not None:
                    said.append(first)
                first = self._inbox.get_nowait()
        except queue.Empty:
            return said

    def step(self, said: Iterable[_Said] | None = None) -> None:
        """Take one turn: hear, look, end what is due, place, start."""
        if self._doubtful:
            self._reread()
        said = self._wait() if said is None else list(said)
        begun = time.monotonic()
        now = self._clock.now()
        if begun - self._looked > self._grace / 2:
            # It stood still itself, with its machine or for its database: nobody could be heard.
            self.listening_since = now
        answers: list[tuple[Future[Lease], Lease]] = []
        try:
            answers = self._hear_all(said)
            if time.monotonic() - self._swept >= self._sweep:
                self._recount()
                self._stop_strays()
                self._end_slotless(now)
                self._guarded_house(now)
                self._swept = time.monotonic()
            elif time.monotonic() - self._counted >= self._engine.count_every:
                self._recount()
            if time.monotonic() - self._looked >= self._pace:
                self._take_beats(now)
                self._end_due(now)
                # In between only those are looked at whose GPUs somebody waits for.
                at_all = time.monotonic() - self._ticked >= self._tick
                self._look(self._leases if at_all else self._ending)
                self._ticked = time.monotonic() if at_all else self._ticked
                self._looked = time.monotonic()
            self._place(now)
            if now - self._flushed >= FLUSH_EVERY:
                self._flush(now)
        finally:
            if self._changed:
                self.board = self._snapshot(now)
            # Only now: whoever gets an answer finds the board in step with it.
            for answer, lease in answers:
                answer.set_result(self._leases.get(lease.id, lease))
            self._observer.turned(time.monotonic() - begun)

    def _reread(self) -> None:
        """Take the leases as their rows have them; of signs of life memory has the newer ones."""
        doubtful, self._doubtful = self._doubtful, set()
        try:
            with self._store.reading() as unit:
                rows = {lease.id: lease for lease in unit.active_leases()}
                over = [unit.lease(lease_id) for lease_id in self._leases if lease_id not in rows]
        except Exception:
            self._doubtful |= doubtful
            raise
        for lease in (*filter(None, over), *rows.values()):
            known = self._leases.get(lease.id, lease)
            newer = (known.beat_at or 0) > (lease.beat_at or 0)
            self._keep(replace(lease, beat_at=known.beat_at, idle_seconds=known.idle_seconds) if newer else lease)
        self._leases = {lease_id: self._leases[lease_id] for lease_id in rows}

    def _snapshot(self, now: int) -> Board:
        self._changed = False
        return Board(
            now, self._capacity, self._domains, dict(self._leases), self._outlook, self._rules, self._notice,
            self._kept, self._others, self._waits, self._away, self._closed, self._queue_outside,
        )  # fmt: skip

    def _hear_all(self, said: Sequence[_Said]) -> list[tuple[Future[Lease], Lease]]:
        """Take what was said, ends of leases together; return whom to answer, and about which lease."""
        ends: dict[str, tuple[_Said, Move]] = {}
        for entry in said:
            known = self._leases.get(entry.lease) if isinstance(entry.lease, str) else None
            if known is not None and isinstance(entry.event, End) and End in states.MOVES[known.state]:
                ends.setdefault(known.id, (entry, (known, (entry.event,))))
        ended = self._move_all([move for _, move in ends.values()])
        heard = {id(entry): ended.get(lease_id) for lease_id, (entry, _) in ends.items()}
        answers = []
        for entry in said:
            lease = heard.get(id(entry)) or self._hear(entry)
            if lease is not None:
                answers.append((entry.answer, lease))
        return answers

    def _hear(self, entry: _Said) -> Lease | None:
        """Take what was said; return the lease, or None when the refusal was answered at once."""
        if isinstance(entry.lease, tuple):
            for lease in entry.lease:
                # One that is known has been read with its row, and may have moved on since.
                if lease.id not in self._leases:
                    self._keep(lease)
            return entry.lease[0]
        known = self._leases.get(entry.lease)
        if known is None or entry.event is None:
            entry.answer.set_exception(ConflictError("lease-over", lease=entry.lease))
            return None
        try:
            if isinstance(entry.event, Extended):
                self._extend_task(known, entry.event)
            return self._move(known, entry.event, entry.actor)
        except states.IllegalMoveError:
            entry.answer.set_exception(ConflictError("lease-cannot", lease=known.id, state=known.state.value))
        except NvlhubError as error:
            entry.answer.set_exception(error)
        except Exception:
            entry.answer.set_exception(FailedError("portal-failed"))
            told = type(entry.event).__name__
            logger.exception("lease %s could not take %s", known.id, told, extra={"lease": known.id})
        return None

    def _extend_task(self, lease: Lease, event: Extended) -> None:
        """Have the engine let a task run longer, before that is paid for: a limit too far away harms nobody."""
        extended, _ = advance(lease, event)
        try:
            self._engine.extend(lease.id, lease.handle, extended.seconds)
        except EngineError as error:
            logger.warning("lease %s could not be extended: %s", lease.id, error)
            raise ConflictError("extend-away" if isinstance(error, AwayError) else "extend-engine") from error

    def _move(self, lease: Lease, event: Event, actor: str = "portal") -> Lease:
        """Advance a lease, save it, then do what follows from it."""
        return self._followed(self._saved([(lease, (event,))], actor))[lease.id]

    def _move_all(self, moves: Sequence[Move]) -> dict[str, Lease]:
        """Advance leases, save them in one transaction, then do what follows; return them as they are then.

        One that cannot go on is left out, and does not keep the others waiting.
        """
        if not moves:
            return {}
        try:
            saved = self._saved(moves)
        except Exception:
            if len(moves) > 1:
                return {lease.id: lease for move in moves for lease in self._move_all([move]).values()}
            lease, _ = moves[0]
            logger.exception("lease %s could not go on; trying again", lease.id, extra={"lease": lease.id})
            return {}
        return self._followed(saved)

    def _saved(self, moves: Sequence[Move], actor: str = "portal") -> list[tuple[Lease, Effect | None]]:
        moving = [lease.id for lease, _ in moves]
        if not self._doubtful.isdisjoint(moving):
            raise FailedError("portal-failed")
        advanced = [_advanced(lease, events) for lease, events in moves]
        last = [(moved, events[-1]) for (moved, _), (_, events) in zip(advanced, moves, strict=True)]
        anew = [moved for (lease, _), (moved, _) in zip(moves, advanced, strict=True) if _elsewhere(lease, moved)]
        with self.saving(*moving) as unit:
            self._save(unit, last, actor)
            if anew:
                unit.place_anew(anew)
        if anew:
            # They change places with each other: no order of one after the other would be right.
            self._free(anew)
        for (lease, _), (moved, event) in zip(moves, last, strict=True):
            self._keep(moved)
            with about(lease.id):
                logger.info("lease %s: %s -> %s (%s)", lease.id, lease.state, moved.state, type(event).__name__)
                self._observer.moved(lease, moved)
        return advanced

    def _followed(self, saved: Sequence[tuple[Lease, Effect | None]]) -> dict[str, Lease]:
        """Do what follows from moves; placing is for the whole queue at once (_place), settling was part of the saving."""
        self._start([lease for lease, effect in saved if effect is Effect.START])
        gone = self._stop([lease for lease, effect in saved if effect is Effect.STOP])
        return {lease.id: self._leases.get(lease.id, lease) for lease, _ in saved} | gone

    def _save(self, unit: Unit, moved: Sequence[tuple[Lease, Event]], actor: str) -> None:
        now = self._clock.now()
        gone = [lease for lease, event in moved if isinstance(event, Gone)]
        placed = [lease for lease, event in moved if isinstance(event, Placed)]
        others = [lease for lease, event in moved if not isinstance(event, Gone | Placed | Extended)]
        if gone:
            written = [transaction for lease in gone for transaction in settle_postings(lease, self._grace)]
            unit.settle(gone, written, at=now, actor=actor)
        if placed:
            unit.place(placed)
        if others:
            unit.save(others)
        for lease, event in moved:
            if isinstance(event, Extended):
                unit.extend(lease, extend_postings(lease, event.units), event.units, at=now, actor=actor)

    def _start(self, leases: Sequence[Lease]) -> None:
        """Start tasks side by side: what the engine wants remembered before its next steps is saved together."""
        starting = {lease.id: self._steps(lease) for lease in leases}
        while starting:
            events: dict[str, tuple[Event, ...]] = {}
            launched: dict[str, Lease] = {}
            for lease_id, steps in starting.items():
                lease = self._leases[lease_id]
                with about(lease_id):
                    event = self._next(lease, steps)
                if isinstance(event, Launched):
                    launched[lease_id], _ = advance(lease, event)
                if event is not None:
                    events[lease_id] = (event,)
            sightings = self._sightings(launched.values())
            now = self._clock.now()
            for lease_id, lease in launched.items():
                events[lease_id] += happened(lease, sightings.get(lease_id), now, self._grace)
            moves = [(self._leases[lease_id], told) for lease_id, told in events.items()]
            moved = self._move_all(read_back(self._leases, moves, sightings))
            # Others may have moved along: those who change GPUs with these.
            saved = [lease_id for lease_id in moved.keys() & events.keys() if isinstance(events[lease_id][-1], Saved)]
            starting = {lease_id: starting[lease_id] for lease_id in saved}

    def _steps(self, lease: Lease) -> Iterator[Handle]:
        if lease.mailbox is None:
            raise EngineError("no mailbox to report to")
        profile = self._versions.get(lease.profile, lease.version)
        yield from self._engine.start(
            Task(
                lease_id=lease.id, kind=lease.kind, user=lease.user, placement=lease.placement, mailbox=lease.mailbox,
                seconds=lease.seconds, environment=profile.environment, hints=profile.hints.get(self._engine.name, {}),
                project=lease.project, domain=lease.domain if lease.pinned else "",
                preemptible=lease.preemptible, reservation=self._reservation(lease),
            )
        )  # fmt: skip

    def _reservation(self, lease: Lease) -> int | None:
        """Return the reservation that keeps the GPUs of a lease for its project."""
        now = self._clock.now()
        mine = (kept for kept in self._kept if kept.is_for(lease.project, now) and kept.touches(lease.placement))
        return next((kept.booking for kept in mine), None)

    def _next(self, lease: Lease, steps: Iterator[Handle]) -> Event | None:
        """Have the engine go on with a start; return what happened then, or None when nobody knows."""
        try:
            return Saved(next(steps))
        except StopIteration:
            return Launched(lease.handle)
        except AwayError as error:
            # It waits where it is: once the engine answers again, a look tells whether it was started.
            logger.warning("lease %s may not have been started: %s", lease.id, error)
            return None
        except EngineError as error:
            logger.warning("lease %s could not be started: %s", lease.id, error)
            return End(EndReason.ENGINE, self._clock.now(), str(error))
        except Exception:
            logger.exception("lease %s could not go on; trying again", lease.id)
            return None

    def _stop(self, leases: Sequence[Lease]) -> dict[str, Lease]:
        """End tasks; leases that never had any are gone at once and returned."""
        for lease in leases:
            if lease.placement:
                self._guarded(self._stop_task, lease, lease.handle)
        return self._move_all([(lease, (as_gone(lease, self._grace),)) for lease in leases if not lease.placement])

    def _stop_task(self, lease: Lease, handle: Handle) -> None:
        self._engine.stop(lease.id, handle)

    # --- seeing -----------------------------------------------------------------------------------------------

    def _look(self, lease_ids: Iterable[str]) -> None:
        leases = [self._leases[lease_id] for lease_id in lease_ids]
        sightings = self._sightings(lease for lease in leases if lease.state is not State.HELD)
        # The engine took its time: what it saw began in it.
        now = self._clock.now()
        self._look_around(sightings)
        self._look_for_displaced(sightings)
        moves: list[Move] = []
        unstarted: list[Lease] = []
        for lease_id, sighting in sightings.items():
            lease = self._leases[lease_id]
            moving = lease_id in self._moving
            events = (unplaced(sighting, now) if moving else ()) or happened(lease, sighting, now, self._grace)
            if moving and sighting.sight is Sight.PENDING:
                self._guarded(self._stop_task, lease, sighting.handle or lease.handle)
            if events:
                moves.append((lease, events))
            elif sighting.sight is Sight.UNKNOWN:
                continue
            elif lease.state is State.PLACED:
                # Saved as placed, and nothing was started: a portal died in between. The holder still waits.
                unstarted.append(lease)
            elif lease.state is State.ENDING:
                self._guarded(self._stop_task, lease, sighting.handle or lease.handle)
        self._move_all(read_back(self._leases, moves, sightings))
        self._start(unstarted)

    def _look_for_displaced(self, sightings: Mapping[str, Sighting]) -> None:
        """Note which tasks must be stopped because they cannot start where they were placed.

        They are remembered until that is done: their trays may be in service again by then.
        """
        seen = [lease_id for lease_id, sighting in sightings.items() if sighting.sight in _NOT_SEEN_RUNNING]
        waiting = [self._leases[lease_id] for lease_id in seen]
        waiting = [lease for lease in waiting if states.Unplaced in states.MOVES[lease.state]]
        if waiting and self._engine.to_the_tray:
            placed = [other.placement for other in self._others]
            self._moving |= displaced(waiting, self._capacity, placed)

    def _look_around(self, sightings: Mapping[str, Sighting]) -> None:
        """Note what the engine says beside what became of tasks: who else holds GPUs, why tasks wait, whether it answers."""
        waits = {
            lease_id: wait
            for lease_id, wait in self._waits.items()
            if lease_id in self._leases and lease_id not in sightings and lease_id not in self._waiting
        }
        waits |= {lease_id: sighting.wait for lease_id, sighting in sightings.items() if sighting.wait is not None}
        others = self._engine.others()
        away, closed, outside = self._engine.away, self._engine.closed, self._engine.queue_outside
        if (waits, away, closed) != (self._waits, self._away, self._closed):
            self._crowded = False
        if (waits, away, closed, outside) != (self._waits, self._away, self._closed, self._queue_outside):
            self._waits, self._away, self._closed, self._queue_outside = waits, away, closed, outside
            self._changed = True
        if others != self._others:
            self._others = others
            self._count_free()

    def _sightings(self, leases: Iterable[Lease]) -> Mapping[str, Sighting]:
        """Return what the engine sees of the tasks of leases, in one look."""
        tasks = {lease.id: lease.handle for lease in leases}
        try:
            return self._engine.look(tasks) if tasks else {}
        except Exception:
            logger.exception("the engine could not be looked at; trying again")
            return {}

    def _guarded(self, step: Callable[..., object], lease: Lease, *args: object) -> None:
        """Take a step for one lease; its failure must not keep the others waiting."""
        with about(lease.id):
            try:
                step(lease, *args)
            except Exception:
                logger.exception("lease %s could not go on; trying again", lease.id)

    def _take_beats(self, now: int) -> None:
        beats, self._beats = self._beats, {}
        for lease_id, (at, idle_seconds) in beats.items():
            lease = self._leases.get(lease_id)
            if lease is not None and states.Beaten in states.MOVES[lease.state]:
                moved, _ = advance(lease, states.Beaten(min(at, now), idle_seconds))
                self._keep(moved)
                self._unsaved[lease_id] = (at, idle_seconds)

    def _end_due(self, now: int) -> None:
        # Workers afterwards: they end with their kernel.
        for workers in (False, True):
            self._move_all([
                (lease, (event,))
                for lease in self._leases.values()
                if bool(lease.parent) is workers and (event := self._due(lease, now)) is not None
            ])  # fmt: skip

    def _due(self, lease: Lease, now: int) -> Event | None:
        if lease.state is State.ENDING and not lease.placement:
            return as_gone(lease, self._grace)
        reason = due(lease, now, self._grace, self.listening_since, self._leases.get(lease.parent))
        return None if reason is None else End(reason, now)

    # --- placing ----------------------------------------------------------------------------------------------

    def _place(self, now: int) -> None:
        while self._moments and self._moments[-1] <= now:
            self._moments.pop()
            self._crowded = False
        if self._away or self._closed or self._crowded or not (self._waiting or self._warned or self._kept):
            return
        # Nothing changes for those who wait until somebody asks, ends, extends, or the capacity changes: each of
        # these clears it again.
        self._crowded = True
        leases = self._leases.values()
        keepers = keepers_of(self._kept)
        waiting = [
            waiting_of(lease, self._notice, self._rooms.get(lease.id, ()), keepers)
            for lease in leases
            if lease.id in self._waiting
        ]
        turns = order(waiting, self._rules, held_by(leases))
        running = [running_of(lease, now, self._notice) for lease in leases if lease.placement]
        running += self._others
        decided = plan(self._domains, running, turns, now, self._kept)
        self._outlook = decided.outlook
        self._changed = True
        self._move_all([(self._leases[lease_id], (Placed(placement, now),)) for lease_id, placement in decided.starts])
        left = [lease for lease in turns if lease.id in decided.outlook]
        if left or self._warned or self._kept:
            self._make_room(left, now)

    def _make_room(self, waiting: Sequence[Waiting], now: int) -> None:
        """Warn pre-emptible leases whose GPUs others need, and those no more whose GPUs nobody needs."""
        holders = [lease for lease in self._leases.values() if lease.placement]
        yielding = [lease for lease in holders if yields(lease)]
        room = make_room(
            self._domains,
            [*(running_of(lease, now, self._notice) for lease in holders if not yields(lease)), *self._others],
            [
                Tenant(
                    lease.id, lease.placement, lease.started_at, lease.idle_seconds, lease.preempt_at is not None,
                    lease.project,
                )
                for lease in yielding
            ],
            waiting,
            now,
            self._notice,
            self._kept,
        )  # fmt: skip
        self._rooms = room.promised
        for lease in yielding:
            at = (lease.preempt_at or now + self._notice) if lease.id in room.going else None
            if at != lease.preempt_at:
                self._guarded(self._move, lease, Warned(at))
                # Room is made for so many at once only: there may be more to do.
                self._crowded = False

    def _keep(self, lease: Lease) -> None:
        """Put a lease where it belongs now, and its GPUs too."""
        before = self._leases.get(lease.id)
        had = before.placement if before else ()
        has = lease.placement if lease.active else ()
        if has != had:
            self._domains = without(given_back(self._domains, [had]), [has])
        if lease.active:
            self._leases[lease.id] = lease
        else:
            self._leases.pop(lease.id, None)
        if states.Unplaced not in states.MOVES[lease.state]:
            self._moving.discard(lease.id)
        belongs = (
            (lease.state is State.HELD, self._waiting),
            (lease.state is State.ENDING, self._ending),
            (lease.active and lease.preempt_at is not None, self._warned),
        )
        for is_one, members in belongs:
            if is_one:
                members.add(lease.id)
            else:
                members.discard(lease.id)
        if before is None or not lease.active or before.seconds != lease.seconds or lease.state is State.ENDING:
            self._crowded = False
        if not self._waiting and self._outlook:
            self._outlook = {}
        self._changed = True

    def _recount(self) -> None:
        """Count the capacity afresh, read rules and reservations; what is leased is derived from the leases."""
        self._counted = time.monotonic()
        now = self._clock.now()
        with self._store.reading() as unit:
            drained = unit.out_of_service(self._pool)
            self._rules = unit.rules()
            bookings = unit.bookings(self._pool, now)
        self._capacity = tuple(
            replace(
                domain,
                trays=tuple(
                    replace(tray, in_service=tray.in_service and (domain.name, tray.index) not in drained)
                    for tray in domain.trays
                ),
            )
            for domain in self._engine.capacity()
        )
        self._count_free()
        self._kept = keep(bookings, self._capacity)
        moments = {moment for one in self._kept for moment in (one.starts - self._notice, one.starts, one.ends)}
        self._moments = sorted((moment for moment in moments if moment > now), reverse=True)

    def _free(self, leases: Iterable[Lease]) -> None:
        """Take the leases for what they are now, and count what nobody has."""
        self._leases |= {lease.id: lease for lease in leases}
        self._count_free()

    def _count_free(self) -> None:
        held = [lease.placement for lease in self._leases.values() if lease.placement]
        self._domains = without(self._capacity, [*held, *(other.placement for other in self._others)])
        self._crowded = False
        self._changed = True

    def _guarded_house(self, now: int) -> None:
        """Give back what is over, and write down a change of what is in service; the leases come first."""
        try:
            end_over_slots(self._store, now)
            return_over_awards(self._store, now)
            note_capacity(self._store, self._pool, self._capacity, f"engine {self._engine.name}", now)
        except Exception:
            logger.exception("awards that are over could not be given back; trying again")

    def _stop_strays(self) -> None:
        found = sorted(self._engine.strays(frozenset(self._leases)))
        for lease_id in found:
            with about(lease_id):
                logger.warning("task of lease %s runs without a lease; stopping it", lease_id)
        self._engine.stop_strays(found)

    def _end_slotless(self, now: int) -> None:
        """End the leases that nobody pays for any more: the run whose slot did is over, closed or cancelled."""
        with self._store.reading() as unit:
            over = unit.slotless_leases(now)
        ending = [lease for lease_id in over if (lease := self._leases.get(lease_id)) is not None]
        self._move_all([
            (lease, (End(EndReason.DEADLINE, now),)) for lease in ending if End in states.MOVES[lease.state]
        ])  # fmt: skip

    def _flush(self, now: int) -> None:
        if self._unsaved:
            beats, self._unsaved = self._unsaved, {}
            with self._store.writing() as unit:
                unit.beat_many([(lease_id, at, idle) for lease_id, (at, idle) in beats.items()])
        self._flushed = now
