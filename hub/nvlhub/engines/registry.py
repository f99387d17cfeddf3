"""Settings -> the engine they name."""

from __future__ import annotations

from nvlhub.engines.base import Engine, EngineError
from nvlhub.engines.floor import Floor, MachineFloor, SimulatedFloor
from nvlhub.engines.local import LocalEngine
from nvlhub.engines.scripted import ScriptedEngine
from nvlhub.engines.slurm.commands import Commands
from nvlhub.engines.slurm.engine import SlurmEngine
from nvlhub.engines.slurm.job import Site
from nvlhub.settings import Settings, SettingsError
from nvlhub.text import has, say

ENGINES = ("local", "scripted", "slurm")


def make_engine(settings: Settings) -> Engine:
    """Return the engine that `settings` name. Raises `SettingsError` listing the names there are."""
    match settings.engine:
        case "local":
            return LocalEngine(
                _floor(settings), settings.tasks or settings.data / "tasks", python=settings.kernel_python, bind=settings.bind,
                grace=settings.grace, as_user=settings.run_as == "user", accounting=settings.data / "accounting.jsonl",
            )  # fmt: skip
        case "scripted":
            return ScriptedEngine(_floor(settings))
        case "slurm":
            return _slurm(settings)
        case other:
            raise SettingsError(f"setting `engine`: there is no {other!r}; there are {', '.join(ENGINES)}")


def _floor(settings: Settings) -> Floor:
    if settings.simulate:
        return SimulatedFloor(settings.simulate, settings.trays, settings.gpu_model)
    return MachineFloor()


def _slurm(settings: Settings) -> Engine:
    told = settings.slurm
    as_user = settings.run_as == "user"
    commands = Commands(told.conf, told.bin, told.timeout, told.run, as_user=as_user)
    site = Site(
        settings.pool, told.partition, told.account, told.qos, told.gres, told.feature, told.pin, told.options,
        low_account=told.low_account, reservations=told.reservations, python=settings.kernel_python, grace=settings.grace, simulated=told.simulated,
    )  # fmt: skip
    try:
        return SlurmEngine(commands, site, model=settings.gpu_model)
    except EngineError as error:
        why = say(str(error)) if has(str(error)) else str(error)
        raise SettingsError(f"engine `slurm`: {why}") from None
