"""One transaction's connection, and how everything in the store asks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from nvlhub.errors import NotFoundError


def as_dict(row: sa.Row[Any]) -> dict[str, Any]:
    """Return a row by the names of its columns."""
    return dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's public name


class Work:
    """Reads and writes of one transaction; each noun has a class of its own on top of this one."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def _all(self, query: sa.Select[Any], **bound: object) -> Sequence[sa.Row[Any]]:
        return self.connection.execute(query, bound).all()

    def _one(self, query: sa.Select[Any], **bound: object) -> sa.Row[Any] | None:
        return self.connection.execute(query, bound).one_or_none()

    def _found(self, query: sa.Select[Any], lock: bool, slug: str, **members: object) -> dict[str, Any]:
        """Return the one row, kept from others until the unit ends if `lock`. Raises `NotFoundError` with `slug`."""
        row = self._one(query.with_for_update() if lock else query)
        if row is None:
            raise NotFoundError(slug, **members)
        return as_dict(row)

    def _page(
        self, query: sa.Select[Any], order: Sequence[Any], page: int, per_page: int
    ) -> tuple[list[dict[str, Any]], int]:
        """Return a page of rows, and how many there are in all."""
        total = self.connection.scalar(sa.select(sa.func.count()).select_from(query.subquery()))
        rows = self._all(query.order_by(*order).limit(per_page).offset((page - 1) * per_page))
        return [as_dict(row) for row in rows], int(total or 0)
