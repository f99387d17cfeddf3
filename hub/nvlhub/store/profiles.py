"""Profiles: immutable versions, of which one is published, and how their starts went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from nvlhub.errors import NotFoundError
from nvlhub.flow.request import Profile
from nvlhub.store import tables as t
from nvlhub.store.work import Work

_PUBLISHED = sa.select(t.profiles).where((t.profiles.c.name == sa.bindparam("name")) & t.profiles.c.published)
_VERSION = sa.select(t.profiles).where(
    t.profiles.c.name == sa.bindparam("name"), t.profiles.c.version == sa.bindparam("version")
)


@dataclass(frozen=True, slots=True)
class Edition:
    """A version with its place in the life of its profile."""

    profile: Profile
    published: bool
    publication: int | None
    """Which publication of the profile made it the published one last, from 1; None: it never was."""


@dataclass(frozen=True, slots=True)
class Starts:
    """How the starts of one version went; `times`: how many took so many seconds."""

    name: str
    version: int
    starts: int
    failures: int
    running: int
    times: Sequence[tuple[int, int]]


class Profiles(Work):
    """Which shapes can be started."""

    def add_profile(self, profile: Profile) -> int:
        """Add the next version of a profile as a draft; return its number. Versions never change."""
        self._alone(f"profile:{profile.name}")
        last = self.connection.scalar(
            sa.select(sa.func.max(t.profiles.c.version)).where(t.profiles.c.name == profile.name)
        )
        version = (last or 0) + 1
        row = asdict(profile) | {"version": version, "span": profile.span.value}
        self.connection.execute(t.profiles.insert().values(**row))
        return version

    def publish(self, name: str, version: int) -> None:
        """Make one version the published one. Raises `NotFoundError`."""
        self._alone(f"profile:{name}")
        named = t.profiles.c.name == name
        last = self.connection.scalar(sa.select(sa.func.max(t.profiles.c.publication)).where(named))
        self.connection.execute(t.profiles.update().where(named).values(published=False))
        changed = self.connection.execute(
            t.profiles.update()
            .where(named & (t.profiles.c.version == version))
            .values(published=True, publication=(last or 0) + 1)
        )
        if not changed.rowcount:
            raise NotFoundError("profile-unknown", profile=f"{name} version {version}")

    def profile(self, name: str, version: int | None = None) -> Profile:
        """Return a version of a profile; without a number the published one. Raises `NotFoundError`."""
        row = self._one(_PUBLISHED, name=name) if version is None else self._one(_VERSION, name=name, version=version)
        if row is None:
            raise NotFoundError("profile-unknown", profile=name if version is None else f"{name} version {version}")
        return t.profile_of(row)

    def published_profiles(self) -> list[Profile]:
        """Return the published profiles, the smallest first."""
        query = sa.select(t.profiles).where(t.profiles.c.published).order_by(t.profiles.c.gpus, t.profiles.c.name)
        return [t.profile_of(row) for row in self._all(query)]

    def editions(self, name: str | None = None, *, alone: bool = False) -> list[Edition]:
        """Return every version of a profile, or of all, the oldest first; `alone`: nobody adds one until the unit ends."""
        query = sa.select(t.profiles).order_by(t.profiles.c.name, t.profiles.c.version)
        if name is not None:
            if alone:
                self._alone(f"profile:{name}")
            query = query.where(t.profiles.c.name == name)
        return [Edition(t.profile_of(row), row.published, row.publication) for row in self._all(query)]

    def starts(self, name: str | None = None) -> list[Starts]:
        """Return how the starts of every version of a profile, or of all profiles, went: by name and version."""
        leases = t.leases.c
        of = [] if name is None else [leases.profile == name]
        tried = leases.placed_at.is_not(None) | leases.started_at.is_not(None)
        # Heard of once it was seen to run, or not: the first sign of life is set when the engine sees it.
        unheard = leases.started_at.is_(None) | (leases.beat_at <= leases.started_at)
        failed = (leases.end_reason == "engine") | ((leases.end_reason == "lost") & unheard)

        def count(which: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
            return sa.func.coalesce(sa.func.sum(sa.case((which, 1), else_=0)), 0)

        versions = sa.select(
            leases.profile, leases.version, count(tried).label("starts"), count(tried & failed).label("failures"),
            count(t.active & leases.started_at.is_not(None)).label("running"),
        ).where(*of).group_by(leases.profile, leases.version).order_by(leases.profile, leases.version)  # fmt: skip
        # Whole seconds: as many rows as there are different times, however many leases there were.
        took = (leases.started_at - leases.placed_at).label("took")
        timed = sa.select(leases.profile, leases.version, took, sa.func.count().label("times")).where(
            *of, leases.placed_at.is_not(None), leases.started_at.is_not(None)
        ).group_by(leases.profile, leases.version, took).order_by(took)  # fmt: skip
        times = defaultdict(list)
        for row in self._all(timed):
            times[row.profile, row.version].append((max(0, int(row.took)), int(row.times)))
        return [
            Starts(
                row.profile, row.version, int(row.starts), int(row.failures), int(row.running),
                times[row.profile, row.version],
            )
            for row in self._all(versions)
        ]  # fmt: skip
