"""Users, institutions, programmes, projects and their members."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nvlhub.errors import ConflictError, NotFoundError
from nvlhub.flow.queue import Rule
from nvlhub.flow.request import Project
from nvlhub.store import tables as t
from nvlhub.store.work import Work, as_dict

_PROJECT_FOR = (
    sa.select(
        t.projects.c.slug, t.projects.c.name, t.projects.c.programme, t.projects.c.cap,
        t.programmes.c.cap.label("programme_cap"), t.members.c.cap.label("member_cap"),
        t.users.c.cap.label("user_cap"), t.programmes.c.at_zero, t.programmes.c.factor_milli,
    )
    .join(t.programmes, t.programmes.c.slug == t.projects.c.programme)
    .join(t.members, (t.members.c.project == t.projects.c.slug) & (t.members.c.user == sa.bindparam("of_user")))
    .outerjoin(t.users, t.users.c.name == t.members.c.user)
    .where(t.projects.c.slug == sa.bindparam("of_project"))
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A project and the role of the member that asked."""

    slug: str
    name: str
    programme: str
    institution: str | None = None
    cap: int | None = None
    role: str = ""


LEADS = frozenset({"pi", "manager"})
"""Roles that answer for a project."""


@dataclass(frozen=True, slots=True)
class Roles:
    """What somebody is: programmes whose officer they are, and their role and its programme by project."""

    officer_of: frozenset[str]
    projects: Mapping[str, tuple[str, str]]
    guest_in: frozenset[str] = frozenset()
    """Projects in which they are a member only because a run made them one."""

    def leads(self, project: str) -> bool:
        """Tell whether they answer for a project."""
        return self.projects.get(project, ("", ""))[0] in LEADS


