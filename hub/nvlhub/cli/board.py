"""Commands on the board of a run, for those who teach it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from nvlhub.cli.base import Json, call, fetch, path_of, show, tell
from nvlhub.cli.courses import Run, courses
from nvlhub.dates import shown
from nvlhub.wire import gpu_hours

EVERY = 10.0
"""Seconds between two boards that are printed."""

Seat = Annotated[int | None, typer.Option(help="A seat by its number; left out: the whole class.")]


def _path(run: int, *more: object) -> str:
    return path_of("runs", str(run), *(str(part) for part in more))


@courses.command("board")
def run_board(
    run: Run, help_first: Annotated[bool, typer.Option("--help-first", help="Who needs help comes first.")] = False,
    pseudonyms: Annotated[bool, typer.Option("--pseudonyms", help="Without names.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Print it again every 10 seconds.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Show every seat of a run as it stands now."""
    asked = {"sort": "help" if help_first else "number", "pseudonyms": pseudonyms}
    while True:
        found = call("GET", _path(run, "seats"), params=asked)
        if as_json:
            tell(found, as_json=True)
        else:
            _print(found)
        if not watch:
            return
        time.sleep(EVERY)


def _print(found: dict[str, Any]) -> None:
    now = found["now"]
    counts = ", ".join(f"{count} {name}" for name, count in found["counts"].items() if count)
    begins, ends = found["run"]["starts"] - now, found["run"]["ends"] - now
    when = f"begins in {begins // 60} min" if begins > 0 else f"{ends // 60} min left" if ends > 0 else "over"
    typer.echo(f"{found['run']['name']}: {when}; {counts}")
    columns = {
        "seat": lambda row: row["number"], "state": lambda row: row["state"],
        "who": lambda row: row["name"] or row["name_latin"] or row["user"] or (row["pseudonym"] if row["state"] != "free" else ""),
        "hand": lambda row: _hand(row, now), "step": lambda row: f"{row['step']}/{row['steps']}" if row["steps"] else "",
        "check": lambda row: f"{row['check_name']}: {'passed' if row['check_ok'] else 'failed'}" if row["check_name"] else "",
        "best": lambda row: "" if row["best_milli"] is None else f"{row['best_milli'] / 10:g} % ({row['attempts']})",
        "passed": lambda row: "yes" if row["passed"] else "",
    }  # fmt: skip
    show(found["seats"], columns, as_json=False)


def _hand(row: dict[str, Any], now: int) -> str:
    if row["hand_at"] is None:
        return ""
    helped = f", {row['helped_by']}" if row["helped_by"] else ""
    return f"{(now - row['hand_at']) // 60} min{helped}"


@courses.command("message")
def run_message(run: Run, text: str, seat: Seat = None, as_json: Json = False) -> None:
    """Tell everybody in a run something, or one seat."""
    tell(call("POST", _path(run, "messages"), json={"text": text, "seat": seat}), as_json=as_json)


@courses.command("extend")
def run_extend(
    run: Run, minutes: int, seat: Seat = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do, and to whom.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Give a run more time, or a seat beyond the end of its run."""
    if seat is not None:
        if dry_run:
            raise typer.BadParameter(
                "a seat alone moves nothing of others, so there is nothing to try", param_hint="--dry-run"
            )
        found = call("POST", _path(run, "seats", seat, "extend"), json={"minutes": minutes})
    else:
        found = call("POST", _path(run, "extend"), json={"minutes": minutes, "dry_run": dry_run})
    if as_json:
        tell(found, as_json=True)
        return
    zone = call("GET", _path(run))["zone"]
    told = {
        "ends": shown(found["ends"], zone), "possible": "yes" if found["fits"] else f"no: {found['detail']}",
        "displaced": "; ".join(f"{one['gpus']} GPU of {one['user']} until {shown(one['until'], zone)}" for one in found["displaced"]),
        "extended": f"{found['extended']} leases", "refused": "; ".join(one["detail"] for one in found["refused"]),
    }  # fmt: skip
    if found["fits"] and found["detail"]:
        told["note"] = found["detail"]
    if found["price"]:
        told["price"] = f"{gpu_hours(found['price'])} GPU-h for the whole slot"
    tell({name: value for name, value in told.items() if value}, as_json=False)


@courses.command("end")
def run_end(run: Run, as_json: Json = False) -> None:
    """End a class: its leases and servers end, memberships are undone, what was not used is given back."""
    found = call("POST", _path(run, "close"))
    if as_json:
        tell(found, as_json=True)
        return
    tell(
        {"run": found["id"], "state": found["state"], "charged": f"{gpu_hours(found['charged'])} GPU-h"}, as_json=False
    )


@courses.command("ready")
def run_ready(run: Run, as_json: Json = False) -> None:
    """Say what is in order before a run begins, and what is not."""
    found = call("GET", _path(run, "readiness"))
    columns = {name: lambda row, of=name: row[of] for name in ("name", "verdict", "detail")}
    if as_json:
        tell(found, as_json=True)
    else:
        show(found["checks"], columns, as_json=False)
    if not found["ready"]:
        raise typer.Exit(1)


@courses.command("results")
def run_results(
    run: Run, output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Left out: print it.")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Print what came of a run as CSV, or all of it as JSON."""
    fetch(_path(run, "results"), output, format="json" if as_json else "csv")
