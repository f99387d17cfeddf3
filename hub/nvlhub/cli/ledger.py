"""Commands on the ledger and on what was used."""

from __future__ import annotations

import json
from typing import Any

import typer

from nvlhub.cli.base import Json, call, date, group, items, key, show

ledgers = group("ledger", "The ledger.")
usages = group("usage", "What was used.")


@ledgers.command("list")
def ledger_list(lease: str = "", as_json: Json = False) -> None:
    """Print the journal: every transaction with its postings, in GPU-seconds."""
    print_ledger(items("/ledger", **({"lease": lease} if lease else {})), as_json=as_json)


def print_ledger(rows: list[dict[str, Any]], *, as_json: bool = False) -> None:
    """Print transactions of the journal."""
    columns = {
        "time (UTC)": lambda row: date(row["at"]), "transaction": key("key"), "by": key("actor"),
        "postings (GPU-s)": lambda row: "\n".join(f"{p['account']:<18} {p['amount'] / 1000:+,.3f}" for p in row["postings"]),
    }  # fmt: skip
    show(rows, columns, as_json=as_json)


@ledgers.command("verify")
def ledger_verify(as_json: Json = False) -> None:
    """Prove that every invariant of the ledger holds; exit status 1 when one does not."""
    found = call("GET", "/ledger/verify")
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        typer.echo(f"{found['transactions']} transactions; " + ("every invariant holds" if found["ok"] else "BROKEN:"))
        for row in found["broken"]:
            typer.echo(f"  {row['invariant']}: {row['detail']}")
    if not found["ok"]:
        raise typer.Exit(1)


@usages.command("show")
def usage_show(project: str, days: int = 30, as_json: Json = False) -> None:
    """Print what a project used, by day and user."""
    show(
        items(f"/projects/{project}/usage", days=days),
        {name: key(name) for name in ("day", "user", "leases", "gpu_seconds")},
        as_json=as_json,
    )
