"""Commands on the ledger and on what was used."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from nvlhub.cli.base import Json, When, call, date, fields, given, group, items, key, show, tell
from nvlhub.flow.settlement import Entry

ledgers = group("ledger", "The ledger.")
audits = group("audit", "Who changed what.")
usages = group("usage", "What was used.")


@ledgers.command("list")
def ledger_list(
    lease: str = "", award: int | None = None, entry: Entry | None = None, since: When = None, as_json: Json = False
) -> None:
    """Print the journal, or what of it is about a lease, an award, one kind of entry: postings in GPU-seconds."""
    wanted = given(lease=lease or None, award=award, entry=entry.value if entry else None, since=since)
    print_ledger(items("/ledger", **wanted), as_json=as_json)


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


# A negative number is no option here.
@ledgers.command("correct", context_settings={"ignore_unknown_options": True})
def ledger_correct(
    lease: str, seconds: Annotated[int, typer.Argument(help="GPU-seconds at charge factor 1.0; negative: give back.")],
    reason: Annotated[str, typer.Option()], as_json: Json = False,
) -> None:  # fmt: skip
    """Charge a settled lease more, or give it back, by a compensating entry."""
    body = {"lease": lease, "gpu_seconds": seconds, "reason": reason}
    tell(call("POST", "/ledger/corrections", json=body), as_json=as_json)


@audits.command("list")
def audit_list(
    about: Annotated[str, typer.Option("--object", help="What it is about, e.g. project:demo.")] = "",
    actor: str = "", since: When = None, as_json: Json = False,
) -> None:  # fmt: skip
    """List who changed what of your business, the newest first."""
    rows = items("/audit", **given(object=about or None, actor=actor or None, since=since))
    show(rows, fields("id", "at", "actor", "action", "object"), as_json=as_json)


@usages.command("show")
def usage_show(project: str, days: int = 30, as_json: Json = False) -> None:
    """Print what a project used, by day and user."""
    show(
        items(f"/projects/{project}/usage", days=days),
        {name: key(name) for name in ("day", "user", "leases", "gpu_seconds")},
        as_json=as_json,
    )
