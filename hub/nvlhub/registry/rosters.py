"""Use cases of rosters. Who may is checked here: those who teach, not those who only decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nvlhub.errors import BadInputError, ConflictError
from nvlhub.explain import sentence
from nvlhub.flow import roster
from nvlhub.flow.course import RunState
from nvlhub.flow.roster import Fault, Listed
from nvlhub.forms import RosterEntry, RosterFault, RosterView
from nvlhub.registry.teaching import Teaching
from nvlhub.store import Unit
from nvlhub.visitor import Visitor

SHOWN = 200
"""Errors that are listed; all are counted."""
NAMES = {"name": "name_zh", "user": "email_or_username"}
"""Columns of the table -> those of the file, where they differ."""


class RosterRefusedError(BadInputError):
    """Something is wrong with a file, so the roster stays as it is. Members: `errors`, the first of `total`."""


class Rosters(Teaching):
    """Who is to come to a run."""

    def roster(self, visitor: Visitor, number: int) -> RosterView:
        """Return the roster of a run."""
        return RosterView(run=str(number), rows=_entries(self._roster(visitor, number)))

    def roster_file(self, visitor: Visitor, number: int) -> bytes:
        """Return the same as a CSV file."""
        return roster.write(self._roster(visitor, number))

    def _roster(self, visitor: Visitor, number: int) -> list[Listed]:
        with self._store.reading() as unit:
            self._run(unit, visitor, number)
            return [_listed(row) for row in unit.roster(number)]

    def bring(self, visitor: Visitor, number: int, content: bytes | str, lang: str, *, dry_run: bool) -> RosterView:
        """Have a file be the roster of a run: all of it or nothing; with `dry_run`, tell what that would change.

        Raises `RosterRefusedError` with all that is wrong, row by row, in the reader's language.
        """
        with self._store.writing() as unit:
            run = self._run(unit, visitor, number, lock=True)
            if run["state"] in {RunState.CANCELLED, RunState.CLOSED} or run["redacted_at"] is not None:
                raise ConflictError("run-over", run=str(number))
            text = roster.decode(content) if isinstance(content, bytes) else content
            found = roster.read(text, run["seats"])
            if found.faults:
                raise self._refused(found.faults, lang)
            known = [_listed(row) for row in unit.roster(number, dropped=True)]
            after = roster.merged(found.rows, known)
            told = _difference(known, after)
            if not dry_run:
                unit.set_roster(number, [_row(one) for one in after])
                self._noted(unit, visitor, run, told)
        rows = _entries([one for one in after if not one.dropped])
        return RosterView(run=str(number), rows=rows, dry_run=dry_run, ignored=list(found.ignored), **told)

    def _refused(self, faults: Sequence[Fault], lang: str) -> RosterRefusedError:
        listed = [
            RosterFault(
                row=fault.row, field=str(fault.error.members.get("field", "")),
                detail=sentence(fault.error.slug, lang, **fault.error.members),
            ).model_dump()
            for fault in faults[:SHOWN]
        ]  # fmt: skip
        return RosterRefusedError("roster-refused", field="csv", total=len(faults), errors=listed)

    def _noted(self, unit: Unit, visitor: Visitor, run: dict[str, Any], told: dict[str, int]) -> None:
        # Counts only: names are removed after some days, and the trail never is.
        unit.note(
            "run-roster", f"run:{run['id']}", at=self._clock.now(), actor=visitor.name, programme=run["programme"],
            project=run["project"], after=told,
        )  # fmt: skip


def _listed(row: dict[str, Any]) -> Listed:
    return Listed(**{NAMES.get(name, name): value for name, value in row.items() if name != "run"})


def _row(listed: Listed) -> dict[str, Any]:
    return {
        "row": listed.row, "student_no": listed.student_no, "name": listed.name_zh, "name_latin": listed.name_latin,
        "user": listed.email_or_username, "group": listed.group, "seat": listed.seat, "dropped": listed.dropped,
    }  # fmt: skip


def _entries(rows: Sequence[Listed]) -> list[RosterEntry]:
    return [RosterEntry(**{name: getattr(one, name) for name in RosterEntry.model_fields}) for one in rows]


def _difference(known: Sequence[Listed], after: Sequence[Listed]) -> dict[str, int]:
    """Count what changes, by kind."""
    before = {one.row: one for one in known if not one.dropped}
    now = {one.row: one for one in after if not one.dropped}
    same = sum(before[row] == now[row] for row in before.keys() & now.keys())
    both = len(before.keys() & now.keys())
    return {
        "added": len(now) - both, "dropped": len(before) - both, "changed": both - same, "unchanged": same
    }  # fmt: skip
