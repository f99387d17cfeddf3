"""The portal's books -> the accounts and limits that Slurm should have. Why so: ``docs/decisions/014-slurm-limits.md``.

All of it errs to one side: what the portal allows is never refused by Slurm.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nvlhub.engines.slurm.limits import Account, Limit, Limits, Wanted, check_names
from nvlhub.engines.slurm.names import account_of, low_account, programme_account
from nvlhub.flow.request import SHORTEST

POLITE = 10
"""Seconds on each GPU of a lease that Slurm may have counted and the portal not; reconciliation calls that equal."""
SPARE = 120
"""Seconds that a job's time limit may exceed the lease and its grace by: limits are whole minutes."""
SOON = 3600
"""Seconds before its start from which an award counts: it must be in Slurm when it begins."""
STEP = 60
"""GPU-minutes that limits are rounded up to, so that not every second is a change."""
USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
"""An account of Unix as Slurm can have it: it knows lower case only."""


@dataclass(frozen=True, slots=True)
class Programme:
    """A programme. `factor_milli`: its charge factor in thousandths."""

    slug: str
    cap: int | None
    factor_milli: int
    low_priority: bool


@dataclass(frozen=True, slots=True)
class Project:
    """A project; members with their caps."""

    slug: str
    programme: str
    cap: int | None
    members: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Award:
    """An award in the pool; amounts in milli-GPU-seconds."""

    project: str
    left: int
    held: int
    starts: int
    ends: int
    cap: int | None = None
    revoked: bool = False

    def counts(self, now: int) -> bool:
        """Tell whether starts may be paid from it now or soon."""
        return not self.revoked and self.starts <= now + SOON and now < self.ends


@dataclass(frozen=True, slots=True)
class Live:
    """A lease that waits, runs or ends, and holds something."""

    project: str
    user: str
    gpus: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Used:
    """What a project's leases ran in the pool so far."""

    gpu_seconds: int = 0
    """Of those that hold something."""
    gpus: int = 0
    """Of all that ran, added up."""
    beyond: int = 0
    """GPU-seconds that Slurm counted and the portal did not charge, as reconciliation found them."""


@dataclass(frozen=True, slots=True)
class Books:
    """What the portal says, as of `now`."""

    now: int
    factor_milli: int
    gpus: int
    """Of the pool."""
    programmes: Sequence[Programme]
    projects: Sequence[Project]
    awards: Sequence[Award]
    user_caps: Mapping[str, int | None] = field(default_factory=dict)
    live: Sequence[Live] = ()
    used: Mapping[str, Used] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scheme:
    """How the site wants it."""

    cluster: str
    root: str = "nvlhub"
    account: str = "{project}"
    grace: int = 15
    run_as: str = ""
    """The one account that all jobs run under; empty: each user's own."""


def wanted(books: Books, scheme: Scheme) -> tuple[Wanted, list[str]]:
    """Return what Slurm should have, and names of users that it cannot have.

    Raises :class:`~nvlhub.engines.slurm.limits.CollisionError`.
    """
    check_names(_names(books, scheme))
    work = _Work(books, scheme)
    accounts: dict[str, Account] = {scheme.root: Account(None, qos=scheme.root)}
    accounts |= {
        programme_account(scheme.root, programme.slug): Account(
            scheme.root, Limits(gpus=_cap([programme.cap], work.held_by_programme[programme.slug]))
        )
        for programme in books.programmes
    }
    low = low_account(scheme.root)
    if any(programme.low_priority for programme in books.programmes):
        accounts[low] = Account(scheme.root, qos=low)
    users: dict[tuple[str, str], Limits] = {}
    unfit: set[str] = set()
    for project in books.projects:
        account = account_of(scheme.account, project.slug)
        accounts[account] = Account(programme_account(scheme.root, project.programme), work.limits(project))
        for user, limits in work.members(project).items():
            if not USER.fullmatch(user):
                unfit.add(user)
                continue
            users[account, user] = limits
            if work.programmes[project.programme].low_priority:
                users[low, user] = Limits()
    return Wanted(scheme.cluster, scheme.root, accounts, users), sorted(unfit)


