"""Commands on profiles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from nvlhub.cli.base import Json, call, checked, fail, fields, group, items, key, out, path_of, portal_of, send, show
from nvlhub.exchange.profile_file import write_yaml
from nvlhub.forms.profiles import LARGEST
from nvlhub.wire import gpu_hours

profiles = group("profile", "Profiles that can be started.")

TRIAL = "nvlkernels.trial"
"""What makes a trial start: the notebook side, which the hub's side does not import."""
FileOption = Annotated[Path, typer.Option("--file", "-f", metavar="FILE", help="The profile as YAML.")]


def _history(name: str) -> tuple[dict[str, Any], str]:
    """Return all versions of a profile, and the entity tag that the next one needs."""
    answer = checked(send("GET", path_of("profiles", name)))
    return answer.json(), answer.headers["ETag"]


def _version(found: dict[str, Any], number: int | None) -> dict[str, Any]:
    """Return a version of a profile; without a number the newest."""
    rows: list[dict[str, Any]] = found["versions"]
    for row in rows:
        if number in {None, row["version"]}:
            return row
    known = ", ".join(str(row["version"]) for row in reversed(rows))
    return fail(f"{found['name']} has no version {number}; there are {known}.")


def _publish(name: str, version: int) -> Any:
    return call("POST", path_of("profiles", name, "publish"), json={"version": version})


@profiles.command("list")
def profile_list(as_json: Json = False) -> None:
    """List profiles."""
    names = ("name", "version", "published", "display_name", "pool", "gpus", "span", "longest", "idle")
    shown = {name: key(name) for name in names}
    show(items("/profiles"), {**shown, "for": lambda row: _audience(row["audience"])}, as_json=as_json)


def _audience(audience: dict[str, list[str]]) -> str:
    return " ".join([*audience["programmes"], *audience["projects"]]) or "everybody"


@profiles.command("show")
def profile_show(
    name: str, version: Annotated[int | None, typer.Option(min=1, help="Left out: the newest.")] = None,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="As a file that `apply` takes.")] = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Show the versions of a profile and how their starts went, or one version as YAML."""
    found, _ = _history(name)
    if as_yaml:
        typer.echo(write_yaml(_version(found, version)), nl=False)
        return
    rows = found["versions"] if version is None else [_version(found, version)]
    stats = {row["version"]: row for row in items(path_of("profiles", name, "stats"))}
    nothing = {"starts": 0, "failures": 0, "running": 0, "median": None, "p95": None}
    rows = [{**row, "stats": {**nothing, **stats.get(row["version"], {})}} for row in rows]
    columns = {
        **fields("version", "published", "display_name", "pool", "gpus", "span", "longest", "idle"),
        "for": lambda row: _audience(row["audience"]),
        **{name: (lambda row, name=name: _cell(row["stats"][name])) for name in nothing},
        **fields("made_by", "note"),
    }
    show(rows, columns, as_json=as_json)


def _cell(value: int | None) -> str:
    return "" if value is None else str(value)


def _show_changes(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    def told(value: Any) -> str:
        return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    columns = {
        "field": key("field"),
        "before": lambda row: told(row["before"]),
        "after": lambda row: told(row["after"]),
    }  # fmt: skip
    show(rows, columns, as_json=as_json)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}.")
    if len(content) > LARGEST:
        fail(f"{file} is larger than {LARGEST} bytes, so it is no profile.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        fail(f"{file} is not UTF-8. Save it as UTF-8 and try again.")


def _checked(file: Path, *, as_json: bool = False) -> dict[str, Any]:
    """Have a file checked; print all that is wrong with it and end with status 1."""
    found: dict[str, Any] = call("POST", "/profiles/check", json={"yaml": _read(file)})
    if found["ok"]:
        return found
    if as_json:
        typer.echo(json.dumps({"errors": found["errors"]}, ensure_ascii=False))
        raise typer.Exit(1)
    show(found["errors"], fields("field", "detail"), as_json=False)
    return fail(f"Nothing was changed: errors found: {len(found['errors'])}.")


@profiles.command("diff")
def profile_diff(
    name: Annotated[str, typer.Argument(help="Left out with --file: the file names it.")] = "",
    a: Annotated[int | None, typer.Option("-a", min=1, help="Left out: the published version.")] = None,
    b: Annotated[int | None, typer.Option("-b", min=1, help="Left out: the newest version.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Compare the newest version with this file.")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Tell what is different between two versions, or between the newest one and a file."""
    if file is not None:
        found = _checked(file, as_json=as_json)
        if name and found["profile"]["name"] != name:
            fail(f"{file} is about the profile {found['profile']['name']}, not {name}.")
        _show_changes(found["changes"], as_json=as_json)
        return
    if not name:
        fail("Name a profile, or give a --file.")
    known, _ = _history(name)
    a = a or known["published"] or known["versions"][-1]["version"]
    b = b or known["versions"][0]["version"]
    _show_changes(call("GET", path_of("profiles", name, "diff"), params={"a": a, "b": b})["changes"], as_json=as_json)


