"""Routes of what GPUs did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from nvlhub.api.document import MISSING
from nvlhub.api.doors import Here, Lang, LeaseId, Who, listed
from nvlhub.api.sheets import sheet
from nvlhub.forms import (
    Activity,
    ActivityAsk,
    Efficiency,
    LeaseUse,
    Listed,
    PeriodAsk,
    Savings,
    UsedAsk,
    UsedLease,
    UsedLeasesAsk,
)

router = APIRouter()
CSV: dict[str, Any] = {"text/csv": {"schema": {"type": "string"}}}
COLUMNS = (
    "lease", "user", "project", "profile", "gpus", "state", "started", "ended", "end_reason", "gpu_seconds",
    "charged_milli_gpu_seconds", "measured_gpu_seconds", "busy_gpu_seconds", "idle_gpu_seconds", "efficiency",
    "memory_peak_bytes", "measured_on",
)  # fmt: skip
"""Columns of the leases of a period as CSV. `measured_on`: ``gpu``, ``process`` where GPUs are simulated, or nothing."""


@router.get("/leases/{lease_id}/usage")
def lease_usage(here: Here, who: Who, lang: Lang, lease_id: LeaseId) -> LeaseUse:
    """Return what the GPUs of a lease did, what happened to it, and what it has cost so far."""
    return here.registry.telemetry.of_lease(who, lease_id, lang)


@router.get("/activity", responses=MISSING)
def activity(here: Here, who: Who, ask: Annotated[ActivityAsk, Query()]) -> Activity:
    """Return what was held and worked in the last hours, by quarter of an hour; the visitor's own if nothing is said."""
    return here.registry.telemetry.activity(who, ask)


@router.get("/usage/leases", response_model=Listed[UsedLease], responses={200: {"content": CSV}, **MISSING})
def used_leases(here: Here, who: Who, ask: Annotated[UsedLeasesAsk, Query()]) -> Listed[UsedLease] | Response:
    """List the leases that ran in a period with how well they were used, as far as they are the visitor's to see."""
    telemetry = here.registry.telemetry
    if ask.format == "csv":
        period = telemetry.period(ask)
        name = f"leases-{_day(period.since)}-{_day(period.until)}.csv"
        return sheet(name, COLUMNS, _cells(telemetry.all_leases(who, ask, period)))
    found, total = telemetry.leases(who, ask)
    return listed(found, ask.page, ask.per_page, total)


@router.get("/efficiency", responses=MISSING)
def efficiency(here: Here, who: Who, ask: Annotated[UsedAsk, Query()]) -> Efficiency:
    """Return how well the GPUs of a period were used, as far as it is the visitor's to see."""
    return here.registry.telemetry.efficiency(who, ask)


@router.get("/savings")
def savings(here: Here, who: Who, ask: Annotated[PeriodAsk, Query()]) -> Savings:
    """Return what the idle rule gave back in a period."""
    return here.registry.telemetry.savings(who, ask)


def _cells(leases: Iterable[UsedLease]) -> Iterator[list[Any]]:
    for lease in leases:
        measured_on = {True: "gpu", False: "process", None: ""}[lease.real]
        yield [
            lease.id, lease.user, lease.project, lease.profile, lease.gpus, lease.state.value, _time(lease.started_at),
            _time(lease.ended_at), lease.end_reason or "", lease.gpu_seconds, lease.charged, lease.measured, lease.busy,
            lease.idle, "" if lease.efficiency is None else lease.efficiency, lease.memory_peak, measured_on,
        ]  # fmt: skip


def _time(at: int | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