def _names(books: Books, scheme: Scheme) -> Iterator[tuple[str, str]]:
    # Slurm has this one from the beginning, with everything below it.
    yield "root", "account root of Slurm"
    yield scheme.root, f"root account {scheme.root}"
    yield low_account(scheme.root), "account of pre-emptible leases"
    for programme in books.programmes:
        yield programme_account(scheme.root, programme.slug), f"programme {programme.slug}"
    for project in books.projects:
        yield account_of(scheme.account, project.slug), f"project {project.slug}"


class _Work:
    """The books, sorted by project."""

    def __init__(self, books: Books, scheme: Scheme) -> None:
        self._books = books
        self._scheme = scheme
        self.programmes = {programme.slug: programme for programme in books.programmes}
        of = {project.slug: project.programme for project in books.projects}
        self.held_by_programme: Counter[str] = Counter()
        self._held_by_member: Counter[tuple[str, str]] = Counter()
        self._live: dict[str, list[Live]] = defaultdict(list)
        self._awards: dict[str, list[Award]] = defaultdict(list)
        for lease in books.live:
            self.held_by_programme[of.get(lease.project, "")] += lease.gpus
            self._held_by_member[lease.project, lease.user] += lease.gpus
            self._live[lease.project].append(lease)
        for award in books.awards:
            self._awards[award.project].append(award)

    def members(self, project: Project) -> dict[str, Limits]:
        """Return who may start jobs of a project, and within which limits."""
        if self._scheme.run_as:
            return {self._scheme.run_as: Limits()}
        return {
            user: Limits(gpus=_cap([cap, self._books.user_caps.get(user)], self._held_by_member[project.slug, user]))
            for user, cap in project.members.items()
        }

    def limits(self, project: Project) -> Limits:
        """Return the limits of a project's account."""
        awards, live = self._awards[project.slug], self._live[project.slug]
        paying = [award for award in awards if award.counts(self._books.now)]
        caps = [award.cap for award in paying if award.cap is not None]
        all_capped = bool(paying) and len(caps) == len(paying)
        # One award after another can be used up to its cap; one lease is paid by one award.
        gpus = _cap([project.cap, sum(caps) if all_capped else None], sum(lease.gpus for lease in live))
        per_job = _cap([max(caps) if all_capped else None], max((lease.gpus for lease in live), default=0))
        factor = max(1, self._books.factor_milli * self.programmes[project.programme].factor_milli // 1000)
        at_once = min((cap for cap in (gpus, self._books.gpus or None) if cap is not None), default=None)
        used = self._books.used.get(project.slug, Used())
        minutes = gpu_minutes(awards, live, used, self._books.now, factor, at_once, self._scheme.grace)
        return Limits(gpus, minutes, per_job)


def _cap(caps: Sequence[int | None], held: int) -> Limit:
    """Return the tightest of caps; what was let in before a cap was lowered goes on."""
    told = [cap for cap in caps if cap is not None]
    return max(held, min(told)) if told else None


def gpu_minutes(
    awards: Sequence[Award], live: Sequence[Live], used: Used, now: int, factor_milli: int, at_once: Limit, grace: int
) -> int:
    """Return the GPU-minutes that the jobs of a project may have used in all, ever, by Slurm's count.

    `at_once`: GPUs that it can hold at once at most.
    """
    left = _up(sum(max(0, award.left) for award in awards if award.counts(now)), factor_milli)
    # A lease keeps the factor that it began with, whatever the programme's is now.
    held = max(_up(sum(award.held for award in awards), factor_milli), sum(one.gpus * one.seconds for one in live))
    past = used.gpu_seconds + POLITE * used.gpus + used.beyond
    together = sum(lease.gpus for lease in live) + left // SHORTEST
    reserved = (together if at_once is None else min(together, at_once)) * (grace + SPARE)
    return _up(past + left + held + reserved, 60 * STEP) * STEP


def _up(amount: int, by: int) -> int:
    """Return a quotient, rounded up."""
    return -(-amount // by)
