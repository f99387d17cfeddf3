"""An engine whose tasks are files: they outlive the portal, as real tasks do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from nvlhub.engines.base import Engine, Handle, Sight, Sighting, Task
from nvlhub.engines.floor import SimulatedFloor, devices
from nvlhub.flow.placement import Domain, Placement


class FileEngine(Engine):
    """A task runs while its file is there. `started` is called when it is, before anybody knows."""

    name = "files"
    simulated = True
    gpu_model = "GB300"

    def __init__(self, floor: SimulatedFloor, tasks: Path, started: Callable[[], None]) -> None:
        self._floor = floor
        self._tasks = tasks
        self._started = started

    def capacity(self) -> tuple[Domain, ...]:
        return self._floor.domains()

    def devices(self, placement: Placement) -> tuple[str, ...]:
        return devices(self._floor, placement)

    def start(self, task: Task) -> Iterator[Handle]:
        yield {"whole": False}
        (self._tasks / task.lease_id).touch()
        self._started()
        yield {"whole": True}

    def look(self, tasks: Mapping[str, Handle]) -> Mapping[str, Sighting]:
        there = {file.name for file in self._tasks.iterdir()}
        return {lease_id: Sighting(Sight.RUNNING if lease_id in there else Sight.GONE) for lease_id in tasks}

    def stop(self, lease_id: str, handle: Handle) -> None:
        (self._tasks / lease_id).unlink(missing_ok=True)

    def strays(self, known: frozenset[str]) -> frozenset[str]:
        return frozenset(file.name for file in self._tasks.iterdir()) - known
