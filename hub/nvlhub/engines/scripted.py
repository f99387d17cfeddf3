"""An engine that runs nothing and follows a script: for tests, drills and demonstrations.

    engine = ScriptedEngine(SimulatedFloor(1), {"*": Script(pending=2, then=Sight.BROKEN, runs=5)})

A script is looked up by the user of the task, then by ``*``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from nvlhub.engines.base import EngineError, Handle, Sight, Sighting, Task
from nvlhub.engines.floor import Floor, devices
from nvlhub.flow.placement import Domain, Placement


@dataclass(frozen=True)
class Script:
    """What becomes of a task. Counted in looks."""

    refuses: str = ""
    """Why it cannot be started at all; empty: it can."""
    pending: int = 0
    """Looks during which the engine has it queued."""
    runs: int | None = None
    """Looks during which it runs; None: until it is stopped."""
    then: Sight = Sight.GONE
    """What is seen after that."""
    ending: int = 0
    """Looks that it survives a stop."""


@dataclass
class _Played:
    script: Script
    looks: int = 0
    stopped: bool = False
    after: int = 0


@dataclass
class ScriptedEngine:
    """Follows scripts. What it plays lives outside the portal's memory, as real tasks do: keep the object."""

    floor: Floor
    scripts: Mapping[str, Script] = field(default_factory=dict)
    name: str = "scripted"
    played: dict[str, _Played] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        """Whether the GPUs are simulated."""
        return self.floor.simulated

    @property
    def gpu_model(self) -> str:
        """The model of the floor's GPUs."""
        return self.floor.gpu_model

    def capacity(self) -> tuple[Domain, ...]:
        """Return the domains of the floor."""
        return self.floor.domains()

    def devices(self, placement: Placement) -> tuple[str, ...]:
        """Return device names."""
        return devices(self.floor, placement)

    def start(self, task: Task) -> Iterator[Handle]:
        """Begin a script."""
        script = self.scripts.get(task.user) or self.scripts.get("*") or Script()
        yield {"part": task.lease_id}
        if script.refuses:
            raise EngineError(script.refuses)
        self.played[task.lease_id] = _Played(script)
        yield {"part": task.lease_id, "whole": True}

    def look(self, tasks: Mapping[str, Handle]) -> Mapping[str, Sighting]:
        """Go on by one look in every script."""
        return {lease_id: Sighting(self._sight(lease_id)) for lease_id in tasks}

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

    def stop(self, lease_id: str, handle: Handle) -> None:
        """End a script."""
        if lease_id in self.played:
            self.played[lease_id].stopped = True

    def strays(self, known: frozenset[str]) -> frozenset[str]:
        """Return what is played without a lease."""
        return frozenset(self.played) - known
