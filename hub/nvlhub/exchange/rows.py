"""What the store holds of a kind -> the rows of a file.

Amounts stand in two columns, so that nothing is lost: whole GPU-hours, and what is beyond in milli-GPU-seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nvlhub.exchange.kinds import SHEETS, FileKind, ProfileRow
from nvlhub.flow.awarding import AwardState, award_state
from nvlhub.wire import MILLI_PER_GPU_HOUR

Rows = Sequence[Mapping[str, Any]]


def told(kind: FileKind, rows: Rows) -> list[dict[str, Any]]:
    """Return the rows of a file that tell what the store holds: by key, awards by project and age."""
    match kind:
        case FileKind.CAPACITIES:
            rows = _last_words(rows)
        case FileKind.BUDGETS:
            rows = [{**row, **_hours(row["granted"])} for row in rows]
        case FileKind.PROFILES:
            rows = [ProfileRow.columns_of(row) for row in _current(rows)]
        case FileKind.AWARDS:
            rows = [{**row, **_hours(row["awarded"]), "id": str(row["id"])} for row in rows]
        case _:
            pass
    sheet = SHEETS[kind]
    shown = [{name: row[name] for name in sheet.columns} for row in rows]
    # Sorted here, because databases do not agree on the order of texts.
    order = (lambda row: (row["project"], int(row["id"]))) if kind is FileKind.AWARDS else sheet.key_of
    return sorted(shown, key=order)


def new_awards(rows: Rows, now: int) -> list[dict[str, Any]]:
    """Return the awards that another portal can make as new ones: those that are not over, with all that they have."""

    def goes_on(row: Mapping[str, Any]) -> bool:
        state = award_state(row["starts"], row["ends"], now, revoked=row["revoked_at"] is not None)
        return state in {AwardState.NEW, AwardState.ACTIVE} and row["awarded"] > 0

    return [{**row, "id": None} for row in told(FileKind.AWARDS, list(filter(goes_on, rows)))]


def _hours(amount: int) -> dict[str, int]:
    """Return an amount of milli-GPU-seconds as the two columns of a file."""
    whole, rest = divmod(amount, MILLI_PER_GPU_HOUR)
    return {"gpu_hours": whole, "milli_gpu_seconds": rest}


def amount(row: Mapping[str, Any]) -> int:
    """Return the amount that the two columns stand for, in milli-GPU-seconds."""
    return int(row["gpu_hours"] * MILLI_PER_GPU_HOUR + row["milli_gpu_seconds"])


def _last_words(rows: Rows) -> Rows:
    """Return what people said last of a pool for a time; what is in service is measured, not told."""
    said = {(row["pool"], row["kind"], row["at"]): row for row in rows if row["kind"] != "in_service"}
    return list(said.values())


def _current(rows: Rows) -> Rows:
    """Return of each profile the published version, or the newest where none is."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if row["published"] or not found.get(row["name"], {}).get("published"):
            found[row["name"]] = row
    return list(found.values())
