"""Commands on users, institutions, programmes, projects and members."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from nvlhub.cli.base import (
    Cap,
    Json,
    NewCap,
    NoCap,
    call,
    capped,
    change,
    fields,
    given,
    group,
    items,
    key,
    path_of,
    show,
    tell,
)

users = group("user", "Users.")
institutions = group("institution", "Institutions.")
programmes = group("programme", "Programmes, their rules, officers and budgets.")
projects = group("project", "Projects and their members.")

Share = Annotated[int | None, typer.Option(help="Weight in the queue.")]
Priority = Annotated[int | None, typer.Option(help="In the queue, -100 to 100.")]
AtZero = Annotated[str | None, typer.Option(help="Over a cap or at zero balance: stop or low_priority.")]
Factor = Annotated[int | None, typer.Option(help="Charge factor in thousandths.")]
SlotCharge = Annotated[
    bool | None,
    typer.Option(
        "--charge-slot/--charge-use", help="Whether a run of a course pays for its whole slot, or for what is used."
    ),
]
NewName = Annotated[str | None, typer.Option(help="A new name.")]
Institution = Annotated[str | None, typer.Option(help="Its institution.")]

# --- users --------------------------------------------------------------------------------------------------------


@users.command("list")
def user_list(named: str = "", as_json: Json = False) -> None:
    """List those whom the portal knows; --named: part of the name."""
    show(items("/users", **({"named": named} if named else {})), fields("name", "cap", "since"), as_json=as_json)


@users.command("add")
def user_add(name: str, cap: Cap = None, as_json: Json = False) -> None:
    """Make somebody known before their first visit."""
    tell(call("POST", "/users", json={"name": name, "cap": cap}), as_json=as_json)


@users.command("cap")
def user_cap(
    name: str, cap: Annotated[int | None, typer.Argument(help="GPUs held at once.")] = None, no_cap: NoCap = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Set how many GPUs somebody may hold at once in all projects together."""
    tell(change(path_of("users", name), capped(cap, no_cap=no_cap)), as_json=as_json)


# --- institutions -------------------------------------------------------------------------------------------------


@institutions.command("list")
def institution_list(as_json: Json = False) -> None:
    """List institutions."""
    show(items("/institutions"), fields("slug", "name", "ror"), as_json=as_json)


@institutions.command("add")
def institution_add(
    slug: str, name: str, ror: Annotated[str, typer.Option(help="Its identifier at ror.org.")] = "",
    as_json: Json = False,
) -> None:  # fmt: skip
    """Add an institution."""
    tell(call("POST", "/institutions", json={"slug": slug, "name": name, "ror": ror}), as_json=as_json)


# --- programmes ---------------------------------------------------------------------------------------------------


@programmes.command("list")
def programme_list(as_json: Json = False) -> None:
    """List programmes."""
    show(items("/programmes"), {name: key(name) for name in ("slug", "name", "cap")}, as_json=as_json)


@programmes.command("show")
def programme_show(slug: str, as_json: Json = False) -> None:
    """Show a programme with its rules, officers and budgets."""
    tell(call("GET", path_of("programmes", slug)), as_json=as_json)


@programmes.command("add")
def programme_add(
    slug: str, name: str, cap: Cap = None, share: Share = None, priority: Priority = None, at_zero: AtZero = None,
    factor: Factor = None, charge_slot: SlotCharge = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Add a programme."""
    rules = given(share=share, priority=priority, at_zero=at_zero, factor_milli=factor, slot_charge=charge_slot)
    typer.echo(json.dumps(call("POST", "/programmes", json={"slug": slug, "name": name, "cap": cap, **rules})))


@programmes.command("set")
def programme_set(
    slug: str, name: NewName = None, cap: NewCap = None, no_cap: NoCap = False, share: Share = None,
    priority: Priority = None, at_zero: AtZero = None, factor: Factor = None, charge_slot: SlotCharge = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Change a programme's rules; what is left out stays."""
    values = given(
        name=name, share=share, priority=priority, at_zero=at_zero, factor_milli=factor, slot_charge=charge_slot
    )
    tell(change(path_of("programmes", slug), values | capped(cap, no_cap=no_cap)), as_json=as_json)


@programmes.command("officer-add")
def officer_add(slug: str, user: str, as_json: Json = False) -> None:
    """Make somebody an officer of a programme."""
    tell(call("PUT", path_of("programmes", slug, "officers", user)), as_json=as_json)


@programmes.command("officer-drop")
def officer_drop(slug: str, user: str, as_json: Json = False) -> None:
    """Make somebody no officer of a programme any more."""
    tell(call("DELETE", path_of("programmes", slug, "officers", user)), as_json=as_json)


@programmes.command("budget")
def programme_budget(
    slug: str, gpu_hours: Annotated[int, typer.Argument(min=0)], pool: str = "main", as_json: Json = False
) -> None:
    """Set what a programme may award in a pool in all."""
    tell(call("PUT", path_of("programmes", slug, "budgets", pool), json={"gpu_hours": gpu_hours}), as_json=as_json)


# --- projects -----------------------------------------------------------------------------------------------------


@projects.command("list")
def project_list(programme: str = "", institution: str = "", named: str = "", as_json: Json = False) -> None:
    """List projects, or those of a programme, of an institution, with a part of the name."""
    wanted = {"programme": programme, "institution": institution, "named": named}
    rows = items("/projects", **{name: value for name, value in wanted.items() if value})
    show(rows, {name: key(name) for name in ("slug", "name", "programme")}, as_json=as_json)


@projects.command("show")
def project_show(slug: str, as_json: Json = False) -> None:
    """Show a project."""
    tell(call("GET", path_of("projects", slug)), as_json=as_json)


@projects.command("add")
def project_add(
    slug: str, name: str, programme: str, institution: Institution = None, cap: Cap = None, as_json: Json = False
) -> None:
    """Add a project."""
    body = {"slug": slug, "name": name, "programme": programme, "institution": institution, "cap": cap}
    typer.echo(json.dumps(call("POST", "/projects", json=body)))


@projects.command("set")
def project_set(
    slug: str, name: NewName = None, institution: Institution = None, cap: NewCap = None, no_cap: NoCap = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Change a project; what is left out stays."""
    values = given(name=name, institution=institution) | capped(cap, no_cap=no_cap)
    tell(change(path_of("projects", slug), values), as_json=as_json)


@projects.command("members")
def project_members(project: str, as_json: Json = False) -> None:
    """List the members of a project."""
    show(items(path_of("projects", project, "members")), fields("user", "role", "cap"), as_json=as_json)


@projects.command("member")
def project_member(
    project: str, user: str, role: Annotated[str | None, typer.Option(help="pi, manager or member.")] = None,
    cap: NewCap = None, no_cap: NoCap = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Make somebody a member, or change what they are; what is left out stays as it is."""
    known = {row["user"]: row for row in items(path_of("projects", project, "members"))}.get(user)
    before = {"role": known["role"], "cap": known["cap"]} if known else {"role": "member", "cap": None}
    body = {**before, **given(role=role), **capped(cap, no_cap=no_cap)}
    typer.echo(json.dumps(call("PUT", path_of("projects", project, "members", user), json=body)))


@projects.command("member-drop")
def project_member_drop(project: str, user: str, as_json: Json = False) -> None:
    """Take somebody out of a project."""
    call("DELETE", path_of("projects", project, "members", user))
    tell({"project": project, "user": user, "member": False}, as_json=as_json)
