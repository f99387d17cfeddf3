"""An engine that runs nothing and follows a script: for tests, drills and demonstrations.

    engine = ScriptedEngine(SimulatedFloor(1), {"*": Script(pending=2, then=Sight.BROKEN, runs=5)})

A script is looked up by the user of the task, then by ``*``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from nvlhub.engines.base import Engine, EngineError, Handle, Sight, Sighting, Task
from nvlhub.engines.floor import Floor, devices
from nvlhub.flow.placement import Domain, Placement
from nvlhub.flow.queue import Running, Wait
from nvlhub.flow.reconciliation import Record


@dataclass(frozen=True)
class Script:
    """What becomes of a task. Counted in looks."""

    refuses: str = ""
    """Why it cannot be started at all; empty: it can."""
    pending: int = 0
    """Looks during which the engine has it queued."""
    wait: Wait | None = None
    """What it says of that."""
    still: Wait | None = None
    """Why it stands still while it runs."""
    runs: int | None = None
    """Looks during which it runs; None: until it is stopped."""
    then: Sight = Sight.GONE
    """What is seen after that."""
    ending: int = 0
    """Looks that it survives a stop."""
    extra: int = 0
    """Seconds that its record has too many; negative: too few."""
    unrecorded: bool = False
    """Whether its record gets lost."""
    stranger: str = ""
    """Under this id a second record appears; empty: none does."""

    def told(self, record: Record) -> list[Record]:
        """Return what the records say of a run that has ended."""
        end = max(record.started_at, (record.ended_at or record.started_at) + self.extra)
        own = [] if self.unrecorded else [replace(record, ended_at=end)]
        return own + ([replace(record, lease_id=self.stranger)] if self.stranger else [])


@dataclass
class _Played:
    script: Script
    gpus: int
    looks: int = 0
    stopped: bool = False
    after: int = 0


@dataclass
class ScriptedEngine(Engine):
    """Follows scripts. What it plays lives outside the portal's memory, as real tasks do: keep the object."""

    floor: Floor
    scripts: Mapping[str, Script] = field(default_factory=dict)
    name: str = "scripted"
    played: dict[str, _Played] = field(default_factory=dict)
    now: Callable[[], float] = time.time
    """The clock of its records."""
    running: dict[str, tuple[Script, Record]] = field(default_factory=dict)
    ended: list[Record] = field(default_factory=list)
    outside: tuple[Running, ...] = ()
    """What strangers hold."""
    away: bool = False

    def __post_init__(self) -> None:
        self.simulated = self.floor.simulated
        self.gpu_model = self.floor.gpu_model

    def capacity(self) -> tuple[Domain, ...]:
        """Return the domains of the floor."""
        return self.floor.domains()

    def others(self) -> tuple[Running, ...]:
        """Return what strangers hold."""
        return self.outside

    def devices(self, placement: Placement) -> tuple[str, ...]:
        """Return device names."""
        return devices(self.floor, placement)

    def start(self, task: Task) -> Iterator[Handle]:
        """Begin a script."""
        script = self.scripts.get(task.user) or self.scripts.get("*") or Script()
        yield {"part": task.lease_id}
        if script.refuses:
            raise EngineError(script.refuses)
        self.played[task.lease_id] = _Played(script, sum(len(share.gpus) for share in task.placement))
        yield {"part": task.lease_id, "whole": True}

    def look(self, tasks: Mapping[str, Handle]) -> Mapping[str, Sighting]:
        """Go on by one look in every script; nothing is seen of any while the engine is away."""
        if self.away:
            return dict.fromkeys(tasks, Sighting(Sight.UNKNOWN))
        return {lease_id: self._seen(lease_id) for lease_id in tasks}

    def _seen(self, lease_id: str) -> Sighting:
        sight = self._recorded(lease_id)
        if sight not in {Sight.PENDING, Sight.RUNNING}:
            return Sighting(sight)
        script = self.played[lease_id].script
        return Sighting(sight, wait=script.wait if sight is Sight.PENDING else script.still)

    def _recorded(self, lease_id: str) -> Sight:
        sight, now = self._sight(lease_id), int(self.now())
        if sight is not Sight.RUNNING:
            script, record = self.running.pop(lease_id, (None, None))
            if script is not None and record is not None:
                self.ended.extend(script.told(replace(record, ended_at=now)))
        elif lease_id not in self.running:
            played = self.played[lease_id]
            self.running[lease_id] = (played.script, Record(lease_id, played.gpus, now, None))
        return sight

    def _sight(self, lease_id: str) -> Sight:
        played = self.played.get(lease_id)
        if played is None:
            return Sight.GONE
        if played.stopped:
            played.after += 1
            if played.after > played.script.ending:
                del self.played[lease_id]
                return Sight.GONE
            return Sight.RUNNING
        played.looks += 1
        if played.looks <= played.script.pending:
            return Sight.PENDING
        runs = played.script.runs
        if runs is not None and played.looks > played.script.pending + runs:
            if played.script.then is Sight.GONE:
                del self.played[lease_id]
            return played.script.then
        return Sight.RUNNING

    def extend(self, lease_id: str, handle: Handle, seconds: int) -> None:
        """Nothing here ends by a time limit."""

    def stop(self, lease_id: str, handle: Handle) -> None:
        """End a script."""
        if lease_id in self.played:
            self.played[lease_id].stopped = True

    def strays(self, known: frozenset[str]) -> frozenset[str]:
        """Return what is played without a lease."""
        return frozenset(self.played) - known

    def records(self, since: int) -> list[Record]:
        """Return what was played, as far as the scripts tell the truth; the copies make it safe in any thread."""
        running = [record for script, record in list(self.running.values()) if not script.unrecorded]
        return [record for record in list(self.ended) if (record.ended_at or 0) >= since] + running
