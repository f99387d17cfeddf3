"""Use cases of reservations. Who may is checked here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nvlhub.dates import shown
from nvlhub.errors import BadInputError, ConflictError
from nvlhub.flow.lease import Lease
from nvlhub.flow.reservation import FARTHEST, LONGEST, SEARCHED, NoRoom, Place, choose
from nvlhub.forms import InTheWay, NewReservation, ReservationPatch, ReservationView, TrayPlace
from nvlhub.registry.office import Office, Standing, check_match, etag
from nvlhub.store import Unit
from nvlhub.visitor import Visitor
from nvlhub.wire import State

EDITED = ("starts", "ends", "gpus", "state")
"""What people change of a reservation."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be reserved; `mine`: the reservation that is moved, and its trays."""

    gpus: int
    starts: int
    ends: int
    number: int | None = None
    mine: tuple[Place, ...] = ()


class Reservations(Office):
    """Capacity kept between two times."""

    def reservations(
        self, visitor: Visitor, *, since: int | None, until: int | None, page: int, per_page: int
    ) -> tuple[list[ReservationView], int]:  # fmt: skip
        """Return a page of the reservations that have a second in an interval, by start; `since` None: from now on."""
        start = self._clock.now() if since is None else since
        with self._store.reading() as unit:
            who = self._standing(unit, visitor)
            rows, total = unit.reservations(self._desk.pool, start, until, page, per_page)
        return [self._view(row, who) for row in rows], total

    def reservation(self, visitor: Visitor, number: int) -> tuple[ReservationView, str]:
        """Return a reservation and its entity tag. Raises `NotFoundError`."""
        with self._store.reading() as unit:
            row = unit.reservation(number)
            return self._view(row, self._standing(unit, visitor)), _tag(row)

    def add(self, visitor: Visitor, new: NewReservation, key: str = "") -> ReservationView:
        """Reserve trays, or with `dry_run` tell which they would be.

        Raises `BadInputError` for times, `ConflictError` with what would be possible where there are too few.
        """
        self._need_admin(visitor)
        now, wish = self._clock.now(), _Wish(new.gpus, new.starts, new.ends)
        facts = {
            "pool": self._desk.pool, "name": new.name, "project": new.project, "starts": new.starts, "ends": new.ends,
            "state": "booked", "note": new.note, "made_by": visitor.name, "made_at": now,
        }  # fmt: skip
        with self._store.writing() as unit:
            who = self._standing(unit, visitor)
            unit.alone_with_reservations(self._desk.pool)
            project = unit.project(new.project)

            def tried() -> tuple[Place, ...]:
                self._check(new.starts, new.ends, now)
                return self._choose(unit, wish)

            if new.dry_run:
                trays = tried()
                row = {**facts, "id": "", "gpus": self._gpus(trays), "trays": trays, "programme": project["programme"]}
                return self._view(row, who)

            def do() -> int:
                trays = tried()
                number = unit.add_reservation(trays, gpus=self._gpus(trays), **facts)
                self._noted(unit, visitor, "reservation-add", None, unit.reservation(number))
                return number

            row = unit.reservation(self._once(unit, visitor, key, new, do))
        self._desk.capacity_changed()
        return self._view(row, who)

    def move(
        self, visitor: Visitor, number: int, patch: ReservationPatch, match: str
    ) -> tuple[ReservationView, str]:  # fmt: skip
        """Move a reservation to other times, with the same trays where they are open then.

        Raises as :meth:`add` does; nothing is changed then.
        """
        self._need_admin(visitor)
        now = self._clock.now()
        with self._store.writing() as unit:
            who = self._standing(unit, visitor)
            unit.alone_with_reservations(self._desk.pool)
            before = unit.reservation(number)
            check_match({name: before[name] for name in EDITED}, match)
            self._need_open(before, now)
            self._need_no_run(unit, number)
            times = {"starts": before["starts"], "ends": before["ends"], **patch.model_dump(exclude_unset=True)}
            starts, ends = times["starts"], times["ends"]
            self._check(starts, ends, now, begun=starts == before["starts"])
            trays = self._choose(unit, _Wish(before["gpus"], starts, ends, number, before["trays"]))
            unit.move_reservation(number, before["pool"], starts, ends, self._gpus(trays), trays)
            after = unit.reservation(number)
            self._noted(unit, visitor, "reservation-move", before, after)
        self._desk.capacity_changed()
        return self._view(after, who), _tag(after)

    def cancel(self, visitor: Visitor, number: int) -> ReservationView:
        """Cancel a reservation; one that is cancelled stays so. Raises `ConflictError` for one that is over."""
        self._need_admin(visitor)
        with self._store.writing() as unit:
            who = self._standing(unit, visitor)
            unit.alone_with_reservations(self._desk.pool)
            before = unit.reservation(number)
            if before["state"] == "cancelled":
                return self._view(before, who)
            self._need_open(before, self._clock.now())
            self._need_no_run(unit, number)
            unit.cancel_reservation(number)
            after = unit.reservation(number)
            self._noted(unit, visitor, "reservation-cancel", before, after)
        self._desk.capacity_changed()
        return self._view(after, who)

    # --- rules ------------------------------------------------------------------------------------------------

    def _check(self, starts: int, ends: int, now: int, *, begun: bool = False) -> None:
        """Check times; one that has `begun` keeps a start in the past."""
        if starts < now and not begun:
            raise BadInputError("reservation-past", field="starts", now=self._told(now))
        if starts > now + FARTHEST:
            raise BadInputError("reservation-too-far", field="starts", latest=self._told(now + FARTHEST))
        if ends <= max(starts, now):
            raise BadInputError("reservation-reversed", field="ends", starts=self._told(max(starts, now)))
        if ends - starts > LONGEST:
            raise BadInputError("reservation-too-long", field="ends", latest=self._told(starts + LONGEST))

    def _need_open(self, row: dict[str, Any], now: int) -> None:
        if row["state"] == "cancelled" or row["ends"] <= now:
            raise ConflictError("reservation-over", reservation=str(row["id"]))

    def _need_no_run(self, unit: Unit, number: int) -> None:
        """Raise `ConflictError` for what is kept for a run: it moves with the run, and with what that pays."""
        run = unit.run_of_reservation(number)
        if run is not None:
            raise ConflictError("reservation-of-run", reservation=str(number), run=str(run))

    def find(
        self, unit: Unit, gpus: int, starts: int, ends: int, *, number: int | None = None, mine: Sequence[Place] = ()
    ) -> tuple[Place, ...] | NoRoom:  # fmt: skip
        """Return the trays that a reservation would have, or what would be possible; `number`, `mine`: one that is moved."""
        return self._find(unit, _Wish(gpus, starts, ends, number, tuple(mine)))

    def gpus_of(self, trays: Sequence[Place]) -> int:
        """Return what trays have together."""
        return self._gpus(trays)

    def sizes(self) -> dict[Place, int]:
        """Return how many GPUs each tray has."""
        return {(one.name, tray.index): tray.size for one in self._desk.board.capacity for tray in one.trays}

    def _find(self, unit: Unit, wish: _Wish) -> tuple[Place, ...] | NoRoom:
        until = max(wish.ends, wish.starts + SEARCHED + wish.ends - wish.starts)
        bookings = [
            one for one in unit.bookings(self._desk.pool, wish.starts, until) if one.id != wish.number
        ]  # fmt: skip
        held: dict[Place, int] = {}
        for lease, ends in self._holders():
            for share in lease.placement:
                place = share.domain, share.tray
                held[place] = max(ends, held.get(place, 0))
        return choose(wish.gpus, wish.starts, wish.ends, self._desk.board.capacity, bookings, held, wish.mine)

    def _choose(self, unit: Unit, wish: _Wish) -> tuple[Place, ...]:
        found = self._find(unit, wish)
        if not isinstance(found, NoRoom):
            return found
        asked = {"gpus": wish.gpus, "most_gpus": found.largest, "next_starts": found.next_starts}
        if found.next_starts is None:
            raise ConflictError("reservation-no-room", **asked)
        raise ConflictError("reservation-no-room-then", **asked, next_start=self._told(found.next_starts))

    def _holders(self) -> list[tuple[Lease, int]]:
        """Return the leases that need not make room, and until when they have their GPUs at the latest."""
        board = self._desk.board
        return [
            (lease, lease.deadline or board.at + lease.seconds)
            for lease in board.leases.values()
            if lease.placement and lease.state is not State.ENDING and not lease.preemptible
        ]

    def displaced(self, trays: Sequence[Place], project: str, since: int) -> list[InTheWay]:
        """Return the leases of others that could still have GPUs on trays which are kept for a project from a time on.

        Those with low priority make room; the others go on until their deadlines.
        """
        now, places = self._clock.now(), frozenset(trays)
        held = [
            InTheWay(
                lease=lease.id, user=lease.user, project=lease.project, gpus=lease.gpus,
                until=lease.deadline or now + lease.seconds,
            )
            for lease in self._desk.board.leases.values()
            if lease.project != project and any((share.domain, share.tray) in places for share in lease.placement)
        ]  # fmt: skip
        return [one for one in held if one.until > since]

    def _in_the_way(self, trays: Sequence[Place], starts: int) -> list[InTheWay]:
        now, places = self._clock.now(), frozenset(trays)
        return [
            InTheWay(lease=lease.id, user=lease.user, project=lease.project, gpus=lease.gpus, until=until)
            for lease, until in sorted(self._holders(), key=lambda holder: (-holder[1], holder[0].id))
            if until > starts
            # Those that started later are there because they may be.
            and (starts >= now or (lease.started_at or now) < starts)
            and any((share.domain, share.tray) in places for share in lease.placement)
        ]

    def _gpus(self, trays: Sequence[Place]) -> int:
        sizes = self.sizes()
        return sum(sizes[place] for place in trays if place in sizes)

    # --- telling ----------------------------------------------------------------------------------------------

    def _view(self, row: dict[str, Any], who: Standing) -> ReservationView:
        told: dict[str, Any] = {}
        if who.sees({"slug": row["project"], "programme": row["programme"]}):
            told = {name: row[name] or "" for name in ("name", "project", "note", "made_by")}
            told["made_at"] = row["made_at"]
        if who.admin:
            told["in_the_way"] = self._in_the_way(row["trays"], row["starts"])
        return ReservationView(
            id=str(row["id"]), pool=row["pool"], state=row["state"], gpus=row["gpus"], starts=row["starts"],
            ends=row["ends"], trays=[TrayPlace(domain=domain, tray=tray) for domain, tray in row["trays"]], **told,
        )  # fmt: skip

    def _told(self, at: int) -> str:
        """Return a time as people of the site write it."""
        return shown(at, self._desk.zone)

    def _noted(
        self, unit: Unit, visitor: Visitor, action: str, before: dict[str, Any] | None, after: dict[str, Any]
    ) -> None:
        unit.note(
            action, f"reservation:{after['id']}", at=self._clock.now(), actor=visitor.name,
            programme=after["programme"], project=after["project"], before=_facts(before) if before else None,
            after=_facts(after),
        )  # fmt: skip


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the audit trail tells of a reservation."""
    return {name: row[name] for name in ("name", "gpus", "starts", "ends", "state")} | {
        "trays": [f"{domain}/{tray}" for domain, tray in row["trays"]]
    }


def _tag(row: dict[str, Any]) -> str:
    return etag({name: row[name] for name in EDITED})
