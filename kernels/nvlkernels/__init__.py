"""The notebook side of nvlhub: kernels that hold a lease while they live.

The names load when they are used: the node agent is started with every kernel and needs none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nvlkernels.cluster import Cluster
    from nvlkernels.own import devices, frames, lease, simulated
    from nvlkernels.telemetry import usage

__all__ = ["Cluster", "devices", "frames", "lease", "simulated", "usage"]

_HOMES = {"Cluster": "nvlkernels.cluster", "usage": "nvlkernels.telemetry"}


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module  # noqa: PLC0415

        module = import_module(_HOMES.get(name, "nvlkernels.own"))
        globals()[name] = getattr(module, name)
        return globals()[name]
    raise AttributeError(name)
