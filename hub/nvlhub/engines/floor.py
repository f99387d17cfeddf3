"""What GPUs there are: those of this machine, or simulated domains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from nvlhub.flow.placement import GPUS_PER_TRAY, Domain, Placement, Tray


class Floor(Protocol):
    """Domains with their trays and GPUs, and what each GPU is called."""

    @property
    def simulated(self) -> bool:
        """Whether the GPUs exist in name only."""
        ...

    @property
    def gpu_model(self) -> str:
        """What the GPUs are."""
        ...

    def domains(self) -> tuple[Domain, ...]:
        """Return all domains, every GPU free."""
        ...

    def device(self, domain: str, tray: int, gpu: int) -> str:
        """Return the name by which CUDA (or a reader) knows a GPU."""
        ...


def devices(floor: Floor, placement: Placement) -> tuple[str, ...]:
    """Return the device names of a placement in its order."""
    return tuple(floor.device(share.domain, share.tray, gpu) for share in placement for gpu in share.gpus)


@dataclass(frozen=True)
class SimulatedFloor:
    """`count` domains of `trays` trays of 4 GPUs that exist in name only."""

    count: int
    trays: int = 18
    gpu_model: str = "GB300"
    simulated: bool = True

    def domains(self) -> tuple[Domain, ...]:
        """Return domains ``nvl001``, ``nvl002`` and so on."""
        full = frozenset(range(GPUS_PER_TRAY))
        trays = tuple(Tray(index, full) for index in range(1, self.trays + 1))
        return tuple(Domain(f"nvl{number:03}", trays) for number in range(1, self.count + 1))

    def device(self, domain: str, tray: int, gpu: int) -> str:
        """Return e.g. ``SIM-nvl001-t01-g0``: nobody takes it for a GPU."""
        return f"SIM-{domain}-t{tray:02}-g{gpu}"


class MachineFloor:
    """The GPUs of this machine by NVML: one domain, trays of 4 in the order of their index.

    Without a driver or a GPU there are no domains, and CPU kernels alone can be started.
    """

    simulated = False
    DOMAIN = "local"

    def __init__(self) -> None:
        self._uuids, self.gpu_model = _by_nvml()

    def domains(self) -> tuple[Domain, ...]:
        """Return one domain, or none."""
        sizes = [len(self._uuids[start : start + GPUS_PER_TRAY]) for start in range(0, len(self._uuids), GPUS_PER_TRAY)]
        trays = tuple(Tray(index, frozenset(range(size)), size) for index, size in enumerate(sizes, start=1))
        return (Domain(self.DOMAIN, trays),) if trays else ()

    def device(self, domain: str, tray: int, gpu: int) -> str:
        """Return the GPU's UUID: unlike an index it means the same GPU everywhere."""
        return self._uuids[(tray - 1) * GPUS_PER_TRAY + gpu]


def _by_nvml() -> tuple[tuple[str, ...], str]:
    import pynvml  # noqa: PLC0415  # loads the driver's library: only where real GPUs are asked for

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return (), "no GPU"
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        uuids = tuple(str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles)
        model = str(pynvml.nvmlDeviceGetName(handles[0])) if handles else "no GPU"
    finally:
        pynvml.nvmlShutdown()
    return uuids, model
