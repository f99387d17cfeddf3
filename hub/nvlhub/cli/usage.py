"""Commands on what was used: reports and statements."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from nvlhub.cli.base import SLOW, Json, Output, call, fail, fetch, key, show, tell
from nvlhub.cli.directory import projects
from nvlhub.cli.ledger import usages
from nvlhub.flow.report import By
from nvlhub.wire import gpu_hours

DAY = 86_400

Since = Annotated[
    str, typer.Option(metavar="DATE|DAYS", help="First day, as YYYY-MM-DD (UTC), or so many days before --until.")
]
Until = Annotated[str, typer.Option(metavar="DATE", help="The day on which it ends, not included; left out: now.")]


class ReportFormat(StrEnum):
    """How a report is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    HTML = "html"


class StatementFormat(StrEnum):
    """How a statement is printed."""

    CSV = "csv"
    JSON = "json"


def period(since: str, until: str) -> dict[str, int]:
    """Return the query that is meant by ``--since`` and ``--until``; what is left out is left to the portal."""
    asked: dict[str, int] = {}
    if until:
        asked["until"] = _midnight(until, "--until", "a date as YYYY-MM-DD")
    if since.isascii() and since.isdigit() and len(since) < 6:
        end = asked["until"] if until else int(call("GET", "/health")["now"])
        asked["since"] = end - int(since) * DAY
    elif since:
        asked["since"] = _midnight(since, "--since", "a date as YYYY-MM-DD, or a number of days")
    return asked


def _midnight(text: str, option: str, allowed: str) -> int:
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        fail(f"{option}: “{text}” is not possible; give {allowed}.")


@usages.command("report")
def usage_report(
    since: Since = "", until: Until = "", by: By = By.PROJECT, programme: str = "", project: str = "",
    institution: str = "", user: str = "", pool: str = "",
    as_: Annotated[ReportFormat, typer.Option("--format")] = ReportFormat.TABLE, output: Output = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Report what was used, by project or anything else, with the measures of Open XDMoD; the last 30 days if nothing is said."""
    filters = _named(programme=programme, project=project, institution=institution, user=user, pool=pool)
    asked = {**period(since, until), "by": by.value, **filters}
    if as_json or as_ is not ReportFormat.TABLE:
        fetch("/usage", output, **asked, format="json" if as_json else as_.value)
        return
    if output is not None:
        fail("--output: a table is only printed. Choose --format csv, json or html.")
    report = call("GET", "/usage", patience=SLOW, params=asked)
    show([*report["rows"], report["total"]], _columns(by.value), as_json=False)


def _columns(by: str) -> dict[str, Any]:
    return {
        by: key("group"),
        "GPU-h": lambda row: gpu_hours(row["gpu_seconds"] * 1000),
        "GPU-h/lease": key("gpu_hours_per_lease"),
        "GPUs/lease": key("gpus_per_lease"),
        "weighted": key("gpus_weighted"),
        "wait h/lease": key("wait_hours_per_lease"),
        **{state: key(f"leases_{state}") for state in ("running", "started", "ended", "failed")},
        "users": key("users"),
        "charged GPU-h": lambda row: gpu_hours(row["charged"]),
    }


class Sort(StrEnum):
    """What the leases of a period are sorted by."""

    CHARGED = "charged"
    IDLE = "idle"
    BUSY = "busy"


@usages.command("leases")
def usage_leases(
    since: Since = "", until: Until = "", programme: str = "", project: str = "", user: str = "",
    sort: Sort = Sort.CHARGED, page: Annotated[int, typer.Option(min=1)] = 1, as_json: Json = False,
) -> None:  # fmt: skip
    """List the leases of a period with how well they used their GPUs, those first that were charged, idle or busy the most."""
    asked = {
        **period(since, until),
        **_named(programme=programme, project=project, user=user),
        "sort": sort.value,
        "page": page,
    }
    rows = call("GET", "/usage/leases", patience=SLOW, params=asked)["items"]
    columns = {
        "lease": key("id"), "user": key("user"), "project": key("project"), "GPUs": key("gpus"), "state": key("state"),
        "GPU-h": _hours("gpu_seconds"), "charged GPU-h": lambda row: gpu_hours(row["charged"]),
        "idle GPU-h": _hours("idle"), "used": lambda row: _percent(row["efficiency"], row["real"]),
        "why": lambda row: row["end_reason"] or "",
    }  # fmt: skip
    show(rows, columns, as_json=as_json)


@usages.command("efficiency")
def usage_efficiency(
    since: Since = "", until: Until = "", programme: str = "", project: str = "", user: str = "", as_json: Json = False,
) -> None:  # fmt: skip
    """Say how well the GPUs of a period were used: leases and GPU-hours by mean utilisation, and GPU-hours held idle."""
    asked = {**period(since, until), **_named(programme=programme, project=project, user=user)}
    report = call("GET", "/efficiency", patience=SLOW, params=asked)
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False))
        return
    columns = {
        "used": lambda row: f"{row['least']}–{row['most']} %", "leases": key("leases"), "GPU-h": _hours("gpu_seconds"),
    }  # fmt: skip
    show(report["bins"], columns, as_json=False)
    facts = {
        "held GPU-h": _hours("held")(report), "idle GPU-h": _hours("idle")(report),
        "not measured GPU-h": _hours("unmeasured")(report),
        "used": _percent(report["efficiency"], False if report["simulated"] else None),
    }  # fmt: skip
    tell(facts, as_json=False)


@usages.command("savings")
def usage_savings(since: Since = "", until: Until = "", as_json: Json = False) -> None:
    """Say what the idle rule gave back: GPU-hours paid for that were returned because nothing ran."""
    found = call("GET", "/savings", params=period(since, until))
    if as_json:
        typer.echo(json.dumps(found))
        return
    tell({"leases ended idle": found["leases"], "GPU-h given back": _hours("gpu_seconds")(found)}, as_json=False)


def _named(**filters: str) -> dict[str, str]:
    return {name: value for name, value in filters.items() if value}


def _hours(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: gpu_hours(row[name] * 1000)


def _percent(share: float | None, real: bool | None) -> str:
    """Return a share for people; what was measured on processes that stand for simulated GPUs says so."""
    if share is None:
        return "not measured"
    return f"{share:.0%}" + (" (of the process: GPUs are simulated)" if real is False else "")


@projects.command("statement")
def project_statement(
    slug: str, since: Since = "", until: Until = "",
    as_: Annotated[StatementFormat, typer.Option("--format")] = StatementFormat.CSV, output: Output = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Print what was posted to each award of a project, with the balance after it."""
    form = "json" if as_json else as_.value
    fetch(f"/projects/{quote(slug, safe='')}/statement", output, **period(since, until), format=form)
