"""Faults at named points: where a portal can die, or the database or the engine fail under it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from nvlhub.engines.base import EngineError, Handle, Sighting, Task
from nvlhub.engines.scripted import ScriptedEngine
from nvlhub.store import Store, Unit

POINTS = (
    "before a unit", "before its commit", "after its commit", "before a read", "before a start", "within a start",
    "after a start", "before a look", "before a stop", "after a stop",
)  # fmt: skip


class Crash(BaseException):
    """The portal dies: nothing catches it."""


class StumbleError(Exception):
    """What the portal calls fails; the portal lives on."""


@dataclass(frozen=True)
class Fault:
    """Breaks off when `point` is reached for the `nth` time; an empty point never is."""

    point: str = ""
    nth: int = 1
    kind: type[BaseException] = Crash


class Faults:
    """The fault that is to come, and whether it came."""

    def __init__(self) -> None:
        self.arm(Fault())

    def arm(self, fault: Fault) -> None:
        """Have `fault` come, from now on."""
        self.hit = False
        self.commits = 0
        """Units saved until it came."""
        self.reached: Counter[str] = Counter()
        self._fault = fault

    def reach(self, point: str) -> None:
        self.reached[point] += 1
        if (point, self.reached[point]) == (self._fault.point, self._fault.nth):
            self.hit = True
            raise self._fault.kind(point)

    def committed(self) -> None:
        self.commits += not self.hit


class FaultyStore(Store):
    """A store that breaks off."""

    def __init__(self, url: str, faults: Faults) -> None:
        super().__init__(url)
        self._faults = faults
        if url.startswith("sqlite"):
            # No power fails here: nothing needs to reach the disk.
            sa.event.listen(self._engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))

    @contextmanager
    def writing(self) -> Iterator[Unit]:
        self._faults.reach("before a unit")
        with super().writing() as unit:
            yield unit
            self._faults.reach("before its commit")
        self._faults.committed()
        self._faults.reach("after its commit")

    @contextmanager
    def reading(self) -> Iterator[Unit]:
        self._faults.reach("before a read")
        with super().reading() as unit:
            yield unit


class FaultyEngine(ScriptedEngine):
    """A scripted engine that breaks off, and that refuses the next start when told."""

    faults: Faults
    refuses_next = False
    refused = ""
    """The lease that was refused last."""

    def start(self, task: Task) -> Iterator[Handle]:
        self.faults.reach("before a start")
        if self.refuses_next:
            self.refuses_next, self.refused = False, task.lease_id
            raise EngineError("the node is on fire")
        for handle in super().start(task):
            self.faults.reach("after a start" if "whole" in handle else "within a start")
            yield handle

    def look(self, tasks: Mapping[str, Handle]) -> Mapping[str, Sighting]:
        self.faults.reach("before a look")
        return super().look(tasks)

    def stop(self, lease_id: str, handle: Handle) -> None:
        self.faults.reach("before a stop")
        super().stop(lease_id, handle)
        self.faults.reach("after a stop")
