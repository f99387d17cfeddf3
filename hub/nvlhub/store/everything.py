"""All rows of a table at once, as files tell them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nvlhub.store import tables as t
from nvlhub.store.work import Work, as_dict


class Everything(Work):
    """What is told to files."""

    def everything(self, table: str) -> list[dict[str, Any]]:
        """Return all rows of a table, in the order of its primary key."""
        found = t.metadata.tables[table]
        return [as_dict(row) for row in self._all(sa.select(found).order_by(*found.primary_key.columns))]
