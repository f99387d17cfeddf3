"""Use cases of burn-downs, and of how a pool is shared. Who may is checked here."""

from __future__ import annotations

from typing import Any

from nvlhub.errors import NotAllowedError, NotFoundError
from nvlhub.flow import awarding
from nvlhub.flow.burn import DAY, burn_down
from nvlhub.flow.report import By, Period, split_by, summarise
from nvlhub.forms import BurnDown, ShareView, StandingView
from nvlhub.registry.office import Office, Standing
from nvlhub.store import Unit
from nvlhub.store.burning import Wanted
from nvlhub.visitor import Visitor

USUAL = 30 * DAY
MOST = 10_000
"""Programmes that are told apart."""


class Burning(Office):
    """How awards are used up, and by whom a pool is."""

    def of_programme(self, visitor: Visitor, slug: str, pool: str, days: int) -> BurnDown:
        """Return the burn-down of all awards of a programme: for its officers and administrators."""
        with self._store.reading() as unit:
            who = self._standing(unit, visitor)
            who.need_officer(slug)
            unit.programme(slug)
            return self._burn_down(unit, Wanted(programme=slug, pool=pool), days)

    def of_project(self, visitor: Visitor, slug: str, pool: str, days: int) -> BurnDown:
        """Return the burn-down of the awards of a project that is the visitor's to see."""
        with self._store.reading() as unit:
            self._standing(unit, visitor).need_sight(unit.project(slug))
            return self._burn_down(unit, Wanted(project=slug, pool=pool), days)

    def of_award(self, visitor: Visitor, number: int, days: int) -> BurnDown:
        """Return the burn-down of an award. Raises `NotFoundError` for one that is not the visitor's to see."""
        with self._store.reading() as unit:
            row = unit.award(number)
            if not self._standing(unit, visitor).sees({"slug": row["project"], "programme": row["programme"]}):
                raise NotFoundError("award-unknown", award=number)
            return self._burn_down(unit, Wanted(award=number), days)

    def _burn_down(self, unit: Unit, wanted: Wanted, days: int) -> BurnDown:
        now = self._clock.now()
        since = max(0, now - days * DAY)
        first = since - since % DAY
        points = burn_down(unit.standing(wanted), unit.posted_by_day(wanted, first), since, now)
        fuel = unit.fuel(wanted, now, now - awarding.LOOK_BACK)
        dry = None
        if fuel is not None:
            over = min(awarding.LOOK_BACK, now - fuel.starts)
            dry = awarding.dry_at(fuel.left, fuel.used, over, fuel.ends, now)
        return BurnDown(
            since=since, until=now, dry_at=dry, ends=fuel.ends if fuel else None,
            points=[
                StandingView(at=point.at, awarded=point.awarded, charged=point.charged, left=point.left) for point in points
            ],
        )  # fmt: skip

    def _programmes(self, unit: Unit, who: Standing) -> list[dict[str, Any]]:
        return unit.programmes(None if who.admin else who.officer_of, per_page=MOST)[0]

    def shares(self, visitor: Visitor, pool: str) -> list[ShareView]:
        """Return what each programme holds of a pool now, and what it used in the last 30 days, the largest first.

        For officers and administrators; what is not an officer's own programme is summed up.
        """
        now = self._clock.now()
        with self._store.reading() as unit:
            who = self._standing(unit, visitor)
            if not (who.admin or who.officer_of):
                raise NotAllowedError("not-allowed")
            unit.pool(pool)
            period = Period(max(0, now - USUAL), now)
            facts = unit.lease_facts(period.since, now, None, {By.POOL: pool}, domains=False)
            used = summarise(facts, now, {"rows": split_by(By.PROGRAMME, period)})["rows"]
            theirs = {row["slug"]: row for row in self._programmes(unit, who)}
        found: dict[str, list[int]] = {slug: [0, 0, 0] for slug in theirs}
        for lease in self._desk.board.leases.values():
            if lease.placement and lease.pool == pool:
                row = found.setdefault(lease.programme if lease.programme in theirs else "", [0, 0, 0])
                row[lease.preemptible] += lease.gpus
        for slug, tally in used.items():
            found.setdefault(slug if slug in theirs else "", [0, 0, 0])[2] += tally.gpu_seconds
        views = [
            ShareView(
                programme=slug, name=theirs[slug]["name"] if slug else "", share=theirs[slug]["share"] if slug else None,
                gpus=held, preemptible_gpus=preemptible, gpu_seconds=seconds,
            )
            for slug, (held, preemptible, seconds) in found.items()
        ]  # fmt: skip
        return sorted(views, key=lambda view: (-view.gpus, -view.gpu_seconds, view.programme))
