"""Use cases of usage reports and statements. Who may is checked here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Literal

from nvlhub.errors import BadInputError
from nvlhub.flow.report import (
    CAPACITIES,
    By,
    Period,
    Split,
    Tally,
    split_by,
    split_by_pool,
    summarise,
    utilisation,
)
from nvlhub.flow.statement import Balance, Movement, balanced
from nvlhub.forms import (
    AwardStatement,
    BalanceView,
    MeasuresView,
    MovementView,
    StatementView,
    UsageAsk,
    UsageReport,
    UtilisationView,
)
from nvlhub.registry.reading import DAY, Reading
from nvlhub.store import Unit
from nvlhub.store.reporting import Words
from nvlhub.visitor import Visitor

DAYS_SHOWN = 93
"""Longer periods are shown by month."""
MOST_MOVEMENTS = 10_000
"""In a statement that is not streamed."""
TIMES = frozenset({By.DAY, By.MONTH})


@dataclass(frozen=True, slots=True)
class Book:
    """An award, what stood of it at the opening, and what was posted since with the balance after it."""

    award: int
    pool: str
    opening: Balance
    lines: Iterable[tuple[Movement, Balance]]


class Reports(Reading):
    """What was used, and what was posted."""

    # --- usage ------------------------------------------------------------------------------------------------

    def usage(self, visitor: Visitor, ask: UsageAsk) -> UsageReport:
        """Return what was used, as far as it is the visitor's to see.

        Administrators see everything, officers their programmes, who answers for a project all of it, everybody their
        own leases. Raises `NotFoundError` for what is not theirs at all, `NotAllowedError` for other users' leases.
        """
        period, now = self.period(ask), self._clock.now()
        past = Period(period.since, min(period.until, now))
        step: Literal[By.DAY, By.MONTH] = By.DAY if period.until - period.since <= DAYS_SHOWN * DAY else By.MONTH
        wanted = {by: value for by in By if (value := getattr(ask, by.value, None)) is not None}
        with self._store.reading() as unit:
            who = self._standing(unit, visitor)
            complete = self._may_read(unit, who, ask)
            self._check_names(unit, ask)
            reach = self._reach(who)
            words = unit.capacity_words(past.until, ask.pool or "")
            facts = unit.lease_facts(period.since, period.until, reach, wanted, domains=ask.by is By.DOMAIN)
            splits = {
                "rows": split_by(ask.by, period, _marks(period, ask.by)),
                "total": split_by(By.TOTAL, period),
                "over_time": split_by(step, period, _marks(period, step)),
            }
            found = summarise(facts, now, splits | _splits_by_pool(past, words))
            names = unit.names(ask.by, found["rows"])
        compared = [row for kind in CAPACITIES for row in utilisation(kind, words.get(kind, {}), found[kind], past)]
        return UsageReport(
            since=period.since, until=period.until, now=now, by=ask.by, complete=complete,
            total=_measures("total", "", found["total"].get("total", Tally())),
            rows=_rows(found["rows"], ask.by, period, names), step=step,
            over_time=_rows(found["over_time"], step, period, {}),
            utilisation=[UtilisationView(**asdict(row), share=_rounded(row.share)) for row in compared],
        )  # fmt: skip

    def _check_names(self, unit: Unit, ask: UsageAsk) -> None:
        """Raise `NotFoundError` for an institution or a pool that does not exist."""
        if ask.institution is not None:
            unit.institution(ask.institution)
        if ask.pool is not None:
            unit.pool(ask.pool)

    # --- statements -------------------------------------------------------------------------------------------

    def statement(self, visitor: Visitor, slug: str, period: Period) -> StatementView:
        """Return what was posted to the awards of a project that is the visitor's to see.

        Raises `BadInputError` above :data:`MOST_MOVEMENTS` transactions.
        """
        with self._store.reading() as unit:
            self._standing(unit, visitor).need_sight(unit.project(slug))
            count = unit.count_movements(slug, period.since, period.until)
            if count > MOST_MOVEMENTS:
                raise BadInputError("statement-too-long", field="since", count=count, most=MOST_MOVEMENTS)
            awards = [_award_statement(book) for book in _books(unit, slug, period)]
        return StatementView(project=slug, since=period.since, until=period.until, awards=awards)

    def books(self, visitor: Visitor, slug: str, period: Period) -> Iterator[Book]:
        """Yield the same for each award, to be read line by line before the next one is taken."""
        with self._store.reading() as unit:
            self._standing(unit, visitor).need_sight(unit.project(slug))
            yield from _books(unit, slug, period)


def _marks(period: Period, by: By) -> list[int]:
    """Return when each day or month (UTC) of a period begins, that in which it begins included."""
    if by is By.DAY:
        return list(range(period.since - period.since % DAY, period.until, DAY))
    if by is not By.MONTH:
        return []
    month = datetime.fromtimestamp(period.since, UTC).replace(day=1, hour=0, minute=0, second=0)
    marks = []
    while month.timestamp() < period.until:
        marks.append(int(month.timestamp()))
        month = (month + timedelta(days=31)).replace(day=1)
    return marks


def _splits_by_pool(past: Period, words: Words) -> dict[str, Split]:
    """Return for each kind of capacity what leaves the use since it became known."""
    known_from = {kind: {pool: said[0][0] for pool, said in pools.items()} for kind, pools in words.items()}
    return {kind: split_by_pool(past, known_from.get(kind, {})) for kind in CAPACITIES}


def _rows(found: dict[str, Tally], by: By, period: Period, names: dict[str, str]) -> list[MeasuresView]:
    """Return groups as they are shown: all days or months in order, anything else the largest first."""
    if by in TIMES:
        form = "%Y-%m-%d" if by is By.DAY else "%Y-%m"
        days = {str(mark): datetime.fromtimestamp(mark, UTC).strftime(form) for mark in _marks(period, by)}
        return [_measures(day, day, found.get(key, Tally())) for key, day in days.items()]
    order = sorted(found, key=lambda key: (-found[key].gpu_seconds, key))
    return [_measures(key, names.get(key, key), found[key]) for key in order]


def _measures(group: str, name: str, tally: Tally) -> MeasuresView:
    return MeasuresView(
        group=group, name=name, gpu_seconds=tally.gpu_seconds, preemptible_gpu_seconds=tally.preemptible_gpu_seconds,
        charged=tally.charged, wait_seconds=tally.wait_seconds, leases_running=tally.running,
        leases_started=tally.started, leases_ended=tally.ended, leases_failed=tally.failed, users=tally.users,
        gpu_hours_per_lease=_rounded(tally.gpu_seconds_per_lease, 3600), gpus_per_lease=_rounded(tally.gpus_per_lease),
        gpus_weighted=_rounded(tally.weighted_size), wait_hours_per_lease=_rounded(tally.wait_per_lease, 3600),
        failed_share=_rounded(tally.failed_share),
    )  # fmt: skip


def _rounded(value: Fraction | None, unit: int = 1) -> float | None:
    return None if value is None else float(round(value / unit, 4))


def _books(unit: Unit, project: str, period: Period) -> Iterator[Book]:
    for award, pool in unit.awards_with_pools(project, period.until):
        opening = unit.balance_before(award, period.since)
        yield Book(award, pool, opening, balanced(opening, unit.movements(award, period.since, period.until)))


def _award_statement(book: Book) -> AwardStatement:
    lines = [
        MovementView(**{**asdict(movement), "change": _balance(movement.change)}, balance=_balance(balance))
        for movement, balance in book.lines
    ]
    opening = _balance(book.opening)
    return AwardStatement(
        award=str(book.award), pool=book.pool, opening=opening, movements=lines,
        closing=lines[-1].balance if lines else opening,
    )  # fmt: skip


def _balance(balance: Balance) -> BalanceView:
    return BalanceView(**asdict(balance))
