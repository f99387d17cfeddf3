"""JSON shapes of what people who answer for the machine fill in and read: directory, awards, capacity, audit.

Times are Unix times in whole seconds, UTC. Amounts that people fill in are whole GPU-hours at charge factor 1.0;
amounts that they read are milli-GPU-seconds, as in :mod:`nvlhub.wire`.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, StrictBool, StringConstraints

from nvlhub.flow.awarding import AwardState, RequestKind, RequestState
from nvlhub.flow.reconciliation import Action, DifferenceKind
from nvlhub.flow.report import By
from nvlhub.wire import Slug, Span, Strict, View

PRINTED = r"[^\x00-\x1f\x7f-\x9f<>&\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
"""What names are made of: no control characters, no markup, nothing invisible and nothing that turns the text around."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=rf"^{PRINTED}*$")]
"""A name for people, 1 to 100 characters."""
UserName = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=rf"^{PRINTED[:-1]}/]*$")]
Words = Annotated[str, StringConstraints(min_length=1, max_length=4000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
"""Free text with line breaks."""
Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=rf"^{PRINTED}*$")]
Time = Annotated[int, Field(strict=True, ge=0, le=2**40)]
"""Unix seconds."""
GpuHours = Annotated[int, Field(strict=True, ge=1, le=10**10)]
"""Whole GPU-hours at charge factor 1.0."""
GpuCap = Annotated[int, Field(strict=True, ge=1, le=10_008)]
"""GPUs held at once."""
Number = Annotated[int, Field(strict=True, ge=1, le=2**53)]

T = TypeVar("T")


class Listed(View, Generic[T]):
    """One page of a list."""

    items: list[T]
    page: int
    per_page: int
    total: int


class Health(View):
    """That the portal runs."""

    status: Literal["ok"]
    engine: str
    simulated: bool
    now: int


class Stopped(View):
    """Leases that ended with a Jupyter server."""

    ended: list[str]


# --- directory ----------------------------------------------------------------------------------------------------


class MyProject(View):
    """A project of the visitor's."""

    slug: str
    name: str
    role: str


class Me(View):
    """Who the visitor is."""

    user: str
    admin: bool
    officer_of: list[str]
    projects: list[MyProject]


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

    gpu_hours: Annotated[int, Field(strict=True, ge=0, le=10**10)]


class ProgrammeView(View):
    """A programme with its rules."""

    slug: str
    name: str
    cap: int | None
    share: int
    priority: int
    at_zero: str
    factor_milli: int
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


# --- awards -------------------------------------------------------------------------------------------------------


class NewAward(Strict):
    """Body of ``POST /awards``: an award without a request."""

    project: Slug
    pool: Slug
    gpu_hours: GpuHours
    starts: Time
    ends: Time
    cap: GpuCap | None = None


class AwardPatch(Strict):
    """Body of ``PATCH /awards/{id}``: what is left out stays."""

    ends: Time = 0
    cap: GpuCap | None = None


class Revocation(Strict):
    """Body of ``POST /awards/{id}/revoke``."""

    reason: Reason


class AwardView(View):
    """An award and what stands of it; milli-GPU-seconds."""

    id: str
    project: str
    programme: str
    pool: str
    state: AwardState
    awarded: int
    """What it has now; what it gave back is not in it."""
    returned: int
    charged: int
    held: int
    left: int
    starts: int
    ends: int
    cap: int | None = None
    """GPUs held at once; None = no cap."""
    revoked_at: int | None = None
    request: str | None = None
    dry_at: int | None = None
    """When nothing is left if use goes on as in the last 14 days; None: it lasts until its end."""


class NewRequest(Strict):
    """Body of ``POST /requests`` and, for one sent back for revision, of ``PUT /requests/{id}``.

    new: pool, gpu_hours, starts, ends, perhaps cap. renewal: the same with `award`, the one before. extension: award,
    ends. supplement: award, gpu_hours. transfer: award, gpu_hours and pool, where they are to go.
    """

    project: Slug
    kind: RequestKind
    pool: Slug | None = None
    gpu_hours: GpuHours | None = None
    starts: Time | None = None
    ends: Time | None = None
    cap: GpuCap | None = None
    award: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}$")] | None = None
    reasons: Words


class Review(Strict):
    """Body of ``POST /requests/{id}/reviews``. `gpu_hours`: what is awarded, at most what was asked for."""

    verdict: Literal["approve", "decline", "revise"]
    gpu_hours: GpuHours | None = None
    reason: Words


class ReviewView(View):
    """What a reviewer said; `amount` in milli-GPU-seconds."""

    reviewer: str
    verdict: str
    amount: int | None
    reason: str
    at: int


