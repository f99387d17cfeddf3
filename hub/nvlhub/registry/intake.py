"""The rows of a file, written in one transaction: each by the rules of the use case that does the same alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from nvlhub.desk import Desk
from nvlhub.errors import BadInputError, ConflictError, NotFoundError, NvlhubError, RefusedError
from nvlhub.exchange import SHEETS, Fault, FileKind, ProfileRow, Row, amount, told
from nvlhub.flow.awarding import check_dates
from nvlhub.flow.request import Pool
from nvlhub.forms import NewProfile
from nvlhub.registry.awards import Awards
from nvlhub.registry.office import fresh_ref
from nvlhub.registry.profiles import Profiles, meant
from nvlhub.store import Unit, line_of
from nvlhub.visitor import Visitor

TRAIL = {
    FileKind.INSTITUTIONS: ("institution-add", "institution-change", "institution:{slug}"),
    FileKind.USERS: ("user-add", "user-change", "user:{name}"),
    FileKind.POOLS: ("pool-add", "pool-change", "pool:{name}"),
    FileKind.CAPACITIES: ("capacity-add", "capacity-add", "pool:{pool}"),
    FileKind.PROGRAMMES: ("programme-add", "programme-change", "programme:{slug}"),
    FileKind.OFFICERS: ("officer-add", "officer-add", "programme:{programme}"),
    FileKind.BUDGETS: ("budget-change", "budget-change", "programme:{programme}"),
    FileKind.PROJECTS: ("project-add", "project-change", "project:{slug}"),
    FileKind.MEMBERS: ("member-set", "member-set", "project:{project}/{user}"),
    FileKind.PROFILES: ("profile-add", "profile-add", "profile:{name}"),
    FileKind.AWARDS: ("award-add", "award-change", "award:{id}"),
}
"""What the audit trail calls a new row and a changed one, and what it is about: as when people do it one by one."""
FIELDS = {
    "award-ends-before-leases": "ends", "award-over": "ends", "award-unknown": "id",
    "budget-below-awarded": "gpu_hours", "budget-too-small": "gpu_hours", "last-pi": "role", "never-fits": "gpus",
    "pool-run-here": "name",
}  # fmt: skip
"""The column that an error is about, where its members do not say so."""
AWARD_FIXED = ("project", "pool", "gpu_hours", "milli_gpu_seconds", "starts")

Columns = dict[str, Any]
Put = Callable[[Columns | None, Columns], Columns | None]


class Intake:
    """One import at work in its transaction."""

    def __init__(self, unit: Unit, visitor: Visitor, desk: Desk, awards: Awards, profiles: Profiles) -> None:
        self.faults: list[Fault] = []
        self._unit = unit
        self._actor = visitor.name
        self._desk = desk
        self._now = desk.clock.now()
        self._awards = awards
        self._profiles = profiles
        self._counts: dict[str, Counter[str]] = {}
        self._trail: list[tuple[FileKind, Columns | None, Columns]] = []
        self._puts: Mapping[FileKind, Put] = {
            FileKind.INSTITUTIONS: self._institution,
            FileKind.USERS: self._user,
            FileKind.POOLS: self._pool,
            FileKind.CAPACITIES: self._capacity_said,
            FileKind.PROGRAMMES: self._programme,
            FileKind.OFFICERS: self._officer,
            FileKind.BUDGETS: self._budget,
            FileKind.PROJECTS: self._project,
            FileKind.MEMBERS: self._member,
            FileKind.PROFILES: self._profile,
            FileKind.AWARDS: self._award,
        }

    def take(self, rows: list[Row]) -> None:
        """Write the rows, kind by kind, so that each finds there what it names; remember what is wrong."""
        for kind in FileKind:
            if mine := [row for row in rows if row.kind is kind]:
                self._take(kind, mine)

    def _take(self, kind: FileKind, rows: list[Row]) -> None:
        sheet = SHEETS[kind]
        there = {sheet.key_of(row): row for row in told(kind, self._unit.everything(kind))}
        counts = self._counts[kind.value] = Counter(created=0, changed=0, unchanged=0)
        # Who answers for a project comes first: it may be handed over in one file, in whatever order its rows are.
        for row in sorted(rows, key=lambda row: getattr(row.body, "role", "") != "pi"):
            full = row.body.model_dump(mode="json")
            before = there.get(sheet.key_of(full))
            after = {**before, **row.body.model_dump(mode="json", exclude_unset=True)} if before else full
            try:
                done = None if after == before else self._put(kind, before, after)
            except (BadInputError, RefusedError) as error:
                self.faults.append(Fault(kind, row.row, _field(kind, error), error))
                continue
            if done is None:
                counts["unchanged"] += 1
            else:
                counts["changed" if before else "created"] += 1
                self._trail.append((kind, before, done))

    def _put(self, kind: FileKind, before: Columns | None, after: Columns) -> Columns | None:
        with self._unit.trying():
            return self._puts[kind](before, after)

    def finish(self) -> int:
        """Write the audit trail; return the number of the line that is about the import as a whole.

        At the end, because who writes the trail keeps others from it: they take their rows first and the trail last.
        """
        return self._unit.note_all([
            *(self._line(kind, before, after) for kind, before, after in self._trail),
            line_of("import", "import", at=self._now, actor=self._actor, after=self._counts),
        ])  # fmt: skip

    def _line(self, kind: FileKind, before: Columns | None, after: Columns) -> Columns:
        made, changed, what = TRAIL[kind]
        return line_of(
            changed if before else made, what.format(**after), at=self._now, actor=self._actor, before=before,
            after=after, **self._whose(kind, after),
        )  # fmt: skip

    def _whose(self, kind: FileKind, row: Columns) -> dict[str, str]:
        project = row["slug"] if kind is FileKind.PROJECTS else row.get("project", "")
        user = row["name"] if kind is FileKind.USERS else row.get("user", "")
        programme = row["slug"] if kind is FileKind.PROGRAMMES else row.get("programme", "")
        if project and not programme:
            programme = self._unit.project(project)["programme"]
        return {"programme": programme, "project": project, "user": user}

    # --- one row of each kind: returns it as it is then, or None where nothing had to be done ----------------------

    def _institution(self, before: Columns | None, after: Columns) -> Columns:
        if before is None:
            self._unit.add_institution(**after)
        else:
            self._unit.set_institution(after["slug"], **_changes(before, after))
        return after

    def _user(self, before: Columns | None, after: Columns) -> Columns:
        if before is None:
            self._unit.know_user(after["name"], self._now)
        self._unit.set_user(after["name"], after["cap"])
        return after

    def _pool(self, before: Columns | None, after: Columns) -> Columns:
        if after["name"] == self._desk.pool:
            raise ConflictError("pool-run-here", pool=after["name"])
        self._unit.set_pool(Pool(**after, gpus=self._unit.pool(after["name"]).gpus if before else 0))
        return after

    def _capacity_said(self, before: Columns | None, after: Columns) -> Columns:
        self._unit.pool(after["pool"])
        self._unit.add_capacity(**after, actor=self._actor)
        return after

    def _programme(self, before: Columns | None, after: Columns) -> Columns:
        if before is None:
            self._unit.add_programme(**after)
        else:
            self._unit.set_programme(after["slug"], **_changes(before, after))
        return after

    def _officer(self, before: Columns | None, after: Columns) -> Columns:
        self._unit.programme(after["programme"])
        self._unit.user(after["user"])
        self._unit.set_officer(after["programme"], after["user"], is_one=True)
        return after

    def _budget(self, before: Columns | None, after: Columns) -> Columns:
        self._unit.programme(after["programme"], lock=True)
        self._unit.pool(after["pool"])
        self._unit.set_budget(
            after["programme"], after["pool"], amount(after), ref=fresh_ref(), at=self._now, actor=self._actor
        )
        return after

    def _project(self, before: Columns | None, after: Columns) -> Columns:
        if before is None:
            self._unit.add_project(**after)
            return after
        _check_fixed(before, after, "programme")
        if after["institution"] is not None:
            self._unit.institution(after["institution"])
        self._unit.set_project(after["slug"], **_changes(before, after))
        return after

    def _member(self, before: Columns | None, after: Columns) -> Columns:
        self._unit.set_member(**after)
        return after

    def _profile(self, before: Columns | None, after: Columns) -> Columns | None:
        """Add a version where neither the published one nor the newest is the same, and publish it where told."""
        if before == {**after, "published": True}:
            return None
        wanted = replace(meant(_form(after)), made_by=self._actor, made_at=self._now)
        self._profiles.check_profile(self._unit, wanted)
        versions = [found.profile for found in self._unit.editions(wanted.name, alone=True)]
        if not versions or replace(versions[-1], version=0) != wanted:
            version = self._unit.add_profile(wanted)
        elif after["published"]:
            version = versions[-1].version
        else:
            return None
        if after["published"]:
            self._profiles.check_startable(wanted)
            self._unit.publish(wanted.name, version)
        return after

    def _award(self, before: Columns | None, after: Columns) -> Columns:
        if after["id"] is None:
            return self._new_award(after)
        if before is None:
            raise NotFoundError("award-unknown", award=after["id"])
        _check_fixed(before, after, *AWARD_FIXED)
        row = self._unit.award(int(after["id"]), lock=True)
        if after["ends"] != before["ends"]:
            self._awards.check_end(self._unit, row, after["ends"])
        self._unit.set_award(row["id"], **_changes(before, after))
        return after

    def _new_award(self, after: Columns) -> Columns:
        # What an administrator brings from elsewhere may have begun long ago.
        check_dates(after["starts"], after["ends"], self._now, back=self._now)
        if not amount(after):
            raise BadInputError("award-empty", field="gpu_hours")
        number = self._unit.add_award(
            after["project"], after["pool"], amount(after), after["starts"], after["ends"], cap=after["cap"],
            at=self._now, actor=self._actor,
        )  # fmt: skip
        return {**after, "id": str(number)}


def _changes(before: Columns, after: Columns) -> Columns:
    return {name: value for name, value in after.items() if before[name] != value}


def _form(row: Columns) -> NewProfile:
    """Return the form of a profile that a row stands for. Raises `BadInputError` for what stands in its texts."""
    try:
        return ProfileRow(**row).form()
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = [str(part) for part in first["loc"]]
        field = place[1] if place[0] == "audience" else place[0]
        raise BadInputError("invalid-input", field=field, allowed_text=first["msg"]) from None


def _check_fixed(before: Columns, after: Columns, *names: str) -> None:
    """Raise `BadInputError` for a change of what never changes."""
    for name in names:
        if before[name] != after[name]:
            raise BadInputError("import-fixed", field=name, there=before[name], given=after[name])


def _field(kind: FileKind, error: NvlhubError) -> str:
    """Return the column that an error is about."""
    told_field = error.members.get("field") or FIELDS.get(error.slug)
    columns = SHEETS[kind].columns
    return str(told_field or next((name for name in error.members if name in columns), ""))
