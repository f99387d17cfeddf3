"""Forms of reservations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StringConstraints

from nvlhub.forms.base import PRINTED, GpuCap, Name, Time
from nvlhub.wire import Slug, Strict, View

Note = Annotated[str, StringConstraints(max_length=500, pattern=rf"^{PRINTED}*$")]


class NewReservation(Strict):
    """Body of ``POST /reservations``: so many GPUs, rounded up to whole trays, for a project between two times."""

    name: Name
    project: Slug
    gpus: GpuCap
    starts: Time
    ends: Time
    note: Note = ""
    dry_run: StrictBool = False
    """True: only tell which trays it would have and who would be in the way."""


class ReservationPatch(Strict):
    """Body of ``PATCH /reservations/{id}``: other times; what is left out stays."""

    starts: Time = 0
    ends: Time = 0


class TrayPlace(View):
    """Where a tray is."""

    domain: str
    tray: int


class InTheWay(View):
    """A lease that could still run on a tray of a reservation when that begins, and until when at the latest."""

    lease: str
    user: str
    project: str
    gpus: int
    until: int


class ReservationView(View):
    """A reservation. Name, project and note are told to those who run the portal and to those who are concerned."""

    id: str
    """Empty for one that was only tried."""
    pool: str
    state: Literal["booked", "cancelled"]
    gpus: int
    starts: int
    ends: int
    trays: list[TrayPlace]
    name: str = ""
    project: str = ""
    note: str = ""
    made_by: str = ""
    made_at: int | None = None
    in_the_way: list[InTheWay] = Field(default_factory=list)
    """Told to administrators."""