class RequestView(View):
    """A request and what was said of it; `amount` in milli-GPU-seconds."""

    id: str
    project: str
    programme: str
    kind: RequestKind
    state: RequestState
    pool: str
    amount: int
    starts: int | None
    ends: int | None
    cap: int | None
    award: str | None
    """The award that is renewed, extended, supplemented or taken from."""
    reasons: str
    asked_by: str
    asked_at: int
    result: str | None
    """The award that came of it."""
    reviews: list[ReviewView]


# --- capacity -----------------------------------------------------------------------------------------------------


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


class TrayView(View):
    """A tray; `gpus`: who holds each of them: empty: nobody, ``*``: somebody else, otherwise a lease."""

    index: int
    in_service: bool
    gpus: list[str]


class DomainView(View):
    """An NVLink domain."""

    name: str
    pool: str
    gpus: int
    free: int
    leased: int
    in_service: bool
    trays: list[TrayView]


class ServiceView(View):
    """What was taken out of service, or put back."""

    pool: str
    domain: str
    trays: list[int]
    in_service: bool


class NewProfile(Strict):
    """Body of ``POST /profiles``: the next version of a profile, a draft until it is published. Seconds."""

    name: Slug
    display_name: Name
    pool: Slug
    gpus: GpuCap
    span: Span = Span.DOMAIN
    longest: Annotated[int, Field(strict=True, ge=60, le=30 * 24 * 3600)]
    idle: Annotated[int, Field(strict=True, ge=60, le=30 * 24 * 3600)] | None = None


class Publish(Strict):
    """Body of ``POST /profiles/{name}/publish``."""

    version: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]


class Service(Strict):
    """Body of ``PUT /domains/{pool}/{domain}``: take trays out of service, or back in. Without `tray`: all of them."""

    in_service: StrictBool
    tray: Annotated[int, Field(strict=True, ge=1, le=1000)] | None = None


class ProfileView(View):
    """One version of a profile; durations in seconds."""

    name: str
    version: int
    display_name: str
    pool: str
    gpus: int
    span: Span
    longest: int
    idle: int | None
    published: bool


# --- ledger -------------------------------------------------------------------------------------------------------


class PostingView(View):
    """An amount into an account (negative: out of it); milli-GPU-seconds."""

    account: str
    amount: int


class TransactionView(View):
    """One transaction of the journal; its postings sum to zero."""

    id: int
    key: str
    entry: str
    at: int
    actor: str
    award: int | None
    lease: str
    corrects: str
    reason: str
    postings: list[PostingView]


class BrokenView(View):
    """An invariant that does not hold, and where."""

    invariant: str
    detail: str


class Proof(View):
    """What ``verify`` found."""

    ok: bool
    transactions: int
    broken: list[BrokenView]


class Replayed(View):
    """What came of playing the whole journal again from its beginning."""

    ok: bool
    transactions: int
    postings: int
    accounts: int
    """Accounts that hold something at the end."""
    missing: int
    """Numbers between the first and the last transaction that none has."""
    broken: list[BrokenView]
    warnings: list[BrokenView]
    """What is unusual and proves nothing wrong."""


class Correction(Strict):
    """Body of ``POST /ledger/corrections``: charge a settled lease more, or give it back (negative).

    `gpu_seconds` at charge factor 1.0.
    """

    lease: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,64}$")]
    gpu_seconds: Annotated[
        int, Field(strict=True, ge=-(10**12), le=10**12, json_schema_extra={"not": {"const": 0}})
    ]  # fmt: skip
    reason: Reason


class AuditView(View):
    """Who changed what; `hash` covers the line and the hash of the one before it."""

    id: int
    at: int
    actor: str
    action: str
    object: str
    programme: str
    project: str
    user: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    hash: str


# --- reconciliation -----------------------------------------------------------------------------------------------


class NewReconciliation(Strict):
    """Body of ``POST /reconciliations``: the leases that ended since then are compared; left out: in the last 24 hours."""

    since: Time | None = None


class DifferenceView(View):
    """Where the engine's records and the ledger differ about a lease; in GPU-seconds, null: that side has nothing."""

    id: str
    pool: str
    lease: str
    project: str
    """Whose lease it is; empty where the ledger knows none."""
    user: str
    kind: DifferenceKind
    ledger: int | None
    engine: int | None
    found_at: int
    state: Literal["open", "closed"]
    closed_by: str
    """A user, or ``rule``."""
    closed_at: int | None
    reason: str
    correction: str
    """Key of the compensating transaction; empty: there is none."""