class Directory(Work):
    """Who there is."""

    # --- users ------------------------------------------------------------------------------------------------

    def know_user(self, name: str, at: int) -> bool:
        """Remember a user; tell whether they were new."""
        return self._added(t.users.insert().values(name=name, since=at))

    def user(self, name: str, *, lock: bool = False) -> dict[str, Any]:
        """Return a user. Raises `NotFoundError`."""
        return self._found(sa.select(t.users).where(t.users.c.name == name), lock, "user-unknown", user=name)

    def set_user(self, name: str, cap: int | None) -> None:
        """Set how many GPUs a user may hold at once in all."""
        self.connection.execute(t.users.update().where(t.users.c.name == name).values(cap=cap))

    def users(self, named: str = "", page: int = 1, per_page: int = 50) -> tuple[list[dict[str, Any]], int]:
        """Return a page of the users, by name."""
        where = [t.users.c.name.contains(named, autoescape=True)] if named else []
        return self._page(sa.select(t.users).where(*where), [t.users.c.name], page, per_page)

    def unseen(self, names: Collection[str]) -> set[str]:
        """Return those of some names that are no user whom the portal knows."""
        if not names:
            return set()
        known = self.connection.scalars(sa.select(t.users.c.name).where(t.users.c.name.in_(names)))
        return set(names) - set(known)

    def roles(self, user: str) -> Roles:
        """Return what `user` is."""
        officer = sa.select(t.officers.c.programme).where(t.officers.c.user == user)
        guest = (
            sa.exists()
            .where(
                t.seats.c.user == user, t.seats.c.made_member, t.seats.c.run == t.runs.c.id, t.runs.c.state == "approved",
                t.runs.c.course == t.courses.c.slug, t.courses.c.project == t.members.c.project, t.members.c.role == "member",
            )
            .label("guest")
        )  # fmt: skip
        member = (
            sa.select(t.members.c.project, t.members.c.role, t.projects.c.programme, guest)
            .join(t.projects, t.projects.c.slug == t.members.c.project)
            .where(t.members.c.user == user)
        )
        rows = self._all(member)
        return Roles(
            frozenset(row.programme for row in self._all(officer)),
            {row.project: (row.role, row.programme) for row in rows},
            frozenset(row.project for row in rows if row.guest),
        )

    # --- institutions -----------------------------------------------------------------------------------------

    def add_institution(self, slug: str, name: str, ror: str = "") -> None:
        """Add an institution. Raises `ConflictError` if there is one of that name."""
        if not self._added(t.institutions.insert().values(slug=slug, name=name, ror=ror)):
            raise ConflictError("institution-exists", institution=slug)

    def institution(self, slug: str, *, lock: bool = False) -> dict[str, Any]:
        """Return an institution. Raises `NotFoundError`."""
        query = sa.select(t.institutions).where(t.institutions.c.slug == slug)
        return self._found(query, lock, "institution-unknown", institution=slug)

    def set_institution(self, slug: str, **values: Any) -> None:
        """Change an institution."""
        self.connection.execute(t.institutions.update().where(t.institutions.c.slug == slug).values(**values))

    def institutions(self, page: int = 1, per_page: int = 50) -> tuple[list[dict[str, Any]], int]:
        """Return a page of the institutions, by name."""
        return self._page(sa.select(t.institutions), [t.institutions.c.slug], page, per_page)

    # --- programmes -------------------------------------------------------------------------------------------

    def add_programme(self, slug: str, name: str, cap: int | None = None, **rules: Any) -> None:
        """Add a programme. Raises `ConflictError` if there is one of that name."""
        if not self._added(t.programmes.insert().values(slug=slug, name=name, cap=cap, **rules)):
            raise ConflictError("programme-exists", programme=slug)

    def programme(self, slug: str, *, lock: bool = False) -> dict[str, Any]:
        """Return a programme. Raises `NotFoundError`."""
        query = sa.select(t.programmes).where(t.programmes.c.slug == slug)
        return self._found(query, lock, "programme-unknown", programme=slug)

    def set_programme(self, slug: str, **values: Any) -> None:
        """Change a programme's name or rules."""
        if values:
            self.connection.execute(t.programmes.update().where(t.programmes.c.slug == slug).values(**values))

    def programmes(
        self, only: frozenset[str] | None = None, page: int = 1, per_page: int = 50
    ) -> tuple[list[dict[str, Any]], int]:
        """Return a page of the programmes, or of some of them, by name."""
        query = sa.select(t.programmes)
        if only is not None:
            query = query.where(t.programmes.c.slug.in_(only))
        return self._page(query, [t.programmes.c.slug], page, per_page)

    def rules(self) -> dict[str, Rule]:
        """Return what the queue must know of every programme."""
        query = sa.select(t.programmes.c.slug, t.programmes.c.priority, t.programmes.c.share)
        return {row.slug: Rule(row.priority, row.share) for row in self._all(query)}

    def officers(self, programme: str) -> list[str]:
        """Return the officers of a programme, by name."""
        query = sa.select(t.officers.c.user).where(t.officers.c.programme == programme).order_by(t.officers.c.user)
        return [row.user for row in self._all(query)]

    def set_officer(self, programme: str, user: str, *, is_one: bool) -> bool:
        """Make `user` an officer of a programme, or no longer; tell whether that changed anything."""
        marks = (t.officers.c.programme == programme) & (t.officers.c.user == user)
        there = self._one(sa.select(t.officers).where(marks)) is not None
        if is_one and not there:
            self.connection.execute(t.officers.insert().values(programme=programme, user=user))
        elif there and not is_one:
            self.connection.execute(t.officers.delete().where(marks))
        return there is not is_one

    # --- projects ---------------------------------------------------------------------------------------------

    def add_project(
        self, slug: str, name: str, programme: str, *, institution: str | None = None, cap: int | None = None
    ) -> None:
        """Add a project. Raises `ConflictError` if there is one of that name, `NotFoundError` for the others."""
        self.programme(programme)
        if institution is not None:
            self.institution(institution)
        if not self._added(
            t.projects.insert().values(slug=slug, name=name, programme=programme, institution=institution, cap=cap)
        ):
            raise ConflictError("project-exists", project=slug)

    def project(self, slug: str, *, lock: bool = False) -> dict[str, Any]:
        """Return a project. Raises `NotFoundError`."""
        query = sa.select(t.projects).where(t.projects.c.slug == slug)
        return self._found(query, lock, "project-unknown", project=slug)

    def set_project(self, slug: str, **values: Any) -> None:
        """Change a project."""
        self.connection.execute(t.projects.update().where(t.projects.c.slug == slug).values(**values))

    def projects_of(self, user: str) -> list[ProjectRow]:
        """Return the projects that `user` is a member of, by name."""
        query = (
            sa.select(t.projects, t.members.c.role)
            .join(t.members, t.members.c.project == t.projects.c.slug)
            .where(t.members.c.user == user)
            .order_by(t.projects.c.slug)
        )
        return [ProjectRow(**as_dict(row)) for row in self._all(query)]

    def projects(
        self, *, user: str | None = None, officer_of: frozenset[str] = frozenset(), programme: str = "",
        institution: str = "", named: str = "", page: int = 1, per_page: int = 50,
    ) -> tuple[list[ProjectRow], int]:  # fmt: skip
        """Return a page of the projects that `user` is in or answers for (None: of all), by name."""
        mine = (t.members.c.project == t.projects.c.slug) & (t.members.c.user == (user or ""))
        query = sa.select(t.projects, sa.func.coalesce(t.members.c.role, "").label("role")).outerjoin(t.members, mine)
        if user is not None:
            query = query.where(t.members.c.user.is_not(None) | t.projects.c.programme.in_(officer_of))
        for column, value in ((t.projects.c.programme, programme), (t.projects.c.institution, institution)):
            if value:
                query = query.where(column == value)
        if named:
            contains = (column.contains(named, autoescape=True) for column in (t.projects.c.slug, t.projects.c.name))
            query = query.where(sa.or_(*contains))
        rows, total = self._page(query, [t.projects.c.slug], page, per_page)
        return [ProjectRow(**row) for row in rows], total

    def project_for(self, slug: str, user: str) -> Project:
        """Return a project with the caps and rules that bind `user` in it.

        Raises `NotFoundError` when there is none or the user is no member: from outside the two look the same.
        """
        row = self._one(_PROJECT_FOR, of_project=slug, of_user=user)
        if row is None:
            raise NotFoundError("project-unknown", project=slug)
        return Project(
            row.slug, row.name, row.programme, row.cap, row.programme_cap, row.member_cap, row.user_cap,
            low_priority=row.at_zero == "low_priority", factor_milli=row.factor_milli,
        )  # fmt: skip

    # --- members ----------------------------------------------------------------------------------------------

    def members(
        self, project: str, page: int = 1, per_page: int = 50, *, only: str = ""
    ) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
        """Return a page of the members of a project, by name; `only`: of one of them."""
        query = sa.select(t.members.c.user, t.members.c.role, t.members.c.cap).where(t.members.c.project == project)
        if only:
            query = query.where(t.members.c.user == only)
        return self._page(query, [t.members.c.user], page, per_page)

    def member(self, project: str, user: str) -> dict[str, Any] | None:
        """Return what `user` is in a project, or None."""
        query = sa.select(t.members.c.user, t.members.c.role, t.members.c.cap)
        row = self._one(query.where(t.members.c.project == project, t.members.c.user == user))
        return as_dict(row) if row else None

    def set_member(self, project: str, user: str, role: str, cap: int | None = None) -> None:
        """Make `user` a member of a project, or change the role or cap of one; no run has made them that any more.

        Raises `NotFoundError` for project and user, `ConflictError` when nobody would answer for the project any more.
        """
        self.project(project, lock=True)
        self.user(user)
        before = self._pis(project)
        member = (t.members.c.project == project) & (t.members.c.user == user)
        changed = self.connection.execute(t.members.update().where(member).values(role=role, cap=cap))
        if not changed.rowcount:
            self.connection.execute(t.members.insert().values(project=project, user=user, role=role, cap=cap))
        self._keep_a_pi(project, before)
        own = sa.select(t.runs.c.id).join(t.courses, t.courses.c.slug == t.runs.c.course)
        made = t.seats.c.run.in_(own.where(t.courses.c.project == project)) & t.seats.c.made_member
        self.connection.execute(t.seats.update().where(t.seats.c.user == user, made).values(made_member=False))

    def set_cap(self, project: str, user: str, cap: int) -> None:
        """Set how many GPUs a member may hold at once in a project."""
        member = (t.members.c.project == project) & (t.members.c.user == user)
        self.connection.execute(t.members.update().where(member).values(cap=cap))

    def drop_member(self, project: str, user: str) -> None:
        """Make `user` no member any more. Raises `ConflictError` for the last one who answers for the project."""
        self.project(project, lock=True)
        before = self._pis(project)
        self.connection.execute(t.members.delete().where(t.members.c.project == project, t.members.c.user == user))
        self._keep_a_pi(project, before)

    def _pis(self, project: str) -> int:
        pis = sa.select(t.members.c.user).where(t.members.c.project == project, t.members.c.role == "pi")
        return len(self._all(pis))

    def _keep_a_pi(self, project: str, before: int) -> None:
        if before and not self._pis(project):
            raise ConflictError("last-pi", project=project)
