"""Views of allocation and usage for notebooks.

The names load when they are used: importing this package costs nothing, and what a notebook needs never needs Panel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nvlwidgets.allocation_card import AllocationCard
    from nvlwidgets.gpu_now import GpuNow
    from nvlwidgets.lease_bar import LeaseBar
    from nvlwidgets.start_estimate import StartEstimate
    from nvlwidgets.usage_strip import UsageStrip

__all__ = ["AllocationCard", "FleetMini", "GpuNow", "LeaseBar", "StartEstimate", "UsageStrip"]

_HOMES = {
    "AllocationCard": "nvlwidgets.allocation_card",
    "FleetMini": "nvlwidgets.fleet_mini",
    "GpuNow": "nvlwidgets.gpu_now",
    "LeaseBar": "nvlwidgets.lease_bar",
    "StartEstimate": "nvlwidgets.start_estimate",
    "UsageStrip": "nvlwidgets.usage_strip",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module  # noqa: PLC0415  # only what is used

        globals()[name] = getattr(import_module(_HOMES[name]), name)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
