"""Slots of runs: what is set aside and charged for them, and whose leases use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from nvlhub.errors import ConflictError
from nvlhub.flow.settlement import slot_end_postings, slot_hold_postings
from nvlhub.flow.slot import Seated, Stay
from nvlhub.store import tables as t
from nvlhub.store.journal import Journal

# Made once: admission asks it for every lease.
_runs, _seats = t.runs.c, t.seats.c
_SEATED = (
    sa.select(_runs.id, _runs.ends, _runs.gpus, _runs.award, _runs.held, t.reservations.c.gpus.label("kept"))
    .join(t.seats, _seats.run == _runs.id)
    .join(t.courses, t.courses.c.slug == _runs.course)
    .outerjoin(t.reservations, t.reservations.c.id == _runs.reservation)
    .where(
        _seats.user == sa.bindparam("of_user"), t.courses.c.project == sa.bindparam("of_project"),
        _runs.state == "approved", _runs.starts - _runs.warm <= sa.bindparam("at"),
        _runs.ends + _seats.extra > sa.bindparam("at"),
    )
    # A seat without GPUs has nothing to start a kernel on where another has.
    .order_by(_runs.gpus == 0, _runs.ends, _runs.id)
)  # fmt: skip
_STAYS = (
    sa.select(
        _runs.id, (_runs.starts - _runs.warm).label("starts"), (_runs.ends + _seats.extra).label("ends"), _runs.gpus, _runs.zone,
        _seats.made_member,
    )
    .join(t.seats, _seats.run == _runs.id)
    .join(t.courses, t.courses.c.slug == _runs.course)
    .join(t.members, (t.members.c.project == t.courses.c.project) & (t.members.c.user == _seats.user))
    .where(
        _seats.user == sa.bindparam("of_user"), t.courses.c.project == sa.bindparam("of_project"), _runs.state == "approved",
        t.members.c.role == "member",
    )
    .order_by(_runs.starts, _runs.id)
)  # fmt: skip
_in_slot = (t.leases.c.held == 0) & ~t.leases.c.preemptible & t.leases.c.run.is_not(None)
_USED = sa.select(
    sa.func.coalesce(sa.func.sum(t.leases.c.gpus), 0).label("by_all"),
    sa.func.coalesce(
        sa.func.sum(sa.case((t.leases.c.user == sa.bindparam("of_user"), t.leases.c.gpus), else_=0)), 0
    ).label("own"),
).where(t.active, _in_slot, t.leases.c.run == sa.bindparam("of_run"))


class Slots(Journal):
    """What runs keep, and who uses it."""

    def seated(self, project: str, user: str, at: int, gpus: int = 1) -> Seated | None:
        """Return the seat that a user has in a run of a project that goes on, or is being warmed; None: none.

        Of several it is the first that pays for `gpus` more, else the one that ends first.
        """
        found = [self._seated(row, user, at) for row in self._all(_SEATED, of_project=project, of_user=user, at=at)]
        return next((one for one in found if one.covers(gpus)), found[0] if found else None)

    def _seated(self, row: sa.Row[Any], user: str, at: int) -> Seated:
        if not row.held or at >= row.ends:
            # It pays by use, or its slot is over and paid for.
            return Seated(row.id, row.ends, row.gpus, None)
        used = self.connection.execute(_USED, {"of_run": row.id, "of_user": user}).one()
        return Seated(row.id, row.ends, row.gpus, row.award, row.kept or 0, int(used.own), int(used.by_all))

    def stays(self, project: str, user: str) -> tuple[Stay, ...]:
        """Return the seats with GPUs of a guest of a project, in runs that nobody ended; empty: they are no guest of it."""
        rows = self._all(_STAYS, of_project=project, of_user=user)
        if not any(row.made_member for row in rows):
            return ()
        return tuple(Stay(row.id, row.starts, row.ends, row.gpus, row.zone) for row in rows if row.gpus)

    def slot_ends(self, run: int, at: int) -> int:
        """Return until when the slot of a run pays for leases; `at`, the present, where it no longer does."""
        runs = t.runs.c
        ends = self.connection.scalar(sa.select(runs.ends).where(runs.id == run, runs.state == "approved"))
        return max(at, int(ends or 0))

    def hold_slot(
        self, run: Mapping[str, Any], award: int, units: int, factor_milli: int, *, at: int, actor: str
    ) -> None:
        """Set aside what a slot costs. Raises `ConflictError` when the award has not that much, or ends before it."""
        self._set_aside(award, units, run["ends"])
        holds = run["holds"] + 1
        changed = self.connection.execute(
            t.runs.update()
            .where(t.runs.c.id == run["id"], t.runs.c.held == 0, t.runs.c.holds == run["holds"])
            .values(award=award, held=units, factor_milli=factor_milli, holds=holds)
        )
        if changed.rowcount != 1:
            raise ConflictError("run-changed", run=str(run["id"]))
        self._write(slot_hold_postings(run["id"], holds, award, units), at=at, actor=actor)

    def end_slot(
        self, run: Mapping[str, Any], pool: str, used: int, *, at: int, actor: str, reason: str = ""
    ) -> None:  # fmt: skip
        """Charge what was kept of a slot, and give back the rest; a slot for which nothing is set aside stays as it is.

        Raises `ConflictError` for one that was paid for meanwhile.
        """
        if not run["held"]:
            return
        marks = (t.runs.c.id == run["id"]) & (t.runs.c.held == run["held"]) & (t.runs.c.holds == run["holds"])
        paid = {"settled_at": at, "charged": used} if used else {}
        if self.connection.execute(t.runs.update().where(marks).values(held=0, **paid)).rowcount != 1:
            raise ConflictError("run-changed", run=str(run["id"]))
        self._charge([(run["award"], run["held"], used)])
        written = slot_end_postings(run["id"], run["holds"], run["award"], pool, run["held"], used, reason)
        self._write(written, at=at, actor=actor)

    def over_slots(self, now: int) -> list[int]:
        """Return the runs whose slots are over and not paid for yet."""
        query = sa.select(t.runs.c.id).where(t.runs.c.held > 0, t.runs.c.ends <= now).order_by(t.runs.c.id)
        return list(self.connection.scalars(query))

    def slotless_leases(self, now: int) -> list[str]:
        """Return the active leases for which a slot paid that is over, was closed or was cancelled."""
        goes_on = (t.runs.c.state == "approved") & (t.runs.c.ends > now)
        query = (
            sa.select(t.leases.c.id).join(t.runs, t.runs.c.id == t.leases.c.run)
            .where(t.active, _in_slot, ~goes_on).order_by(t.leases.c.number)
        )  # fmt: skip
        return list(self.connection.scalars(query))

    def paid_by_leases(self, runs: Sequence[int]) -> dict[int, int]:
        """Return what the leases of runs were charged, net; milli-GPU-seconds by run."""
        net = sa.func.sum(t.leases.c.charged - t.leases.c.refunded + t.leases.c.corrected)
        query = sa.select(t.leases.c.run, net.label("net")).where(t.leases.c.run.in_(runs)).group_by(t.leases.c.run)
        return {row.run: int(row.net) for row in self._all(query)}

    def run_of_reservation(self, reservation: int) -> int | None:
        """Return the approved run that a reservation is for."""
        runs = t.runs.c
        query = sa.select(runs.id).where(runs.reservation == reservation, runs.state == "approved")
        return self.connection.scalar(query)
