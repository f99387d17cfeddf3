"""Commands on leases."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any

import typer

from nvlhub.cli.base import Json, call, group, items, key, show
from nvlhub.text import language
from nvlhub.waits import waits_for
from nvlhub.wire import LeaseView, gpu_hours

leases = group("lease", "Leases.")


@cache
def _zone() -> str:
    return str(call("GET", "/health")["zone"])


def _waits(row: dict[str, Any]) -> str:
    lease = LeaseView(**row)
    return waits_for(lease, language(os.environ.get("LANG")), _zone() if lease.expected_start else "UTC")


@leases.command("list")
def lease_list(state: str = "active", user: str = "", project: str = "", as_json: Json = False) -> None:
    """List leases; --state active, ended or all. --project: everybody's in a project, to those who answer for it."""
    wanted = {name: value for name, value in (("user", user), ("project", project)) if value}
    rows = items("/leases", state=state, **wanted)
    columns = {
        "id": key("id"), "user": key("user"), "project": key("project"), "GPUs": key("gpus"),
        "where": lambda row: " ".join(f"{share['domain']}/{share['tray']}" for share in row["placement"]),
        "state": key("state"), "waits for": _waits, "pre-emptible": lambda row: "yes" if row["preemptible"] else "",
        "why": lambda row: row["end_reason"] or "", "charged": lambda row: gpu_hours(row["charged"]),
    }  # fmt: skip
    show(rows, columns, as_json=as_json)


@leases.command("show")
def lease_show(lease_id: str, as_json: Json = False) -> None:
    """Print one lease as JSON."""
    typer.echo(json.dumps(call("GET", f"/leases/{lease_id}"), indent=1, ensure_ascii=False))


@leases.command("end")
def lease_end(lease_id: str, as_json: Json = False) -> None:
    """End a lease: its kernel is stopped, what it used is charged, the rest goes back."""
    row = call("DELETE", f"/leases/{lease_id}")
    typer.echo(json.dumps(row, ensure_ascii=False) if as_json else f"{row['id']}: {row['state']} {row['detail']}")
