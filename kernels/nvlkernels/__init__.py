"""The notebook side of nvlhub: kernels that hold a lease while they live.

The names load when they are used: the node agent is started with every kernel and needs none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nvlkernels.own import devices, frames, lease, simulated

__all__ = ["devices", "frames", "lease", "simulated"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module  # noqa: PLC0415

        module = import_module("nvlkernels.own")
        globals().update({public: getattr(module, public) for public in __all__})
        return globals()[name]
    raise AttributeError(name)
