"""Commands on programmes, projects and members."""

from __future__ import annotations

import json
from urllib.parse import quote

import typer

from nvlhub.cli.base import Cap, Json, call, group, items, key, show

projects = group("project", "Projects and their members.")
programmes = group("programme", "Programmes.")


@programmes.command("list")
def programme_list(as_json: Json = False) -> None:
    """List programmes."""
    show(items("/programmes"), {name: key(name) for name in ("slug", "name", "cap")}, as_json=as_json)


@programmes.command("add")
def programme_add(slug: str, name: str, cap: Cap = None) -> None:
    """Add a programme."""
    typer.echo(json.dumps(call("POST", "/programmes", json={"slug": slug, "name": name, "cap": cap})))


@projects.command("list")
def project_list(as_json: Json = False) -> None:
    """List projects."""
    show(items("/projects"), {name: key(name) for name in ("slug", "name", "programme")}, as_json=as_json)


@projects.command("add")
def project_add(slug: str, name: str, programme: str, cap: Cap = None) -> None:
    """Add a project."""
    body = {"slug": slug, "name": name, "programme": programme, "cap": cap}
    typer.echo(json.dumps(call("POST", "/projects", json=body)))


@projects.command("member")
def project_member(project: str, user: str, role: str = "member", cap: Cap = None) -> None:
    """Make somebody a member: --role pi, manager or member."""
    path = f"/projects/{quote(project, safe='')}/members/{quote(user, safe='')}"
    typer.echo(json.dumps(call("PUT", path, json={"role": role, "cap": cap})))