@profiles.command("apply")
def profile_apply(
    file: FileOption,
    publish: Annotated[bool, typer.Option("--publish", help="Publish it at once.")] = False,
    over: Annotated[
        bool, typer.Option("--over", help="On top of what there is, though the file was made from another version.")
    ] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Add a profile from a YAML file as the next version, a draft; where nothing is different, nothing is done."""
    found = _checked(file, as_json=as_json)
    name = found["profile"]["name"]
    if not as_json:
        _show_changes(found["changes"], as_json=False)
    if found["newest"] is not None and not found["changes"]:
        row, said = (
            _version(_history(name)[0], found["newest"]),
            f"Nothing is different from version {found['newest']}.",
        )
    else:
        row = _add(found, over=over, as_json=as_json)
        said = f"{name}: version {row['version']} is a draft."
    if publish and not row["published"]:
        row = _publish(name, row["version"])
        said = f"{name}: version {row['version']} is published."
    elif not row["published"]:
        said += f" Try it: nvlhub profile test {name} --version {row['version']} --project PROJECT"
    typer.echo(json.dumps(row, ensure_ascii=False) if as_json else said)


def _add(found: dict[str, Any], *, over: bool, as_json: bool) -> dict[str, Any]:
    """Store a draft that was checked; what somebody else changed meanwhile is shown, not overwritten."""
    tag = _history(found["profile"]["name"])[1] if over and found["newest"] is not None else found["tag"]
    answer = send("POST", "/profiles", json=found["profile"], headers={"If-Match": tag} if tag else {})
    if answer.status_code == 412 and not as_json:
        document = answer.json()
        out.print(f"What there is now (version {document['version']}):", markup=False)
        _show_changes(document["diff"], as_json=False)
        fail(f"{document['detail']}\nTo put yours on top of it: --over.")
    row: dict[str, Any] = checked(answer).json()
    return row


@profiles.command("add")
def profile_add(
    name: str, display_name: str, gpus: int, longest: Annotated[int, typer.Option(help="Seconds.")] = 14400,
    idle: Annotated[int | None, typer.Option(help="Seconds.")] = 3600, span: str = "domain", pool: str = "main",
    publish: Annotated[bool, typer.Option(help="Publish it at once.")] = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Add the next version of a profile, as a draft."""
    body = {
        "name": name,
        "display_name": display_name,
        "gpus": gpus,
        "longest": longest,
        "idle": idle,
        "span": span,
        "pool": pool,
    }
    there = send("GET", path_of("profiles", name))
    headers = {"If-Match": there.headers["ETag"]} if there.is_success else {}
    row = call("POST", "/profiles", json=body, headers=headers)
    if publish:
        row = _publish(name, row["version"])
    typer.echo(json.dumps(row))


@profiles.command("publish")
def profile_publish(name: str, version: int, as_json: Json = False) -> None:
    """Publish a version of a profile."""
    typer.echo(json.dumps(_publish(name, version)))


@profiles.command("rollback")
def profile_rollback(name: str, as_json: Json = False) -> None:
    """Publish the version that was published before."""
    now = _history(name)[0]["published"]
    if now is None:
        fail(f"No version of {name} is published, so there is nothing to go back from.")
    row = call("POST", path_of("profiles", name, "rollback"), json={"published": now})
    told = f"{name}: version {row['version']} is published again, instead of {now}. Leases that run keep their version."
    typer.echo(json.dumps(row, ensure_ascii=False) if as_json else told)


@profiles.command("test")
def profile_test(
    name: str, project: Annotated[str, typer.Option(help="Who pays for its few GPU-seconds; you are a member of it.")],
    version: Annotated[int | None, typer.Option(min=1, help="Left out: the newest.")] = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Start a version for a moment: take a lease, run a tiny task on its GPUs, give it back. It costs a few GPU-seconds."""
    row = _version(_history(name)[0], version)
    if not as_json:
        cost = gpu_hours(row["gpus"] * min(300, row["longest"]) * 1000)
        typer.echo(
            f"Version {row['version']}: {row['gpus']} GPU for some seconds, paid by {project}; at most {cost} GPU-hours."
        )
    steps = list(_steps(name, row["version"], project, tell=not as_json))
    if as_json:
        typer.echo(json.dumps(steps, ensure_ascii=False))
    if not steps or not all(step["ok"] for step in steps):
        fail("The test start failed.")


def _steps(name: str, version: int, project: str, *, tell: bool) -> Iterator[dict[str, Any]]:
    """Run the trial in a process of its own; the token is in its environment, never in its arguments."""
    url, headers = portal_of()
    environment = {
        **os.environ, "NVLHUB_PORTAL_URL": url, "JUPYTERHUB_API_TOKEN": headers["Authorization"].partition(" ")[2],
        "NVLHUB_LANGUAGE": headers["Accept-Language"],
    }  # fmt: skip
    words = [sys.executable, "-m", TRIAL, name, "--version", str(version), "--project", project]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout or ():
            step = json.loads(line)
            if tell:
                typer.echo(f"{'✓' if step['ok'] else '✕'} {step['seconds']:6.1f} s  {step['text']}")
            yield step
