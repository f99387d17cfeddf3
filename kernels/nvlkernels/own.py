"""What a kernel knows of its own lease.

import nvlkernels
nvlkernels.lease()                      # shown as a table in a notebook
nvlkernels.lease().extend(minutes=60)
nvlkernels.devices()                    # ("GPU-…",) or ("SIM-…",)
"""

from __future__ import annotations

import html
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nvlhub.text import say
from nvlhub.wire import LeaseView, gpu_hours
from nvlkernels.client import call, spoken
from nvlkernels.cluster_view import time_left

MOST_MINUTES = 30 * 24 * 60
"""That can be asked for at once."""


@dataclass(frozen=True)
class Held:
    """A lease as this kernel sees it; a frozen moment: call :func:`lease` again for a new one."""

    view: LeaseView | None
    lang: str = "en"

    @property
    def id(self) -> str:
        """The lease's id; empty without one."""
        return self.view.id if self.view else ""

    @property
    def gpus(self) -> int:
        """GPUs held; 0 on a CPU kernel."""
        return self.view.gpus if self.view else 0

    @property
    def seconds_left(self) -> int:
        """Seconds until the deadline, by the portal's clock."""
        return max(0, self.view.deadline - self.view.now) if self.view and self.view.deadline else 0

    @property
    def price(self) -> float:
        """GPU-hours charged per hour."""
        return self.view.price_milli / 1000 if self.view else 0.0

    def extend(self, *, minutes: int) -> Held:
        """Pay for more time.

        Raises `ValueError` for minutes that are none, and `PortalError` with the reason when balance, award or profile do
        not allow it.
        """
        if not isinstance(minutes, int | float) or isinstance(minutes, bool) or not 1 <= minutes <= MOST_MINUTES:
            raise ValueError(say("extend-minutes", self.lang, most=str(MOST_MINUTES), given=repr(minutes)[:40]))
        if self.view is None:
            return self
        longer = call("POST", f"/leases/{self.id}/extend", json={"seconds": int(minutes * 60)})
        return Held(LeaseView(**longer), self.lang)

    def facts(self) -> dict[str, str]:
        """Return what a reader wants to know, as words."""
        if self.view is None:
            return {}
        view = self.view
        trays = ", ".join(
            f"{share.domain}/tray {share.tray} (GPU {', '.join(map(str, share.gpus))})" for share in view.placement
        )
        names = ("lease", "state", "gpus", "placement", "devices", "project", "profile", "left", "price", "hold")
        values = (
            view.id, say(f"state-{view.state.value}", self.lang), str(view.gpus), trays, ", ".join(view.devices), view.project, view.profile,
            time_left(self.seconds_left, self.lang) + (f" ({datetime.fromtimestamp(view.deadline, UTC).astimezone():%H:%M})" if view.deadline else ""),
            say("cluster-price", self.lang, price=f"{self.price:g}"), f"{gpu_hours(view.held)} GPU-h",
        )  # fmt: skip
        return dict(zip((say(f"lease-row-{name}", self.lang) for name in names), values, strict=True))

    def _notes(self) -> list[str]:
        if self.view is None:
            return [say("lease-none", self.lang)]
        return [say("lease-simulated", self.lang)] if self.view.simulated else []

    def __repr__(self) -> str:
        lines = [f"{name:12} {value}" for name, value in self.facts().items()]
        return "\n".join([*lines, *(f"({note})" for note in self._notes())])

    def _repr_html_(self) -> str:
        cell = '<td style="text-align:left">{}</td>'
        rows = "".join(
            f'<tr><th style="text-align:left">{html.escape(name)}</th>{cell.format(html.escape(value))}</tr>'
            for name, value in self.facts().items()
        )
        notes = "".join(f"<p><em>{html.escape(note)}</em></p>" for note in self._notes())
        return f"<table>{rows}</table>{notes}"


def lease() -> Held:
    """Return the lease of this kernel; on a CPU kernel one that says so.

    Raises `PortalDownError` or `PortalError` with words for the user.
    """
    lang = spoken()
    lease_id = os.environ.get("NVLHUB_LEASE")
    return Held(LeaseView(**call("GET", f"/leases/{lease_id}")) if lease_id else None, lang)


def devices() -> tuple[str, ...]:
    """Return the GPUs of this kernel: UUIDs, or names starting with ``SIM-``; empty on a CPU kernel."""
    return tuple(name for name in os.environ.get("NVLHUB_DEVICES", "").split(",") if name)


def simulated() -> bool:
    """Tell whether the GPUs of this kernel exist in name only."""
    return os.environ.get("NVLHUB_SIMULATED") == "1"


def frames() -> Any:
    """Return the dataframe library of this kernel: cuDF on real GPUs where it is installed, else pandas."""
    if os.environ.get("DASK_DATAFRAME__BACKEND") == "cudf":
        import cudf  # noqa: PLC0415  # only where there is a GPU

        return cudf
    import pandas as pd  # noqa: PLC0415  # slow to import, and not needed by everyone

    return pd