class Reconciliation(View):
    """What a reconciliation found; `tolerance` is in seconds on each GPU of a lease."""

    since: int
    at: int
    tolerance: int
    counts: dict[DifferenceKind, int]
    """How many leases and strangers were judged how."""
    open: int
    """Differences that wait for a person, older ones included."""
    found: list[DifferenceView]
    """Those of this run, 200 at most."""


class DifferenceClosing(Strict):
    """Body of ``POST /differences/{id}/close``.

    accept: both sides stay as they are. correct: a compensating entry makes the ledger equal to the engine.
    """

    action: Action
    reason: Reason


# --- reports ------------------------------------------------------------------------------------------------------

Moment = Annotated[int, Field(ge=0, le=32_503_680_000)]
"""Unix seconds, until the year 3000."""


class PeriodAsk(Strict):
    """Query of what is about a period, its end not included. Left out: the last 30 days until `until`, `until` now."""

    since: Moment | None = None
    until: Moment | None = None


class UsageAsk(PeriodAsk):
    """Query of ``GET /usage``: a period, what to group by, and what to leave."""

    by: By = By.PROJECT
    programme: Slug | None = None
    project: Slug | None = None
    institution: Slug | None = None
    user: UserName | None = None
    pool: Slug | None = None
    format: Literal["json", "csv", "html"] = "json"


class StatementAsk(PeriodAsk):
    """Query of ``GET /projects/{slug}/statement``."""

    format: Literal["json", "csv"] = "json"


class MeasuresView(View):
    """What a group used. Defined, with the names of Open XDMoD, in :class:`nvlhub.flow.report.Tally`.

    Sums are exact; means and shares are rounded to four places, and null where there was nothing to divide by.
    """

    group: str
    """A slug, a user, an NVLink domain, a day or a month (UTC). Empty: none, or not known."""
    name: str
    """What people call the group."""
    gpu_seconds: int
    preemptible_gpu_seconds: int
    charged: int
    """Milli-GPU-seconds."""
    wait_seconds: int
    leases_running: int
    leases_started: int
    leases_ended: int
    leases_failed: int
    users: int
    gpu_hours_per_lease: float | None
    gpus_per_lease: float | None
    gpus_weighted: float | None
    """GPUs per lease, weighted by GPU-hours."""
    wait_hours_per_lease: float | None
    failed_share: float | None
    """0 to 1."""


class UtilisationView(View):
    """GPU-seconds used of those that there were; null: nobody said how many there were."""

    kind: Literal["in_service", "installed", "announced"]
    pool: str
    """Empty: all pools together."""
    since: int | None
    """From when on both are counted."""
    available: int | None
    used: int | None
    share: float | None
    """Used over available; above 1 where running leases outlived what was in service."""


class UsageReport(View):
    """What was used in a period, as far as the visitor may see it."""

    since: int
    until: int
    now: int
    by: By
    complete: bool
    """Whether it holds all that was asked for, and not only what is the visitor's to see."""
    total: MeasuresView
    rows: list[MeasuresView]
    """Days and months in order; anything else the largest first."""
    step: Literal[By.DAY, By.MONTH]
    """What `over_time` is by: months where the period is longer than 93 days."""
    over_time: list[MeasuresView]
    utilisation: list[UtilisationView]


class BalanceView(View):
    """What stands of an award, or what a transaction changes of it; milli-GPU-seconds."""

    left: int
    held: int
    charged: int


class MovementView(View):
    """One transaction of an award."""

    at: int
    entry: str
    key: str
    lease: str
    actor: str
    reason: str
    change: BalanceView
    balance: BalanceView
    """After it."""


class AwardStatement(View):
    """What was posted to an award in a period."""

    award: str
    pool: str
    opening: BalanceView
    movements: list[MovementView]
    closing: BalanceView


class StatementView(View):
    """The awards of a project and all that was posted to them in a period."""

    project: str
    since: int
    until: int
    awards: list[AwardStatement]


# --- files --------------------------------------------------------------------------------------------------------


class Counts(View):
    """What became of the rows of one kind."""

    created: int = 0
    changed: int = 0
    unchanged: int = 0


class Imported(View):
    """What an import did, by kind; with `dry_run`, what it would have done."""

    dry_run: bool
    kinds: dict[str, Counts]


class ImportFault(View):
    """What is wrong with a row, as the member `errors` of a refusal lists it.

    `row`: its line in a CSV file (the header is line 1), or its place in the list of its kind in YAML, from 1. Where
    `kind` is empty the file itself cannot be read, in that line (0: no line in particular).
    """

    row: int
    kind: str
    field: str
    detail: str
