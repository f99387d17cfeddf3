"""Commands on awards."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from nvlhub.cli.base import (
    Cap,
    Json,
    NewCap,
    NoCap,
    When,
    call,
    capped,
    change,
    date,
    given,
    group,
    items,
    key,
    path_of,
    portal_time,
    show,
    tell,
)
from nvlhub.wire import MILLI_PER_GPU_HOUR, gpu_hours

awards = group("award", "Awards of GPU-hours.")


@awards.command("list")
def award_list(project: str = "", programme: str = "", pool: str = "", as_json: Json = False) -> None:
    """List awards and what is left of them, in GPU-hours."""
    wanted = {"project": project, "programme": programme, "pool": pool}
    rows = items("/awards", **{name: value for name, value in wanted.items() if value})
    amounts = {name: (lambda row, name=name: gpu_hours(row[name])) for name in ("awarded", "charged", "held", "left")}
    columns = {"id": key("id"), "project": key("project"), "pool": key("pool"), **amounts,
               "until": lambda row: date(row["ends"])}  # fmt: skip
    show(rows, columns, as_json=as_json)


@awards.command("show")
def award_show(award: int, as_json: Json = False) -> None:
    """Show an award and what stands of it."""
    tell(call("GET", f"/awards/{award}"), as_json=as_json)


@awards.command("add")
def award_add(
    project: str, gpu_hours_awarded: Annotated[int, typer.Argument(metavar="GPU_HOURS", min=1)],
    days: Annotated[int, typer.Option(min=1, max=3660, help="How long, without --ends.")] = 365, pool: str = "main",
    cap: Cap = None, starts: When = None, ends: When = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Award GPU-hours to a project, from now on or from --starts."""
    begun = portal_time() if starts is None else starts
    body: dict[str, Any] = {
        "project": project, "pool": pool, "gpu_hours": gpu_hours_awarded, "starts": begun,
        "ends": begun + days * 86400 if ends is None else ends, "cap": cap,
    }  # fmt: skip
    row = call("POST", "/awards", json=body)
    typer.echo(
        json.dumps(row)
        if as_json
        else f"award {row['id']}: {row['awarded'] // MILLI_PER_GPU_HOUR} GPU-hours to {row['project']}"
    )


@awards.command("set")
def award_set(award: int, ends: When = None, cap: NewCap = None, no_cap: NoCap = False, as_json: Json = False) -> None:
    """Change the end or the cap of an award."""
    tell(change(f"/awards/{award}", given(ends=ends) | capped(cap, no_cap=no_cap)), as_json=as_json)


@awards.command("revoke")
def award_revoke(award: int, reason: Annotated[str, typer.Option()], as_json: Json = False) -> None:
    """Revoke an award: what nobody holds goes back to the programme at once."""
    tell(call("POST", path_of("awards", str(award), "revoke"), json={"reason": reason}), as_json=as_json)
