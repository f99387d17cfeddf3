"""Routes of users, institutions, programmes, projects and members."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from nvlhub.api.document import TAGGED
from nvlhub.api.doors import Here, Match, Page, PerPage, Who, listed, tagged
from nvlhub.forms import (
    InstitutionPatch,
    InstitutionView,
    Listed,
    Membership,
    MemberView,
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
    UserName,
    UserPatch,
    UserView,
)
from nvlhub.wire import Slug

router = APIRouter()
Named = Annotated[str, Query(max_length=100, pattern=r"^[^\x00-\x1f]*$", description="Part of the name.")]


@router.get("/users")
def users(here: Here, who: Who, named: Named = "", page: Page = 1, per_page: PerPage = 50) -> Listed[UserView]:
    """List those whom the portal knows."""
    found, total = here.registry.directory.users(who, named, page, per_page)
    return listed(found, page, per_page, total)


@router.post("/users", status_code=201)
def add_user(here: Here, who: Who, body: NewUser) -> UserView:
    """Make somebody known before their first visit."""
    return here.registry.directory.add_user(who, body)


@router.get("/users/{name}", responses=TAGGED)
def user(here: Here, who: Who, name: UserName, response: Response) -> UserView:
    """Return a user, with the entity tag that a change needs."""
    return tagged(response, here.registry.directory.user(who, name))


@router.patch("/users/{name}", responses=TAGGED)
def change_user(here: Here, who: Who, name: UserName, body: UserPatch, response: Response, if_match: Match) -> UserView:
    """Set how many GPUs a user may hold at once in all."""
    return tagged(response, here.registry.directory.change_user(who, name, body, if_match))


@router.get("/institutions")
def institutions(here: Here, who: Who, page: Page = 1, per_page: PerPage = 50) -> Listed[InstitutionView]:
    """List the institutions."""
    found, total = here.registry.directory.institutions(page, per_page)
    return listed(found, page, per_page, total)


@router.post("/institutions", status_code=201)
def add_institution(here: Here, who: Who, body: NewInstitution) -> InstitutionView:
    """Add an institution."""
    return here.registry.directory.add_institution(who, body)


@router.get("/institutions/{slug}", responses=TAGGED)
def institution(here: Here, who: Who, slug: Slug, response: Response) -> InstitutionView:
    """Return an institution, with the entity tag that a change needs."""
    return tagged(response, here.registry.directory.institution(slug))


@router.patch("/institutions/{slug}", responses=TAGGED)
def change_institution(
    here: Here, who: Who, slug: Slug, body: InstitutionPatch, response: Response, if_match: Match
) -> InstitutionView:
    """Change an institution."""
    return tagged(response, here.registry.directory.change_institution(who, slug, body, if_match))


@router.get("/programmes")
def programmes(here: Here, who: Who, page: Page = 1, per_page: PerPage = 50) -> Listed[ProgrammeView]:
    """List the programmes of the visitor's projects and those they are an officer of; all to administrators."""
    found, total = here.registry.directory.programmes(who, page, per_page)
    return listed(found, page, per_page, total)


@router.post("/programmes", status_code=201)
def add_programme(here: Here, who: Who, body: NewProgramme) -> ProgrammeView:
    """Add a programme."""
    return here.registry.directory.add_programme(who, body)


@router.get("/programmes/{slug}", responses=TAGGED)
def programme(here: Here, who: Who, slug: Slug, response: Response) -> ProgrammeView:
    """Return a programme, with the entity tag that a change needs."""
    return tagged(response, here.registry.directory.programme(who, slug))


@router.patch("/programmes/{slug}", responses=TAGGED)
def change_programme(
    here: Here, who: Who, slug: Slug, body: ProgrammePatch, response: Response, if_match: Match
) -> ProgrammeView:
    """Change a programme's rules."""
    return tagged(response, here.registry.directory.change_programme(who, slug, body, if_match))


@router.put("/programmes/{slug}/officers/{user}")
def add_officer(here: Here, who: Who, slug: Slug, user: UserName) -> ProgrammeView:
    """Make somebody an officer of a programme."""
    return here.registry.directory.set_officer(who, slug, user, is_one=True)


@router.delete("/programmes/{slug}/officers/{user}")
def drop_officer(here: Here, who: Who, slug: Slug, user: UserName) -> ProgrammeView:
    """Make somebody no officer of a programme any more."""
    return here.registry.directory.set_officer(who, slug, user, is_one=False)


@router.put("/programmes/{slug}/budgets/{pool}")
def set_budget(here: Here, who: Who, slug: Slug, pool: Slug, body: NewBudget) -> ProgrammeView:
    """Set what a programme may award in a pool in all."""
    return here.registry.directory.set_budget(who, slug, pool, body)


@router.get("/projects")
def projects(
    here: Here, who: Who, programme: Slug | None = None, institution: Slug | None = None, named: Named = "",
    page: Page = 1, per_page: PerPage = 50,
) -> Listed[ProjectView]:  # fmt: skip
    """List the visitor's projects and those of the programmes they are an officer of; all to administrators."""
    found, total = here.registry.directory.projects(
        who, programme=programme or "", institution=institution or "", named=named, page=page, per_page=per_page
    )
    return listed(found, page, per_page, total)


@router.post("/projects", status_code=201)
def add_project(here: Here, who: Who, body: NewProject) -> ProjectView:
    """Add a project."""
    return here.registry.directory.add_project(who, body)


@router.get("/projects/{slug}", responses=TAGGED)
def project(here: Here, who: Who, slug: Slug, response: Response) -> ProjectView:
    """Return a project, with the entity tag that a change needs."""
    return tagged(response, here.registry.directory.project(who, slug))


@router.patch("/projects/{slug}", responses=TAGGED)
def change_project(
    here: Here, who: Who, slug: Slug, body: ProjectPatch, response: Response, if_match: Match
) -> ProjectView:
    """Change a project."""
    return tagged(response, here.registry.directory.change_project(who, slug, body, if_match))


@router.get("/projects/{slug}/members")
def members(here: Here, who: Who, slug: Slug, page: Page = 1, per_page: PerPage = 50) -> Listed[MemberView]:
    """List the members of a project."""
    found, total = here.registry.directory.members(who, slug, page, per_page)
    return listed(found, page, per_page, total)


@router.put("/projects/{slug}/members/{user}", responses=TAGGED)
def set_member(
    here: Here, who: Who, slug: Slug, user: UserName, body: Membership, response: Response, if_match: Match = ""
) -> MemberView:
    """Make somebody a member of a project, or change what they are."""
    return tagged(response, here.registry.directory.set_member(who, slug, user, body, if_match))


@router.delete("/projects/{slug}/members/{user}", status_code=204)
def drop_member(here: Here, who: Who, slug: Slug, user: UserName) -> None:
    """Take somebody out of a project."""
    here.registry.directory.drop_member(who, slug, user)


@router.get("/projects/{slug}/usage")
def usage(here: Here, who: Who, slug: Slug, days: Annotated[int, Query(ge=1, le=3660)] = 30) -> Listed[UsageView]:
    """List what a project used, by day and user."""
    return listed(here.registry.directory.usage(who, slug, days))
