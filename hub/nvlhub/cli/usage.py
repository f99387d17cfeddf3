"""Commands on what was used: reports and statements."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from nvlhub.cli.base import SLOW, Json, Output, call, fail, fetch, key, show
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
    filters = {"programme": programme, "project": project, "institution": institution, "user": user, "pool": pool}
    asked = {**period(since, until), "by": by.value, **{name: value for name, value in filters.items() if value}}
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


@projects.command("statement")
def project_statement(
    slug: str, since: Since = "", until: Until = "",
    as_: Annotated[StatementFormat, typer.Option("--format")] = StatementFormat.CSV, output: Output = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Print what was posted to each award of a project, with the balance after it."""
    form = "json" if as_json else as_.value
    fetch(f"/projects/{quote(slug, safe='')}/statement", output, **period(since, until), format=form)
