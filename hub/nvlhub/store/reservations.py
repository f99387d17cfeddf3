"""Rows of reservations. The database itself refuses a tray that would be reserved twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from nvlhub.flow.reservation import Booking, Place
from nvlhub.store import tables as t
from nvlhub.store.work import Work


class Reservations(Work):
    """Capacity kept between two times."""

    def alone_with_reservations(self, pool: str) -> None:
        """Keep others from reserving in a pool until the unit ends: what is chosen rests on what was read."""
        self._alone(f"reservations:{pool}")

    def add_reservation(self, trays: Iterable[Place], **values: Any) -> int:
        """Add a reservation; return its number. Raises `ConflictError` for a tray that is reserved already."""
        number = self.connection.scalar(t.reservations.insert().values(**values).returning(t.reservations.c.id))
        assert number is not None  # noqa: S101  # an INSERT … RETURNING returns
        self._reserve(int(number), values["pool"], values["starts"], values["ends"], trays)
        return int(number)

    def _reserve(self, number: int, pool: str, starts: int, ends: int, trays: Iterable[Place]) -> None:
        rows = [
            {"reservation": number, "pool": pool, "domain": domain, "tray": tray, "starts": starts, "ends": ends}
            for domain, tray in trays
        ]
        with self.trying():
            self.connection.execute(t.reserved_trays.insert(), rows)

    def move_reservation(
        self, number: int, pool: str, starts: int, ends: int, gpus: int, trays: Iterable[Place]
    ) -> None:  # fmt: skip
        """Give a reservation other times and trays. Raises `ConflictError` for a tray that is reserved already."""
        self._free(number)
        self._set(number, starts=starts, ends=ends, gpus=gpus)
        self._reserve(number, pool, starts, ends, trays)

    def cancel_reservation(self, number: int) -> None:
        """Cancel a reservation: its trays are free for others."""
        self._free(number)
        self._set(number, state="cancelled")

    def _free(self, number: int) -> None:
        self.connection.execute(t.reserved_trays.delete().where(t.reserved_trays.c.reservation == number))

    def _set(self, number: int, **values: Any) -> None:
        self.connection.execute(t.reservations.update().where(t.reservations.c.id == number).values(**values))

    def reservation(self, number: int) -> dict[str, Any]:
        """Return a reservation with its project's programme and its `trays`. Raises `NotFoundError`."""
        query = self._reservations().where(t.reservations.c.id == number)
        row = self._found(query, False, "reservation-unknown", reservation=number)
        return {**row, "trays": self._trays([number]).get(number, ())}

    def _reservations(self) -> sa.Select[Any]:
        projects = t.projects.c.slug == t.reservations.c.project
        return sa.select(t.reservations, t.projects.c.programme).outerjoin(t.projects, projects)

    def reservations(
        self, pool: str, since: int, until: int | None, page: int, per_page: int
    ) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
        """Return a page of the booked reservations that have a second in an interval, by start, as :meth:`reservation`."""
        query = self._booked(self._reservations(), pool, since, until)
        rows, total = self._page(query, [t.reservations.c.starts, t.reservations.c.id], page, per_page)
        trays = self._trays([row["id"] for row in rows])
        return [{**row, "trays": trays.get(row["id"], ())} for row in rows], total

    def bookings(self, pool: str, since: int, until: int | None = None) -> list[Booking]:
        """Return the booked reservations that have a second in an interval, by start."""
        rows = self._all(
            self._booked(sa.select(t.reservations), pool, since, until).order_by(
                t.reservations.c.starts, t.reservations.c.id
            )
        )
        trays = self._trays([row.id for row in rows])
        return [Booking(row.id, row.project or "", row.starts, row.ends, trays.get(row.id, ())) for row in rows]

    def _booked(self, query: sa.Select[Any], pool: str, since: int, until: int | None) -> sa.Select[Any]:
        query = query.where(
            t.reservations.c.pool == pool, t.reservations.c.state == "booked", t.reservations.c.ends > since
        )
        return query if until is None else query.where(t.reservations.c.starts < until)

    def _trays(self, numbers: list[int]) -> dict[int, tuple[Place, ...]]:
        if not numbers:
            return {}
        kept = t.reserved_trays.c
        query = sa.select(kept.reservation, kept.domain, kept.tray).where(kept.reservation.in_(numbers))
        found: dict[int, tuple[Place, ...]] = {}
        for row in self._all(query.order_by(kept.reservation, kept.domain, kept.tray)):
            found[row.reservation] = (*found.get(row.reservation, ()), (row.domain, row.tray))
        return found
