"""Commands on awards."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from nvlhub.cli.base import Cap, Json, call, date, group, items, key, show
from nvlhub.wire import MILLI_PER_GPU_HOUR, gpu_hours

awards = group("award", "Awards of GPU-hours.")


@awards.command("list")
def award_list(project: str = "", as_json: Json = False) -> None:
    """List awards and what is left of them, in GPU-hours."""
    rows = items("/awards", **({"project": project} if project else {}))
    amounts = {name: (lambda row, name=name: gpu_hours(row[name])) for name in ("awarded", "charged", "held", "left")}
    columns = {"id": key("id"), "project": key("project"), "pool": key("pool"), **amounts,
               "until": lambda row: date(row["ends"])}  # fmt: skip
    show(rows, columns, as_json=as_json)


@awards.command("add")
def award_add(
    project: str, gpu_hours_awarded: Annotated[int, typer.Argument(metavar="GPU_HOURS", min=1)],
    days: Annotated[int, typer.Option(min=1, max=3660)] = 365, pool: str = "main", cap: Cap = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Award GPU-hours to a project from now on."""
    now = int(call("GET", "/health")["now"])
    body = {
        "project": project,
        "pool": pool,
        "gpu_hours": gpu_hours_awarded,
        "starts": now,
        "ends": now + days * 86400,
        "cap": cap,
    }
    row = call("POST", "/awards", json=body)
    typer.echo(
        json.dumps(row)
        if as_json
        else f"award {row['id']}: {row['awarded'] // MILLI_PER_GPU_HOUR} GPU-hours to {row['project']}"
    )
