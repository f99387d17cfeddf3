"""Forms of pools and domains."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StringConstraints

from nvlhub.forms.base import PRINTED, Name, Time
from nvlhub.forms.directory import Factor
from nvlhub.wire import Slug, Strict, View


class NewPool(Strict):
    """Body of ``POST /pools``: one that no engine runs here yet, so that budgets and capacity can be planned."""

    name: Slug
    gpu_model: Name
    factor_milli: Factor = 1000
    domain_gpus: Annotated[int, Field(strict=True, ge=1, le=10_008)] = 72


class PoolView(View):
    """A pool and its capacity now."""

    name: str
    gpu_model: str
    factor_milli: int
    domain_gpus: int
    gpus: int
    announced: int | None
    installed: int | None
    in_service: int
    free: int
    outside: int = 0
    """Held by somebody outside the portal."""
    simulated: bool


class NewCapacity(Strict):
    """Body of ``POST /pools/{pool}/capacities``: from `at` on, so many GPUs are announced or installed."""

    kind: Literal["announced", "installed"]
    gpus: Annotated[int, Field(strict=True, ge=0, le=10**7)]
    at: Time
    source: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=rf"^{PRINTED}*$")]


class CapacityView(View):
    """A number of GPUs from a time on, and who says so."""

    kind: str
    gpus: int
    at: int
    source: str
    actor: str


OUTSIDE = "outside"
"""Who holds a GPU that somebody has outside the portal."""


class TrayView(View):
    """A tray; `gpus`: who holds each of them.

    Empty: nobody; ``*``: somebody else; ``outside``: somebody outside the portal; otherwise a lease.
    """

    index: int
    in_service: bool
    out_by: Literal["", "portal", "engine"] = ""
    """Who took it out of service: an administrator here, or the engine, which alone puts it back then."""
    reason: str = ""
    """Why, where the engine did and somebody told it."""
    gpus: list[str]


class DomainView(View):
    """An NVLink domain."""

    name: str
    pool: str
    gpus: int
    free: int
    leased: int
    outside: int = 0
    """GPUs held by somebody outside the portal."""
    in_service: bool
    trays: list[TrayView]


class ServiceView(View):
    """What was taken out of service, or put back."""

    pool: str
    domain: str
    trays: list[int]
    in_service: bool


class Service(Strict):
    """Body of ``PUT /domains/{pool}/{domain}``: take trays out of service, or back in. Without `tray`: all of them."""

    in_service: StrictBool
    tray: Annotated[int, Field(strict=True, ge=1, le=1000)] | None = None
