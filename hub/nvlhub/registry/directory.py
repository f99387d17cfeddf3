"""Use cases of users, institutions, programmes, projects and members. Who may is checked here."""

from __future__ import annotations

import threading
from typing import Any

from nvlhub.errors import NotAllowedError, NotFoundError
from nvlhub.forms import (
    Budget,
    Holding,
    InstitutionPatch,
    InstitutionView,
    Me,
    Membership,
    MemberView,
    MyProject,
    NewBudget,
    NewInstitution,
    NewProgramme,
    NewProject,
    NewUser,
    ProgrammePatch,
    ProgrammeView,
    ProjectPatch,
    ProjectView,
    UsageView,
    UserPatch,
    UserView,
)
from nvlhub.registry.office import Office, check_match, etag, fresh_ref
from nvlhub.store import ProjectRow, Unit
from nvlhub.visitor import Visitor
from nvlhub.wire import MILLI_PER_GPU_HOUR, State

DAY = 86_400
IDLE = 600
"""Seconds without work after which a GPU counts as idle."""
PI = frozenset({"pi"})
PAR = 1000
"""Charge factor, in thousandths, below which a programme's budget would reach further than it was granted."""


class Directory(Office):
    """Who there is, and who may change that."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    # --- users ------------------------------------------------------------------------------------------------

    def met(self, visitor: Visitor) -> None:
        """Remember whoever visits: only those whom the portal knows can be made members of projects."""
        if visitor.hub or visitor.name in self._seen:
            return
        with self._lock, self._store.writing() as unit:
            unit.know_user(visitor.name, self._clock.now())
        self._seen.add(visitor.name)

    def me(self, visitor: Visitor) -> Me:
        """Return who the visitor is, and what they have."""
        with self._store.reading() as unit:
            projects = unit.projects_of(visitor.name)
            roles = unit.roles(visitor.name)
        mine = [MyProject(slug=row.slug, name=row.name, role=row.role) for row in projects]
        return Me(
            user=visitor.name,
            admin=visitor.admin,
            officer_of=sorted(roles.officer_of),
            projects=mine,
            holding=self._holding(visitor.name),
        )

    def _holding(self, user: str) -> Holding:
        own = [lease for lease in self._desk.board.leases.values() if lease.user == user]
        running = [lease for lease in own if lease.state is State.RUNNING]
        return Holding(
            leases=len(own), gpus=sum(lease.gpus for lease in own if lease.placement),
            waiting=sum(lease.state is State.HELD for lease in own),
            ends_at=min((lease.deadline for lease in running if lease.deadline and not lease.parent), default=None),
            idle_gpus=sum(lease.gpus for lease in running if lease.idle_seconds >= IDLE), now=self._clock.now(),
        )  # fmt: skip

    def users(self, visitor: Visitor, named: str, page: int, per_page: int) -> tuple[list[UserView], int]:
        """Return a page of the users; for administrators and officers."""
        with self._store.reading() as unit:
            who = self._standing(unit, visitor)
            if not (who.admin or who.officer_of):
                raise NotAllowedError("not-allowed")
            rows, total = unit.users(named, page, per_page)
        return [UserView(**row) for row in rows], total

    def user(self, visitor: Visitor, name: str) -> tuple[UserView, str]:
        """Return a user, to themselves and to administrators, with the entity tag."""
        with self._store.reading() as unit:
            if name != visitor.name:
                self._standing(unit, visitor).need_admin()
            row = unit.user(name)
        return UserView(**row), etag(row)

    def add_user(self, visitor: Visitor, new: NewUser) -> UserView:
        """Make somebody known before their first visit; known ones keep what they are."""
        with self._store.writing() as unit:
            self._standing(unit, visitor).need_admin()
            now = self._clock.now()
            if unit.know_user(new.name, now):
                unit.set_user(new.name, new.cap)
                unit.note(
                    "user-add", f"user:{new.name}", at=now, actor=visitor.name, after=new.model_dump(), user=new.name
                )
            return UserView(**unit.user(new.name))

    def change_user(self, visitor: Visitor, name: str, patch: UserPatch, match: str) -> tuple[UserView, str]:
        """Set how many GPUs a user may hold at once in all."""
        with self._store.writing() as unit:
            self._standing(unit, visitor).need_admin()
            before = unit.user(name, lock=True)
            check_match(before, match)
            unit.set_user(name, patch.cap)
            after = unit.user(name)
            self._noted(unit, visitor, "user-change", f"user:{name}", before, after, user=name)
        return UserView(**after), etag(after)

    # --- institutions -----------------------------------------------------------------------------------------

    def institutions(self, page: int, per_page: int) -> tuple[list[InstitutionView], int]:
        """Return a page of the institutions."""
        with self._store.reading() as unit:
            rows, total = unit.institutions(page, per_page)
        return [InstitutionView(**row) for row in rows], total

    def institution(self, slug: str) -> tuple[InstitutionView, str]:
        """Return an institution and its entity tag."""
        with self._store.reading() as unit:
            row = unit.institution(slug)
        return InstitutionView(**row), etag(row)

    def add_institution(self, visitor: Visitor, new: NewInstitution) -> InstitutionView:
        """Add an institution."""
        with self._store.writing() as unit:
            self._standing(unit, visitor).need_admin()
            unit.add_institution(new.slug, new.name, new.ror)
            self._noted(unit, visitor, "institution-add", f"institution:{new.slug}", None, new.model_dump())
        return InstitutionView(**new.model_dump())

    def change_institution(
        self, visitor: Visitor, slug: str, patch: InstitutionPatch, match: str
    ) -> tuple[InstitutionView, str]:
        """Change an institution."""
        with self._store.writing() as unit:
            self._standing(unit, visitor).need_admin()
            before = unit.institution(slug, lock=True)
            check_match(before, match)
            after = {**before, **patch.model_dump(exclude_unset=True)}
            unit.set_institution(slug, name=after["name"], ror=after["ror"])
            self._noted(unit, visitor, "institution-change", f"institution:{slug}", before, after)
        return InstitutionView(**after), etag(after)

    # --- programmes -------------------------------------------------------------------------------------------

    def programmes(self, visitor: Visitor, page: int, per_page: int) -> tuple[list[ProgrammeView], int]:
        """Return a page of the programmes: all to administrators, to others those of their projects and their own."""
        with self._store.reading() as unit:
            who = self._standing(unit, visitor)
            rows, total = unit.programmes(None if who.admin else who.programmes, page, per_page)
            return [self._programme(unit, row) for row in rows], total

    def programme(self, visitor: Visitor, slug: str) -> tuple[ProgrammeView, str]:
        """Return a programme and its entity tag. Raises `NotFoundError` for one that is not theirs to see."""
        with self._store.reading() as unit:
            who = self._standing(unit, visitor)
            if not who.admin and slug not in who.programmes:
                raise NotFoundError("programme-unknown", programme=slug)
            row = unit.programme(slug)
            return self._programme(unit, row), etag(row)

    def _programme(self, unit: Unit, row: dict[str, Any]) -> ProgrammeView:
        budgets = [Budget(**budget) for budget in unit.budgets(row["slug"])]
        return ProgrammeView(**row, officers=unit.officers(row["slug"]), budgets=budgets)

    def add_programme(self, visitor: Visitor, new: NewProgramme) -> ProgrammeView:
        """Add a programme."""
        with self._store.writing() as unit:
            self._standing(unit, visitor).need_admin()
            unit.add_programme(**new.model_dump())
            self._noted(
                unit, visitor, "programme-add", f"programme:{new.slug}", None, new.model_dump(), programme=new.slug
            )
            view = self._programme(unit, unit.programme(new.slug))
        self._desk.capacity_changed()
        return view

    def change_programme(
        self, visitor: Visitor, slug: str, patch: ProgrammePatch, match: str
    ) -> tuple[ProgrammeView, str]:
        """Change a programme's rules: for its officers and administrators.

        Its name is for administrators alone, and so is a charge factor below 1.0, by which its budget would reach further.
        """
        with self._store.writing() as unit:
            who = self._standing(unit, visitor)
            who.need_officer(slug)
            changes = patch.model_dump(exclude_unset=True)
            if "name" in changes or changes.get("factor_milli", PAR) < PAR:
                who.need_admin()
            before = unit.programme(slug, lock=True)
            check_match(before, match)
            unit.set_programme(slug, **changes)
            after = unit.programme(slug)
            self._noted(unit, visitor, "programme-change", f"programme:{slug}", before, after, programme=slug)
            view = self._programme(unit, after)
        self._desk.capacity_changed()
        return view, etag(after)

    def set_officer(self, visitor: Visitor, slug: str, user: str, *, is_one: bool) -> ProgrammeView:
        """Make somebody an officer of a programme, or no longer."""
        with self._store.writing() as unit:
            self._standing(unit, visitor).need_admin()
            programme = unit.programme(slug, lock=True)
            if is_one:
                unit.user(user)
            if unit.set_officer(slug, user, is_one=is_one):
                action = "officer-add" if is_one else "officer-drop"
                self._noted(
                    unit, visitor, action, f"programme:{slug}", None, {"officer": user}, programme=slug, user=user
                )
            return self._programme(unit, programme)

    def set_budget(self, visitor: Visitor, slug: str, pool: str, new: NewBudget) -> ProgrammeView:
        """Set what a programme may award in a pool in all. Raises `ConflictError` below what is awarded."""
        with self._store.writing() as unit:
            self._standing(unit, visitor).need_admin()
            programme = unit.programme(slug, lock=True)
            unit.pool(pool)
            granted = new.gpu_hours * MILLI_PER_GPU_HOUR
            at = self._clock.now()
            before = unit.set_budget(slug, pool, granted, ref=fresh_ref(), at=at, actor=visitor.name)
            self._noted(
                unit, visitor, "budget-change", f"programme:{slug}", {"pool": pool, "granted": before},
                {"pool": pool, "granted": granted}, programme=slug,
            )  # fmt: skip
            return self._programme(unit, programme)

    # --- projects ---------------------------------------------------------------------------------------------

    def projects(
        self, visitor: Visitor, *, programme: str = "", institution: str = "", named: str = "", page: int = 1,
        per_page: int = 50,
    ) -> tuple[list[ProjectView], int]:  # fmt: skip
        """Return a page of the visitor's projects and of those they answer for; all to an administrator."""
        with self._store.reading() as unit:
            who = self._standing(unit, visitor)
            rows, total = unit.projects(
                user=None if who.admin else who.name, officer_of=who.officer_of, programme=programme,
                institution=institution, named=named, page=page, per_page=per_page,
            )  # fmt: skip
            roles = {slug: role for slug, (role, _) in who.projects.items()}
        return [_project(row, roles.get(row.slug, "")) for row in rows], total

    def project(self, visitor: Visitor, slug: str) -> tuple[ProjectView, str]:
        """Return a project and its entity tag. Raises `NotFoundError` for one that is not theirs to see."""
        with self._store.reading() as unit:
            who = self._standing(unit, visitor)
            row = unit.project(slug)
            who.need_known(row)
        return ProjectView(**row, role=who.projects.get(slug, ("", ""))[0]), etag(row)

    def add_project(self, visitor: Visitor, new: NewProject) -> ProjectView:
        """Add a project: for administrators and the programme's officers."""
        with self._store.writing() as unit:
            who = self._standing(unit, visitor)
            who.need_officer(new.programme)
            unit.add_project(new.slug, new.name, new.programme, institution=new.institution, cap=new.cap)
            self._noted(
                unit, visitor, "project-add", f"project:{new.slug}", None, new.model_dump(),
                programme=new.programme, project=new.slug,
            )  # fmt: skip
        return ProjectView(**new.model_dump())

    def change_project(self, visitor: Visitor, slug: str, patch: ProjectPatch, match: str) -> tuple[ProjectView, str]:
        """Change a project: for administrators and the programme's officers."""
        with self._store.writing() as unit:
            who = self._standing(unit, visitor)
            before = unit.project(slug, lock=True)
            who.need_sight(before)
            who.need_officer(before["programme"])
            check_match(before, match)
            after = {**before, **patch.model_dump(exclude_unset=True)}
            if after["institution"] is not None:
                unit.institution(after["institution"])
            unit.set_project(slug, name=after["name"], institution=after["institution"], cap=after["cap"])
            self._noted(
                unit, visitor, "project-change", f"project:{slug}", before, after, programme=before["programme"],
                project=slug,
            )  # fmt: skip
        return ProjectView(**after, role=who.projects.get(slug, ("", ""))[0]), etag(after)

    # --- members ----------------------------------------------------------------------------------------------

    def members(self, visitor: Visitor, slug: str, page: int, per_page: int) -> tuple[list[MemberView], int]:
        """Return a page of the members of a project that the visitor is in; a guest finds only themselves there."""
        with self._store.reading() as unit:
            who, project = self._standing(unit, visitor), unit.project(slug)
            who.need_known(project)
            rows, total = unit.members(slug, page, per_page, only=who.name if who.is_guest(project) else "")
        return [MemberView(**row) for row in rows], total

    def set_member(
        self, visitor: Visitor, slug: str, user: str, membership: Membership, match: str = ""
    ) -> tuple[MemberView, str]:
        """Make somebody a member of a project, or change what they are.

        A manager sets members and their caps; roles that answer for the project are given by its pi, the programme's
        officers and administrators. With an entity tag `match`, only while the member is as it was read.
        """
        with self._store.writing() as unit:
            before = self._may_change(unit, visitor, slug, user, {membership.role})
            if match:
                check_match(before or {}, match)
            unit.set_member(slug, user, membership.role, membership.cap)
            after = {"user": user, **membership.model_dump()}
            self._noted_member(unit, visitor, "member-set", slug, user, before, after)
        return MemberView(**after), etag(after)

    def drop_member(self, visitor: Visitor, slug: str, user: str) -> None:
        """Take somebody out of a project; what they hold goes on until it ends.

        Raises `NotFoundError` for no member, `ConflictError` for the last one who answers for the project.
        """
        with self._store.writing() as unit:
            before = self._may_change(unit, visitor, slug, user, set())
            if before is None:
                raise NotFoundError("member-unknown", user=user, project=slug)
            unit.drop_member(slug, user)
            self._noted_member(unit, visitor, "member-drop", slug, user, before, None)

    def _may_change(self, unit: Unit, visitor: Visitor, slug: str, user: str, given: set[str]) -> dict[str, Any] | None:
        """Return what `user` is in a project, if the visitor may change it to one of the roles `given`."""
        who = self._standing(unit, visitor)
        project = unit.project(slug, lock=True)
        who.need_lead(project)
        before = unit.member(slug, user)
        touched = given | ({before["role"]} if before else set())
        if touched - {"member"}:
            who.need_lead(project, PI)
        return before

    def usage(self, visitor: Visitor, slug: str, days: int) -> list[UsageView]:
        """Return what ended in a project in the last `days` days, by day and user. Raises `NotFoundError`."""
        now = self._clock.now()
        with self._store.reading() as unit:
            self._standing(unit, visitor).need_sight(unit.project(slug))
            rows = unit.usage(slug, now - days * DAY, now + 1)
        return [
            UsageView(day=row.day, user=row.user, leases=row.leases, gpu_seconds=row.gpu_seconds, charged=row.charged)
            for row in rows
        ]

    # --- audit ------------------------------------------------------------------------------------------------

    def _noted(
        self, unit: Unit, visitor: Visitor, action: str, what: str, before: dict[str, Any] | None,
        after: dict[str, Any] | None, **whose: str,
    ) -> None:  # fmt: skip
        unit.note(action, what, at=self._clock.now(), actor=visitor.name, before=before, after=after, **whose)

    def _noted_member(
        self, unit: Unit, visitor: Visitor, action: str, slug: str, user: str, before: dict[str, Any] | None,
        after: dict[str, Any] | None,
    ) -> None:  # fmt: skip
        programme = unit.project(slug)["programme"]
        what = f"project:{slug}/{user}"
        self._noted(unit, visitor, action, what, before, after, programme=programme, project=slug, user=user)


def _project(row: ProjectRow, role: str) -> ProjectView:
    return ProjectView(
        slug=row.slug, name=row.name, programme=row.programme, institution=row.institution, cap=row.cap, role=role
    )
