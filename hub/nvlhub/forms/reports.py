"""Forms of usage reports and statements."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nvlhub.flow.report import By
from nvlhub.forms.base import UserName
from nvlhub.wire import Slug, Strict, View

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
