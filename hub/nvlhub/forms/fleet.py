"""Forms of the fleet as one picture."""

from __future__ import annotations

from typing import Literal

from nvlhub.wire import View

HolderBy = Literal["programme", "project", "user"]


class GpuCounts(View):
    """GPUs by what becomes of them now; together: all of them."""

    free: int
    leased: int
    out: int
    """Not leased, on a tray out of service, whoever holds it."""
    draining: int
    """Leased, on a tray out of service."""
    reserved: int
    """Not leased, kept for a reservation."""
    outside: int
    """Held by somebody outside the portal."""


class RoomView(View):
    """How many requests of one shape could start."""

    gpus: int
    now: int
    packed: int
    """The same if the free GPUs lay together."""


class PendingView(View):
    """Leases of one size that wait for room."""

    gpus: int
    leases: int
    longest: int
    """Seconds that the first of them has waited."""


class RacksView(View):
    """Domains by the part of their trays that is in service: all, at least 16 of 18, fewer."""

    whole: int
    most: int
    fewer: int


class FleetView(View):
    """All GPUs of the pool that runs here, one byte each, in order of domain, tray and GPU. Names nobody."""

    pool: str
    gpu_model: str
    simulated: bool
    at: int
    layout: list[tuple[str, list[int]]]
    """Domains with the sizes of their trays."""
    states: str
    """Base64; per GPU 0 free, 1 leased, 2 out of service, 3 leased on a tray out of service, 4 reserved and free,
    5 held by somebody outside the portal."""
    busy: str
    """Base64; utilisation of each GPU in per cent; 255: not measured."""
    gpus: GpuCounts
    shapes: list[RoomView]
    fragmentation: float
    """0: no request waits for anything but GPUs; 1: the free GPUs are of no use to any shape."""
    pending: list[PendingView]
    racks: RacksView


class HolderView(View):
    """What a programme, a project or a user holds."""

    name: str
    gpus: int
    leases: int
    measured: int
    """GPUs of which the utilisation is known."""
    busy: int | None
    """Their mean utilisation in per cent; None: nothing is measured."""


class IdleView(View):
    """A lease whose GPUs do next to nothing."""

    lease: str
    user: str
    project: str
    programme: str
    profile: str
    gpus: int
    busy: int | None
    """Utilisation in per cent; None: not measured, and its kernel has done nothing."""
    idle: int
    """Seconds since its kernel last did anything."""
    ran: int
    """Seconds that it has run."""
    deadline: int | None


class FleetHolders(View):
    """Who holds the GPUs, in the order of :class:`FleetView`."""

    at: int
    by: HolderBy
    names: list[str]
    """The most GPUs first."""
    holders: str
    """Base64; per GPU 2 bytes, the smaller first: 0 nobody, otherwise the place in `names` from 1."""
    top: list[HolderView]
    outside: int = 0
    """GPUs that somebody holds outside the portal."""
    idle: list[IdleView]
    """At most 100, those with the most GPUs first."""
