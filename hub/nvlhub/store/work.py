"""One transaction's connection, and how everything in the store asks it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from nvlhub.errors import ConflictError, FailedError, NotFoundError


def as_dict(row: sa.Row[Any]) -> dict[str, Any]:
    """Return a row by the names of its columns."""
    return dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's public name


def locked(query: sa.Select[Any]) -> sa.Select[Any]:
    """Return `query` so that it keeps its rows from others until the unit ends.

    Every unit locks in one order, so that no two ever wait for each other: programmes, projects, users, requests,
    leases, awards, budgets (by pool), the audit trail. What only refers to a locked row can be added meanwhile: keys
    never change.
    """
    return query.with_for_update(key_share=True)


class Work:
    """Reads and writes of one transaction; each noun has a class of its own on top of this one."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def _alone(self, name: str) -> None:
        """Wait until nobody else is between reading whether `name` is there and writing it, until the unit ends.

        SQLite has one writer at a time anyway.
        """
        if self.connection.dialect.name == "postgresql":
            self.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0))))

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Undo what the block writes, and nothing else, when it raises.

        Raises `ConflictError` for what only the database itself refuses, `FailedError` when others were in the way.
        """
        try:
            with self.connection.begin_nested():
                yield
        except (sa.exc.IntegrityError, sa.exc.DataError) as error:
            raise ConflictError("row-refused") from error
        except sa.exc.OperationalError as error:
            raise FailedError("portal-busy") from error

    def _all(self, query: sa.Select[Any], **bound: object) -> Sequence[sa.Row[Any]]:
        return self.connection.execute(query, bound).all()

    def _one(self, query: sa.Select[Any], **bound: object) -> sa.Row[Any] | None:
        return self.connection.execute(query, bound).one_or_none()

    def _found(self, query: sa.Select[Any], lock: bool, slug: str, **members: object) -> dict[str, Any]:
        """Return the one row, kept from others until the unit ends if `lock`. Raises `NotFoundError` with `slug`."""
        row = self._one(locked(query) if lock else query)
        if row is None:
            raise NotFoundError(slug, **members)
        return as_dict(row)

    def _added(self, row: sa.Insert) -> bool:
        """Add a row that has a name; return False when the name is taken, however recently."""
        try:
            with self.connection.begin_nested():
                self.connection.execute(row)
        except IntegrityError:
            return False
        return True

    def _page(
        self, query: sa.Select[Any], order: Sequence[Any], page: int, per_page: int
    ) -> tuple[list[dict[str, Any]], int]:
        """Return a page of rows, and how many there are in all."""
        total = self.connection.scalar(sa.select(sa.func.count()).select_from(query.subquery()))
        rows = self._all(query.order_by(*order).limit(per_page).offset((page - 1) * per_page))
        return [as_dict(row) for row in rows], int(total or 0)
