"""Leases and a period -> measures of use by group, in one pass; and what of the capacity was used.

The measures are those of Open XDMoD's realm "Jobs", so that centres can compare; the docstrings give XDMoD's names, a
lease is its job. Sums are exact integers (GPU-seconds, seconds, milli-GPU-seconds); means and shares are fractions.
What cannot be known is None.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple

from nvlhub.wire import EndReason

FAILED = frozenset({EndReason.ENGINE, EndReason.LOST})
"""Ends that nobody chose."""

CAPACITIES = ("in_service", "installed", "announced")
"""What use is compared with, the narrowest first."""


class By(StrEnum):
    """What a report is grouped by."""

    PROGRAMME = "programme"
    INSTITUTION = "institution"
    PROJECT = "project"
    USER = "user"
    DOMAIN = "domain"
    POOL = "pool"
    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` to `until`, which is not included; Unix seconds."""

    since: int
    until: int

    def holds(self, at: int | None) -> bool:
        """Tell whether a time lies in it."""
        return at is not None and self.since <= at < self.until

    def overlap(self, start: int, end: int) -> int:
        """Return the seconds of [start, end) that lie in it."""
        return max(0, min(end, self.until) - max(start, self.since))


@dataclass(frozen=True, slots=True)
class LeaseFact:
    """What a report must know of a lease. Times in Unix seconds."""

    user: str
    project: str
    programme: str
    institution: str
    """Empty: the project belongs to none."""
    pool: str
    gpus: int
    asked_at: int
    started_at: int | None
    ended_at: int | None
    ran: int | None
    """Seconds that it ran and pays for; None: it is not settled."""
    charged: int = 0
    """Net of refunds and corrections, in milli-GPU-seconds."""
    end_reason: EndReason | None = None
    preemptible: bool = False
    slot: bool = False
    """Whether it is no lease but the slot of a run that was charged as a whole: its leases are facts of their own."""
    domains: Mapping[str, int] = field(default_factory=dict)
    """Its GPUs by NVLink domain, as far as that is known."""

    def ran_until(self, now: int) -> int | None:
        """Return when it stopped running, `now` while it runs, None if it never ran."""
        if self.started_at is None:
            return None
        if self.ended_at is None:
            return now
        return self.ended_at if self.ran is None else self.started_at + self.ran


@dataclass(slots=True)
class Tally:
    """The measures of one group."""

    gpu_seconds: int = 0
    """GPU Hours: Total. GPUs x run time inside the period."""
    preemptible_gpu_seconds: int = 0
    """The part of it that leases ran for nothing because they made room for others."""
    charged: int = 0
    """What leases that ended in the period were charged, net, and slots of runs that were paid for in it.

    Milli-GPU-seconds. XDMoD has no such measure.
    """
    wait_seconds: int = 0
    """Wait Hours: Total. From asking to start, of leases that started in the period."""
    running: int = 0
    """Number of Jobs Running. Leases that ran at any moment of the period."""
    started: int = 0
    """Number of Jobs Started."""
    ended: int = 0
    """Number of Jobs Ended. Also those that ended before they ran."""
    failed: int = 0
    """Those of them that ended because the machine failed or fell silent. XDMoD has no such measure."""
    _gpus: int = 0
    """Of the leases that ran."""
    _sized: int = 0
    """Sum of a lease's GPUs x its GPU-seconds."""
    _users: int = 0
    """A bit per user: sets of names in every group of ten years of days would not stay small."""

    @property
    def users(self) -> int:
        """Number of Users: Active. Whose leases ran in the period."""
        return self._users.bit_count()

    @property
    def gpu_seconds_per_lease(self) -> Fraction | None:
        """GPU Hours: Per Job. Over the leases that ran."""
        return _over(self.gpu_seconds, self.running)

    @property
    def gpus_per_lease(self) -> Fraction | None:
        """GPU Count: Per Job. Over the leases that ran."""
        return _over(self._gpus, self.running)

    @property
    def weighted_size(self) -> Fraction | None:
        """Job Size: Weighted By GPU Hours. Sum of GPUs x GPU-hours over the sum of GPU-hours."""
        return _over(self._sized, self.gpu_seconds)

    @property
    def wait_per_lease(self) -> Fraction | None:
        """Wait Hours: Per Job. Over the leases that started."""
        return _over(self.wait_seconds, self.started)

    @property
    def failed_share(self) -> Fraction | None:
        """Share of the leases that ended which failed."""
        return _over(self.failed, self.ended)

    def add(self, fact: LeaseFact, part: Part, stopped: int | None, user: int) -> None:
        """Add the part of a lease that belongs to this group; `user` is a number of its own for each user."""
        if fact.started_at is not None and stopped is not None:
            starts = part.period.holds(fact.started_at)
            seconds = part.period.overlap(fact.started_at, stopped)
            if seconds or starts:
                used = part.gpus * seconds
                self.gpu_seconds += used
                self.preemptible_gpu_seconds += used if fact.preemptible else 0
                self._sized += fact.gpus * used
                self._gpus += fact.gpus
                self.running += 1
                self._users |= 1 << user
            if starts:
                self.started += 1
                self.wait_seconds += max(0, fact.started_at - fact.asked_at)
        if fact.slot:
            self.charged += part.charged if part.period.holds(fact.ended_at) else 0
        elif part.period.holds(fact.ended_at):
            self.ended += 1
            self.failed += fact.end_reason in FAILED
            self.charged += part.charged


