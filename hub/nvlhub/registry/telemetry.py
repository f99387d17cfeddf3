"""Use cases of what GPUs did. Who may is checked here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nvlhub.errors import NotFoundError
from nvlhub.explain import sentence
from nvlhub.flow.activity import BINS, QUARTER, charge_so_far, seconds_held, share
from nvlhub.flow.lease import Lease
from nvlhub.flow.report import By, Period
from nvlhub.flow.series import MIB, thinned
from nvlhub.forms import (
    Activity,
    ActivityAsk,
    Efficiency,
    EfficiencyBin,
    LeaseEvent,
    LeaseUse,
    PeriodAsk,
    Quarter,
    Savings,
    UsedAsk,
    UsedLease,
    UsedLeasesAsk,
    UsePoint,
)
from nvlhub.registry.reading import Narrowed, Reading
from nvlhub.store import Unit
from nvlhub.text import say
from nvlhub.visitor import Visitor
from nvlhub.wire import State

POINTS = 600
"""Points of a lease's series that are told at most: more than a screen has columns for."""
NARROWED = (By.PROGRAMME, By.PROJECT, By.USER)
ENTRIES = {"extend": "extended", "refund": "refunded", "correct": "corrected"}


class Telemetry(Reading):
    """What GPUs did."""

    # --- one lease ------------------------------------------------------------------------------------------------

    def of_lease(self, visitor: Visitor, lease_id: str, lang: str) -> LeaseUse:
        """Return what the GPUs of a lease did, and what happened to it.

        For its holder, those who answer for its project, officers of its programme and administrators; to anybody else
        it is not there: raises `NotFoundError`.
        """
        lease = self._desk.board.leases.get(lease_id)
        with self._store.reading() as unit:
            lease = lease or unit.lease(lease_id)
            who = self._standing(unit, visitor)
            if lease is None or not (
                who.admin or lease.user == who.name or lease.project in who.led or lease.programme in who.officer_of
            ):
                raise NotFoundError("lease-unknown", lease=lease_id[:40])
            posted = unit.corrections(lease_id)
            corrected = unit.corrected(lease_id)
        row, points = self._desk.telemetry.use(lease)
        did = row or {"measured": 0, "busy_milli": 0, "idle": 0, "memory_peak": 0, "memory_total": 0, "real": None, "warned": []}  # fmt: skip
        now = self._clock.now()
        view = self._desk.view(lease, lang)
        own = who.admin or lease.user == who.name
        return LeaseUse(
            lease=view if own else view.model_copy(update={"label": "", "server": ""}),
            real=did["real"], held=lease.gpus * seconds_held(lease, now), measured=did["measured"],
            busy=did["busy_milli"] // 1000, idle=did["idle"],
            efficiency=share(did["busy_milli"], 1000 * did["measured"]), memory_peak=did["memory_peak"],
            memory_total=did["memory_total"], charge=charge_so_far(lease, now) + corrected,
            points=[
                UsePoint(at=point.at, seconds=point.seconds, busy=point.busy, memory=point.memory * MIB)
                for point in thinned(points, POINTS)
            ],
            events=_events(lease, view.detail, did["warned"], posted, lang),
        )  # fmt: skip

    # --- the last hours -------------------------------------------------------------------------------------------

    def activity(self, visitor: Visitor, ask: ActivityAsk) -> Activity:
        """Return what was held and worked, by quarter of an hour, as far as it is the visitor's to see."""
        now = self._clock.now()
        until = now - now % QUARTER + QUARTER
        since = until - ask.hours * 3600
        if not (ask.everything or ask.project or ask.programme or ask.user):
            ask = ask.model_copy(update={"user": visitor.name})
        with self._store.reading() as unit:
            who = self._standing(unit, visitor)
            complete = self._may_read(unit, who, ask)
            found = unit.activity(since, until, self._reach(who), _wanted(ask))
            counted = {at: (held, busy, measured) for at, held, busy, measured in found}
        items = []
        for at in range(since, until, QUARTER):
            held, busy, measured = counted.get(at, (0, 0, 0))
            items.append(Quarter(at=at, held=held, busy=busy // 1000, measured=measured))
        return Activity(since=since, until=until, now=now, complete=complete, items=items)

    # --- the leases of a period -----------------------------------------------------------------------------------

    def leases(self, visitor: Visitor, ask: UsedLeasesAsk) -> tuple[list[UsedLease], int]:
        """Return a page of the leases that ran in a period, those first that were charged, idle or busy the most."""
        period, now = self.period(ask), self._clock.now()
        with self._store.reading() as unit:
            reach = self._reach(self._looking(unit, visitor, ask))
            rows, total = unit.used_leases(
                period.since, period.until, now, reach, _wanted(ask), sort=ask.sort, page=ask.page,
                per_page=ask.per_page,
            )  # fmt: skip
        return [_used(row) for row in rows], total

    def all_leases(self, visitor: Visitor, ask: UsedLeasesAsk, period: Period) -> Iterator[UsedLease]:
        """Yield all of them, the newest first, to be read before the next one is taken."""
        with self._store.reading() as unit:
            reach = self._reach(self._looking(unit, visitor, ask))
            found = unit.all_used_leases(period.since, period.until, self._clock.now(), reach, _wanted(ask))
            yield from map(_used, found)

    def _looking(self, unit: Unit, visitor: Visitor, ask: UsedAsk) -> Any:
        who = self._standing(unit, visitor)
        self._may_read(unit, who, ask)
        return who

    def efficiency(self, visitor: Visitor, ask: UsedAsk) -> Efficiency:
        """Return how well the GPUs of a period were used, as far as it is the visitor's to see."""
        period, now = self.period(ask), self._clock.now()
        with self._store.reading() as unit:
            who = self._standing(unit, visitor)
            complete = self._may_read(unit, who, ask)
            rows = list(unit.efficiency(period.since, period.until, now, self._reach(who), _wanted(ask)))
        leases, weights = [0] * BINS, [0] * BINS
        sums = dict.fromkeys(("gpu_seconds", "measured", "busy_milli", "idle"), 0)
        unmeasured = 0
        for row in rows:
            for name in sums:
                sums[name] += int(getattr(row, name))
            if row.bin is None:
                unmeasured += int(row.gpu_seconds)
            else:
                leases[row.bin] += row.leases
                weights[row.bin] += int(row.gpu_seconds)
        width = 100 // BINS
        return Efficiency(
            since=period.since, until=period.until, now=now, complete=complete,
            simulated=any(row.real is False for row in rows), held=sums["gpu_seconds"], measured=sums["measured"],
            busy=sums["busy_milli"] // 1000, idle=sums["idle"], unmeasured=unmeasured,
            efficiency=share(sums["busy_milli"], 1000 * sums["measured"]),
            bins=[
                EfficiencyBin(least=place * width, most=(place + 1) * width, leases=count, gpu_seconds=weight)
                for place, (count, weight) in enumerate(zip(leases, weights, strict=True))
            ],
        )  # fmt: skip

    def savings(self, visitor: Visitor, ask: PeriodAsk) -> Savings:
        """Return what the idle rule gave back; for administrators."""
        self._need_admin(visitor)
        period = self.period(ask)
        with self._store.reading() as unit:
            leases, seconds = unit.saved_by_idle_rule(period.since, period.until)
        return Savings(since=period.since, until=period.until, leases=leases, gpu_seconds=seconds)


def _wanted(ask: Narrowed) -> dict[By, str]:
    return {by: value for by in NARROWED if (value := getattr(ask, by.value)) is not None}


def _used(row: dict[str, Any]) -> UsedLease:
    told = {name: row[name] for name in UsedLease.model_fields if name in row}
    return UsedLease(
        **told, charged=row["charged_now"], busy=row["busy_milli"] // 1000,
        efficiency=share(row["busy_milli"], 1000 * row["measured"]),
    )  # fmt: skip


def _events(
    lease: Lease, detail: str, warned: list[tuple[int, str]], posted: list[dict[str, Any]], lang: str
) -> list[LeaseEvent]:  # fmt: skip
    """Return what happened to a lease, in the order of time."""
    found = [(lease.asked_at, "asked"), (lease.placed_at, "placed"), (lease.started_at, "started")]
    events = [LeaseEvent(at=at, kind=kind, text=say(f"event-{kind}", lang)) for at, kind in found if at is not None]
    for at, slug in warned:
        events.append(LeaseEvent(at=at, kind="warned", text=say(f"event-{slug}", lang)))
    for row in posted:
        kind = ENTRIES[row["entry"]]
        amount = {"extend": row["held"], "refund": -row["charged"]}.get(row["entry"], row["charged"])
        said = sentence(f"event-{kind}", lang, held=int(amount), actor=row["actor"], reason=row["reason"])
        events.append(LeaseEvent(at=row["at"], kind=kind, text=said))
    if lease.ended_at is not None:
        events.append(LeaseEvent(at=lease.ended_at, kind="ended", text=detail))
    if lease.state is State.SETTLED:
        charged = sentence("event-settled", lang, charged=lease.charged)
        events.append(LeaseEvent(at=lease.ended_at or lease.asked_at, kind="settled", text=charged))
    # Sorting keeps the order of what happened in the same second.
    return sorted(events, key=lambda event: event.at)
