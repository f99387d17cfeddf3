"""Forms of what GPUs did. GPU-seconds, unless a name says otherwise; shares from 0 to 1; memory in bytes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nvlhub.forms.base import UserName
from nvlhub.forms.reports import PeriodAsk
from nvlhub.wire import EndReason, LeaseView, Slug, State, Strict, View

Whole = Annotated[int, Field(ge=1, le=1_000_000)]


class ActivityAsk(Strict):
    """Query of ``GET /activity``. Without a filter: the visitor's own."""

    hours: Annotated[int, Field(ge=1, le=168)] = 24
    project: Slug | None = None
    programme: Slug | None = None
    user: UserName | None = None
    everything: bool = False
    """All that is the visitor's to see: to administrators everybody's."""


class UsedAsk(PeriodAsk):
    """Query of ``GET /efficiency``: a period, and what to leave."""

    programme: Slug | None = None
    project: Slug | None = None
    user: UserName | None = None


class UsedLeasesAsk(UsedAsk):
    """Query of ``GET /usage/leases``. As CSV all of them, as JSON a page."""

    sort: Literal["charged", "idle", "busy"] = "charged"
    page: Whole = 1
    per_page: Annotated[int, Field(ge=1, le=200)] = 50
    format: Literal["json", "csv"] = "json"


class UsePoint(View):
    """What was measured from `at` on for `seconds`."""

    at: int
    seconds: int
    busy: int
    """Mean utilisation in per cent: of the GPUs, or of one CPU core for each simulated GPU."""
    memory: int
    """The most that was in use, of all GPUs together."""


class LeaseEvent(View):
    """Something that happened to a lease."""

    at: int
    kind: Literal["asked", "placed", "started", "extended", "warned", "ended", "settled", "refunded", "corrected"]
    text: str
    """In the reader's language."""


class LeaseUse(View):
    """What the GPUs of one lease did."""

    lease: LeaseView
    """To others than its holder without what the holder calls it and the server."""
    real: bool | None
    """False: measured are the processes that stand for simulated GPUs. None: nothing was measured."""
    held: int
    measured: int
    """Of those held, as far as somebody looked."""
    busy: int
    """Measured x utilisation."""
    idle: int
    """Held while neither kernel nor GPU did anything."""
    efficiency: float | None
    """Busy over measured."""
    memory_peak: int
    memory_total: int
    charge: int
    """So far, in milli-GPU-seconds, less refunds and with corrections."""
    points: list[UsePoint]
    events: list[LeaseEvent]


class Quarter(View):
    """A quarter of an hour that began at `at`."""

    at: int
    held: int
    busy: int
    measured: int


class Activity(View):
    """What was held and worked in the last hours, by quarter of an hour; up to a minute late."""

    since: int
    until: int
    now: int
    complete: bool
    """Whether it holds all that was asked for, and not only what is the visitor's to see."""
    items: list[Quarter]


class UsedLease(View):
    """A lease of a period, as a whole: also what lies outside of the period counts."""

    id: str
    user: str
    project: str
    profile: str
    gpus: int
    state: State
    started_at: int
    ended_at: int | None
    end_reason: EndReason | None
    real: bool | None
    """As in :class:`LeaseUse`."""
    gpu_seconds: int
    """Held."""
    charged: int
    """Milli-GPU-seconds, net; of one that runs, so far."""
    measured: int
    busy: int
    idle: int
    efficiency: float | None
    memory_peak: int


class EfficiencyBin(View):
    """The leases whose mean utilisation lies from `least` to `most` per cent."""

    least: int
    most: int
    leases: int
    gpu_seconds: int


class Efficiency(View):
    """How well the GPUs of a period were used, over the leases that ran in it, each as a whole."""

    since: int
    until: int
    now: int
    complete: bool
    simulated: bool
    """Whether any of it was measured on processes that stand for simulated GPUs."""
    held: int
    measured: int
    busy: int
    idle: int
    unmeasured: int
    """GPU-seconds of leases of which nothing was measured."""
    efficiency: float | None
    bins: list[EfficiencyBin]
    """Ten; each lease counts by its GPU-seconds."""


class Savings(View):
    """What the idle rule gave back in a period: paid for until the deadline, returned at the idle end."""

    since: int
    until: int
    leases: int
    gpu_seconds: int