def _over(sum_: int, count: int) -> Fraction | None:
    return Fraction(sum_, count) if count else None


class Part(NamedTuple):
    """What of a lease belongs to a group: a part of the time, of its GPUs and of its charge."""

    key: str
    period: Period
    gpus: int
    charged: int


Split = Callable[[LeaseFact, int | None], Iterable[Part]]
"""A lease and when it stopped running -> its parts by group."""


def split_by(by: By, period: Period, marks: Sequence[int] = ()) -> Split:
    """Return what divides leases by group; `marks`: when each day or month of the period begins, the first included.

    The key of a day or month is its mark in digits.
    """
    match by:
        case By.DAY | By.MONTH:
            return _by_time(period, marks)
        case By.DOMAIN:
            return lambda fact, _: _by_domain(fact, period)
        case By.TOTAL:
            return lambda fact, _: (Part("total", period, fact.gpus, fact.charged),)
        case _:
            key = attrgetter(by.value)
            return lambda fact, _: (Part(key(fact), period, fact.gpus, fact.charged),)


def split_by_pool(period: Period, known_from: Mapping[str, int]) -> Split:
    """Return what divides leases by pool, of each pool only the time from which on its capacity is known.

    A pool of which nothing is known counts whole: that it was used must show.
    """
    periods = {pool: Period(max(at, period.since), period.until) for pool, at in known_from.items()}
    return lambda fact, _: (Part(fact.pool, periods.get(fact.pool, period), fact.gpus, fact.charged),)


def _by_domain(fact: LeaseFact, period: Period) -> Iterator[Part]:
    """Give each domain its GPUs, and of the charge its share, rounded so that the shares sum to the whole."""
    known = sum(fact.domains.values())
    before = 0
    for domain, gpus in (*fact.domains.items(), ("", fact.gpus - known)):
        if gpus > 0:
            after = before + gpus
            charged = fact.charged * after // fact.gpus - fact.charged * before // fact.gpus
            yield Part(domain, period, gpus, charged)
            before = after


def _by_time(period: Period, marks: Sequence[int]) -> Split:
    pieces = [
        (str(start), Period(max(start, period.since), min(end, period.until)))
        for start, end in pairwise([*marks, period.until])
    ]

    def split(fact: LeaseFact, stopped: int | None) -> Iterator[Part]:
        times = [at for at in (fact.started_at, stopped, fact.ended_at) if at is not None]
        first = max(0, bisect_right(marks, min(times)) - 1)
        for key, piece in pieces[first : bisect_right(marks, max(times))]:
            yield Part(key, piece, fact.gpus, fact.charged)

    return split


def summarise(facts: Iterable[LeaseFact], now: int, splits: Mapping[str, Split]) -> dict[str, dict[str, Tally]]:
    """Return the measures by split and group, in one pass; memory grows with groups and users, not with leases.

    Groups in which nothing ran or ended are left out. A lease that goes on has run until `now`.
    """
    found: dict[str, defaultdict[str, Tally]] = {name: defaultdict(Tally) for name in splits}
    users: dict[str, int] = {}
    for fact in facts:
        stopped = fact.ran_until(now)
        user = users.setdefault(fact.user, len(users))
        for name, split in splits.items():
            for part in split(fact, stopped):
                found[name][part.key].add(fact, part, stopped, user)
    return {
        name: {key: tally for key, tally in groups.items() if tally.running or tally.ended or tally.charged}
        for name, groups in found.items()
    }


@dataclass(frozen=True, slots=True)
class Utilisation:
    """GPU-seconds used of those that a kind of capacity had; None: nobody said what there was."""

    kind: str
    pool: str
    """Empty: all pools together."""
    since: int | None
    """From when on both are counted: the start of the period, or when the capacity became known."""
    available: int | None
    """GPU Hours Available (realm "Resource Specifications"), in GPU-seconds."""
    used: int | None

    @property
    def share(self) -> Fraction | None:
        """Used over available; above 1 where running leases outlived what was in service."""
        return None if self.used is None or self.available is None else _over(self.used, self.available)


def utilisation(
    kind: str, words: Mapping[str, Sequence[tuple[int, int]]], used: Mapping[str, Tally], period: Period
) -> list[Utilisation]:
    """Compare use with a kind of capacity: all pools together, then each.

    `words` by pool: from when on there were how many GPUs, in order of time and then of saying; the last word for a
    time counts. `used` by pool, split by :func:`split_by_pool`. A pool that was used and of which nobody said anything
    makes the sum unknown; one that was neither is not there.
    """
    rows = [_used_of(kind, pool, words.get(pool, ()), used, period) for pool in sorted(words.keys() | used.keys())]
    known = [(row.since, row.available, row.used) for row in rows]
    if not known or any(None in numbers for numbers in known):
        return [Utilisation(kind, "", None, None, None), *rows]
    since, available, use = zip(*known, strict=True)
    return [Utilisation(kind, "", min(since), sum(available), sum(use)), *rows]


def _used_of(
    kind: str, pool: str, words: Sequence[tuple[int, int]], used: Mapping[str, Tally], period: Period
) -> Utilisation:
    if not words:
        return Utilisation(kind, pool, None, None, None)
    available = sum(
        gpus * period.overlap(at, until) for (at, gpus), (until, _) in pairwise([*words, (period.until, 0)])
    )
    use = used[pool].gpu_seconds if pool in used else 0
    return Utilisation(kind, pool, max(period.since, words[0][0]), available, use)
