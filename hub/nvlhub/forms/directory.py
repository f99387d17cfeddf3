"""Forms of users, institutions, programmes, projects and members."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StringConstraints

from nvlhub.forms.base import GpuCap, Name, UserName
from nvlhub.wire import Slug, Strict, View


class MyProject(View):
    """A project of the visitor's."""

    slug: str
    name: str
    role: str


class Holding(View):
    """What somebody has at this moment, in all projects together."""

    leases: int
    gpus: int
    """Those of leases that have room; pre-emptible ones included."""
    waiting: int
    """Leases that wait for room."""
    ends_at: int | None
    """When the first of the running leases ends at the latest; workers are left out."""
    idle_gpus: int
    """GPUs of running leases that did nothing for ten minutes or longer."""
    now: int


class Me(View):
    """Who the visitor is, and what they have."""

    user: str
    admin: bool
    officer_of: list[str]
    projects: list[MyProject]
    holding: Holding


class NewUser(Strict):
    """Body of ``POST /users``: somebody who has not visited the portal yet."""

    name: UserName
    cap: GpuCap | None = None


class UserPatch(Strict):
    """Body of ``PATCH /users/{name}``. `cap`: GPUs held at once in all projects together; null: no cap."""

    cap: GpuCap | None


class UserView(View):
    """Somebody whom the portal knows."""

    name: str
    cap: int | None
    since: int


class NewInstitution(Strict):
    """Body of ``POST /institutions``. `ror`: its identifier in the Research Organization Registry."""

    slug: Slug
    name: Name
    ror: Annotated[str, StringConstraints(max_length=40, pattern=r"^(https://ror\.org/)?[a-z0-9]*$")] = ""


class InstitutionPatch(Strict):
    """Body of ``PATCH /institutions/{slug}``: what is left out stays."""

    name: Name = ""
    ror: Annotated[str, StringConstraints(max_length=40, pattern=r"^(https://ror\.org/)?[a-z0-9]*$")] = ""


class InstitutionView(View):
    """An institution."""

    slug: str
    name: str
    ror: str


Share = Annotated[int, Field(strict=True, ge=1, le=10_000)]
"""Weight in the queue against other programmes of the same priority."""
Priority = Annotated[int, Field(strict=True, ge=-100, le=100)]
Factor = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
"""Charge factor in thousandths."""
AtZero = Literal["stop", "low_priority"]
"""What happens over a cap or at zero balance: nothing starts, or idle GPUs may be used until others need them."""


class ProgrammePatch(Strict):
    """Body of ``PATCH /programmes/{slug}``: its rules; what is left out stays. `cap`: GPUs held at once, null: no cap."""

    name: Name = ""
    cap: GpuCap | None = None
    share: Share = 100
    priority: Priority = 0
    at_zero: AtZero = "stop"
    factor_milli: Factor = 1000
    slot_charge: StrictBool = False
    """Whether a run of a course pays for its whole slot, used or not, or for what is used."""


class NewProgramme(ProgrammePatch):
    """Body of ``POST /programmes``."""

    slug: Slug
    name: Name


class Budget(View):
    """What a programme may award in a pool, and what of it is awarded; milli-GPU-seconds."""

    pool: str
    granted: int
    awarded: int


class NewBudget(Strict):
    """Body of ``PUT /programmes/{slug}/budgets/{pool}``: what the programme may award in the pool in all."""

    gpu_hours: Annotated[int, Field(strict=True, ge=0, le=10**9)]


class ProgrammeView(View):
    """A programme with its rules."""

    slug: str
    name: str
    cap: int | None
    share: int
    priority: int
    at_zero: str
    factor_milli: int
    slot_charge: bool = False
    officers: list[str]
    budgets: list[Budget]


class NewProject(Strict):
    """Body of ``POST /projects``. `cap`: GPUs held at once by all its members."""

    slug: Slug
    name: Name
    programme: Slug
    institution: Slug | None = None
    cap: GpuCap | None = None


class ProjectPatch(Strict):
    """Body of ``PATCH /projects/{slug}``: what is left out stays. The programme of a project never changes."""

    name: Name = ""
    institution: Slug | None = None
    cap: GpuCap | None = None


class ProjectView(View):
    """A project, and the visitor's role in it (empty: none)."""

    slug: str
    name: str
    programme: str
    institution: str | None
    cap: int | None
    role: str = ""


class Membership(Strict):
    """Body of ``PUT /projects/{slug}/members/{user}``. `cap`: GPUs this member may hold at once in the project."""

    role: Literal["pi", "manager", "member"] = "member"
    cap: GpuCap | None = None


class MemberView(View):
    """A member of a project."""

    user: str
    role: str
    cap: int | None


class UsageView(View):
    """What one user of a project used on one day (UTC)."""

    day: str
    user: str
    leases: int
    gpu_seconds: int
    charged: int
