"""Commands on the ledger and on what was used."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import sqlalchemy as sa
import typer

from nvlhub.cli.base import DATA, Json, When, call, date, fail, fields, given, group, items, key, show, tell
from nvlhub.flow.settlement import Entry
from nvlhub.forms import Proof, Replayed
from nvlhub.registry.ledger import play, prove
from nvlhub.settings import SettingsError, load
from nvlhub.store import Unit, offline
from nvlhub.store.backup import back_up
from nvlhub.store.offline import UnreadableError

Found = TypeVar("Found", Proof, Replayed)
Database = Annotated[
    str, typer.Option(metavar="URL", help="Read this database itself, without a portal: a restored backup, a copy.")
]
PATIENCE = 600
"""Seconds to wait for the portal to read a whole journal."""

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
def ledger_verify(database: Database = "", as_json: Json = False) -> None:
    """Prove that every invariant of the ledger holds; exit status 1 when one does not."""
    found = _offline(database, prove) if database else Proof(**call("GET", "/ledger/verify", patience=PATIENCE))
    _tell(found, f"{found.transactions} transactions; ", "every invariant holds", as_json=as_json)


@ledgers.command("replay")
def ledger_replay(database: Database = "", as_json: Json = False) -> None:
    """Play the journal again from its beginning: no account was ever overdrawn, and all is as it is stored.

    Exit status 1 when something is broken; warnings break nothing.
    """
    found = _offline(database, play) if database else Replayed(**call("GET", "/ledger/replay", patience=PATIENCE))
    facts = f"{found.transactions} transactions, {found.postings} postings, {found.accounts} accounts; "
    _tell(found, facts, "everything comes out as it is stored", as_json=as_json)


@ledgers.command("backup")
def ledger_backup(
    file: Annotated[Path, typer.Argument(help="The copy; must not exist yet.")],
    data: Annotated[Path, typer.Option(help="The portal's data directory.")] = DATA,
) -> None:
    """Copy the SQLite database of a portal, which may be running, then verify and replay the copy."""
    try:
        url = sa.make_url(load(data.resolve()).database_url)
    except (SettingsError, sa.exc.ArgumentError) as error:
        fail(str(error))
    if url.get_backend_name() != "sqlite":
        fail(f"The portal's database is no SQLite file. Copy it with: pg_dump --format=custom --file={file} DATABASE")
    try:
        back_up(Path(url.database or ""), file)
    except FileExistsError:
        fail(f"{file} is there already and stays as it is: name another file.")
    except (OSError, sqlite3.Error) as error:
        fail(f"{url.database} could not be copied to {file}, and nothing is left there: {error}")
    typer.echo(f"{file}: {file.stat().st_size} bytes")
    copy = sa.URL.create("sqlite", database=str(file.absolute())).render_as_string()
    ledger_verify(copy)
    ledger_replay(copy)


def _offline(database: str, read: Callable[[Unit], Found]) -> Found:
    try:
        with offline.reading(database) as unit:
            return read(unit)
    except UnreadableError as error:
        fail(str(error))


def _tell(found: Proof | Replayed, facts: str, good: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        typer.echo(facts + (good if found.ok else "BROKEN:"))
        for row in found.broken:
            typer.echo(f"  {row.invariant}: {row.detail}")
        for row in found.warnings if isinstance(found, Replayed) else ():
            typer.echo(f"  warning: {row.invariant}: {row.detail}")
    if not found.ok:
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
