"""Forms of courses, their runs and seats."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictBool, StringConstraints

from nvlhub.forms.base import PRINTED, Name, Reason, Time, UserName
from nvlhub.forms.reservations import TrayPlace
from nvlhub.wire import Slug, Strict, View


def _without_login(address: str) -> str:
    """Refuse an address with a name or a password: certificates show it to everybody."""
    if "@" in address.removeprefix("https://").partition("/")[0]:
        raise ValueError("an address without a name and a password: certificates show it to everybody")
    return address


Line = Annotated[str, StringConstraints(max_length=100, pattern=rf"^{PRINTED}*$")]
Paragraph = Annotated[str, StringConstraints(max_length=500, pattern=rf"^{PRINTED}*$")]
Repository = Annotated[
    str,
    AfterValidator(_without_login),
    StringConstraints(max_length=500, pattern=r"^(https://[A-Za-z0-9._~:/@%+-]+)?$"),
]
"""Address of a git repository by HTTPS, without a login; empty: the course has no material of its own."""
Commit = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})?$")]
"""Full hash of a commit: what is taught does not change under the learners."""
PathInside = Annotated[
    str,
    StringConstraints(max_length=200, pattern=r"^([A-Za-z0-9_ -][A-Za-z0-9_. -]*(/[A-Za-z0-9_ -][A-Za-z0-9_. -]*)*)?$"),
]
"""A path inside the material; no part of it begins with a dot."""
Minutes = Annotated[int, Field(strict=True, ge=0, le=24 * 60)]
Seats = Annotated[int, Field(strict=True, ge=1, le=1000)]
Zone = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9_+/-]+$")]
Code = Annotated[str, StringConstraints(min_length=4, max_length=12, pattern=r"^[A-Za-z0-9-]+$")]
"""A join code: letters and digits; upper and lower case are the same."""


class NewCourse(Strict):
    """Body of ``POST /courses``."""

    slug: Slug
    project: Slug
    title: Name
    title_zh: Line = ""
    summary: Paragraph = ""
    repository: Repository = ""
    commit: Commit = ""
    opens: PathInside = ""
    """What is opened first."""
    profile: Slug
    assessment: dict[str, Any] = Field(default_factory=dict)
    """As :mod:`nvlhub.flow.rubric` reads it; empty: nothing is assessed."""
    keep_days: Annotated[int, Field(strict=True, ge=1, le=3650)] = 60
    instructors: list[UserName] = Field(default_factory=list, max_length=50)


class CoursePatch(Strict):
    """Body of ``PATCH /courses/{slug}``; what is left out stays."""

    title: Name = ""
    title_zh: Line = ""
    summary: Paragraph = ""
    repository: Repository = ""
    commit: Commit = ""
    opens: PathInside = ""
    profile: Slug = ""
    assessment: dict[str, Any] = Field(default_factory=dict)
    keep_days: Annotated[int, Field(strict=True, ge=1, le=3650)] = 60
    instructors: list[UserName] = Field(default_factory=list, max_length=50)
    retired: StrictBool = False


class CourseView(View):
    """A course as those who teach it see it."""

    slug: str
    project: str
    title: str
    title_zh: str
    summary: str
    repository: str
    commit: str
    opens: str
    profile: str
    assessment: dict[str, Any]
    keep_days: int
    instructors: list[str]
    unseen: list[str] = Field(default_factory=list)
    """Those of the instructors whom the portal has not seen yet."""
    retired_at: int | None
    made_by: str
    made_at: int


class NewRun(Strict):
    """Body of ``POST /runs``: one dated event of a course. Nothing is reserved before somebody approves it."""

    course: Slug
    name: Name
    zone: Zone
    """The zone in which people are told its times."""
    starts: Time
    ends: Time
    seats: Seats
    gpus: Annotated[int, Field(strict=True, ge=0, le=72)] = 1
    """GPUs of a seat; 0: kernels without one."""
    warm_minutes: Minutes = 30
    flex_minutes: Minutes = 30
    grace_minutes: Minutes = 30
    no_show_minutes: Minutes = 20
    roster_only: StrictBool = False
    note: Paragraph = ""
    dry_run: StrictBool = False
    """True: only tell whether there is capacity, which trays it would have and what it would cost."""


class RunPatch(Strict):
    """Body of ``PATCH /runs/{id}``; what is left out stays. An approved run moves with all it has, or not at all."""

    name: Name = ""
    zone: Zone = ""
    starts: Time = 0
    ends: Time = 0
    seats: Seats = 1
    gpus: Annotated[int, Field(strict=True, ge=0, le=72)] = 1
    warm_minutes: Minutes = 30
    flex_minutes: Minutes = 30
    grace_minutes: Minutes = 30
    no_show_minutes: Minutes = 20
    roster_only: StrictBool = False
    note: Paragraph = ""


class RunAsk(Strict):
    """Body of ``POST /runs/{id}/request`` and of ``/cancel`` and ``/close``: words for those who decide, or why."""

    note: Paragraph = ""


class RunDecision(Strict):
    """Body of ``POST /runs/{id}/decision``."""

    approve: StrictBool
    reason: Reason


class RunRoom(View):
    """Whether there is capacity for a run that is not approved yet, in its slot; nothing is kept for it."""

    fits: bool
    starts: int
    """Of the slot: when its seats begin to be started, or now."""
    ends: int
    gpus: int
    """GPUs of the whole trays that it needs."""
    trays: list[TrayPlace]
    """Those that it would have now; empty where there are too few."""
    most_gpus: int
    """GPUs that could be had in the same slot."""
    next_starts: int | None
    """The first start of the run from which it would fit, within 30 days; null: none, or it fits."""
    left: int
    """What the award that could pay for the slot has left; 0: none could. Milli-GPU-seconds."""


class RunView(View):
    """A run as those who teach it, or decide about it, see it."""

    id: str
    """Empty for one that was only tried."""
    course: str
    title: str
    title_zh: str
    project: str
    name: str
    zone: str
    starts: int
    ends: int
    seats: int
    gpus: int
    warm_minutes: int
    flex_minutes: int
    grace_minutes: int
    no_show_minutes: int
    roster_only: bool
    code: str = ""
    """What learners type; told to those who teach the run."""
    state: Literal["draft", "requested", "approved", "refused", "cancelled", "closed"]
    phase: Literal["", "scheduled", "warming", "live", "grace", "over"]
    """Of an approved run, by the clock."""
    taken: int = 0
    ready: int = 0
    reservation: str = ""
    slot_charge: bool = False
    """Whether it pays for its whole slot, or for what is used."""
    slot_gpus: int = 0
    """GPUs of the whole trays that are kept for it, or would be."""
    price: int = 0
    """What the whole slot costs, in milli-GPU-seconds."""
    held: int = 0
    """What of it is set aside now."""
    charged: int = 0
    """What the slot and the leases of the run have cost by now."""
    room: RunRoom | None = None
    """Of a single run that is not decided yet."""
    trays: list[TrayPlace] = Field(default_factory=list)
    """Those that are kept for it."""
    note: str = ""
    made_by: str = ""
    made_at: int = 0
    requested_by: str = ""
    requested_at: int | None = None
    decided_by: str = ""
    decided_at: int | None = None
    reason: str = ""
    closed_at: int | None = None


class RosterFile(Strict):
    """Body of ``POST /runs/{id}/roster`` as JSON; as ``text/csv`` it is the file itself."""

    csv: Annotated[str, StringConstraints(min_length=1, max_length=1_000_000)]
    dry_run: StrictBool = False
    """True: only tell what it would change."""


class RosterEntry(View):
    """Somebody who is to come. `row` stays theirs for ever."""

    row: int
    student_no: str
    name_zh: str
    name_latin: str
    email_or_username: str
    group: str
    seat: int | None


class RosterView(View):
    """The roster of a run, and what a file changed of it, or would change."""

    run: str
    rows: list[RosterEntry]
    dry_run: bool = False
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    dropped: int = 0
    ignored: list[str] = Field(default_factory=list)
    """Columns of the file that mean nothing here."""


class RosterFault(View):
    """What is wrong with a row of a file; `row` as a spreadsheet counts, 0: with the file as a whole."""

    row: int
    field: str
    detail: str


class SeatView(View):
    """A seat on the board."""

    number: int
    pseudonym: str
    user: str = ""
    name: str = ""
    name_latin: str = ""
    student_no: str = ""
    group: str = ""
    state: Literal["free", "warming", "ready", "in-use", "idle", "failed", "over"]
    failed: str = ""
    taken_at: int | None = None
    ready_at: int | None = None
    seen_at: int | None = None
    hand_at: int | None = None
    helped_by: str = ""
    step: int = 0
    steps: int = 0
    check_name: str = ""
    check_ok: bool | None = None
    check_at: int | None = None
    ends: int = 0
    """When it ends for its user, extra time included."""
    attempts: int = 0
    best_milli: int | None = None
    passed: bool = False
    certificate: str = ""
    lease: str = ""
