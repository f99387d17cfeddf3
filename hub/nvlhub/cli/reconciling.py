"""Commands on reconciliation: the engine's own records against the ledger."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from nvlhub.cli.base import Json, call, date, items, key, show
from nvlhub.cli.ledger import ledgers


@ledgers.command("reconcile")
def reconcile(
    hours: Annotated[int, typer.Option(min=1, max=24 * 366, help="How far back leases are compared.")] = 24,
    as_json: Json = False,
) -> None:
    """Compare the engine's own records with the ledger; exit status 1 when differences wait for a person."""
    now = int(call("GET", "/health")["now"])
    found = call("POST", "/reconciliations", json={"since": max(0, now - hours * 3600)}, patience=600)
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        typer.echo(", ".join(f"{count} {kind}" for kind, count in found["counts"].items()))
        if found["found"]:
            _show(found["found"])
        typer.echo(f"{found['open']} open" + ("; see `nvlhub ledger differences`" if found["open"] else ""))
    if found["open"]:
        raise typer.Exit(1)


@ledgers.command("differences")
def differences(state: str = "open", as_json: Json = False) -> None:
    """List differences; --state open, closed or all."""
    _show(items("/differences", state=state), as_json=as_json)


@ledgers.command("close")
def close(
    difference: str, reason: Annotated[str, typer.Option(help="Why; kept with the difference.")],
    correct: Annotated[
        bool, typer.Option("--correct/--accept", help="Make the ledger equal to the engine, or leave both as they are.")
    ],
    as_json: Json = False,
) -> None:  # fmt: skip
    """Close a difference."""
    body = {"action": "correct" if correct else "accept", "reason": reason}
    _show([call("POST", f"/differences/{difference}/close", json=body)], as_json=as_json)


def _show(rows: list[dict[str, Any]], *, as_json: bool = False) -> None:
    columns = {
        "id": key("id"), "found (UTC)": lambda row: date(row["found_at"]), "kind": key("kind"), "lease": key("lease"),
        "project": key("project"), "user": key("user"), "ledger (GPU-s)": key("ledger"),
        "engine (GPU-s)": key("engine"), "closed by": key("closed_by"), "reason": key("reason"),
    }  # fmt: skip
    show(rows, columns, as_json=as_json)
