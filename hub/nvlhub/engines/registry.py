"""Settings -> the engine they name."""

from __future__ import annotations

from nvlhub.engines.base import Engine
from nvlhub.engines.floor import Floor, MachineFloor, SimulatedFloor
from nvlhub.engines.local import LocalEngine
from nvlhub.engines.scripted import ScriptedEngine
from nvlhub.settings import Settings, SettingsError

ENGINES = ("local", "scripted")


def make_engine(settings: Settings) -> Engine:
    """Return the engine that `settings` name. Raises `SettingsError` listing the names there are."""
    floor: Floor
    if settings.simulate:
        floor = SimulatedFloor(settings.simulate, settings.trays, settings.gpu_model)
    else:
        floor = MachineFloor()
    match settings.engine:
        case "local":
            return LocalEngine(
                floor, settings.tasks or settings.data / "tasks", python=settings.kernel_python, bind=settings.bind,
                grace=settings.grace, as_user=settings.run_as == "user", accounting=settings.data / "accounting.jsonl",
            )  # fmt: skip
        case "scripted":
            return ScriptedEngine(floor)
        case other:
            raise SettingsError(f"setting `engine`: there is no {other!r}; there are {', '.join(ENGINES)}")
