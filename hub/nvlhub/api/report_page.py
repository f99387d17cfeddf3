"""A usage report as one page: plots, a table under each, no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from fastapi.responses import HTMLResponse

from nvlhub.api.plots import bar, columns
from nvlhub.flow.report import By
from nvlhub.forms import MeasuresView, UsageAsk, UsageReport
from nvlhub.page import HEADERS, templates
from nvlhub.text import say
from nvlhub.wire import MILLI_PER_GPU_HOUR

DRAWN = 20
"""Groups drawn; the table has all."""
FILTERS = ("programme", "project", "institution", "user", "pool")
UNKNOWN = "–"

_TEMPLATES = templates("nvlhub.api")


class Measure(NamedTuple):
    """A column: its sentence in the catalogue, its name in Open XDMoD, and how it is shown."""

    slug: str
    xdmod: str
    shown: Callable[[MeasuresView], str]


def _hours(seconds: int | None) -> str:
    return UNKNOWN if seconds is None else f"{seconds / 3600:,.2f}"


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.2f}"


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.1%}"


def _clock(at: int | None) -> str:
    return UNKNOWN if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


MEASURES = (
    Measure("gpu-hours", "GPU Hours: Total", lambda row: _hours(row.gpu_seconds)),
    Measure("gpu-hours-each", "GPU Hours: Per Job", lambda row: _number(row.gpu_hours_per_lease)),
    Measure("gpus-each", "GPU Count: Per Job", lambda row: _number(row.gpus_per_lease)),
    Measure("gpus-weighted", "Job Size: Weighted By GPU Hours", lambda row: _number(row.gpus_weighted)),
    Measure("wait", "Wait Hours: Total", lambda row: _hours(row.wait_seconds)),
    Measure("wait-each", "Wait Hours: Per Job", lambda row: _number(row.wait_hours_per_lease)),
    Measure("running", "Number of Jobs Running", lambda row: f"{row.leases_running:,}"),
    Measure("started", "Number of Jobs Started", lambda row: f"{row.leases_started:,}"),
    Measure("ended", "Number of Jobs Ended", lambda row: f"{row.leases_ended:,}"),
    Measure("failed", "", lambda row: _percent(row.failed_share)),
    Measure("users", "Number of Users: Active", lambda row: f"{row.users:,}"),
    Measure("charged", "", lambda row: f"{row.charged / MILLI_PER_GPU_HOUR:,.2f}"),
    Measure("preemptible", "", lambda row: _hours(row.preemptible_gpu_seconds)),
)


def report_page(report: UsageReport, ask: UsageAsk, lang: str, *, simulated: str = "") -> HTMLResponse:
    """Return the page; `simulated` is the model of GPUs that are not real, or nothing."""

    def word(message: str, **members: object) -> str:
        return say(message.replace("_", "-"), lang, **members)

    timely = report.by in {By.DAY, By.MONTH}
    course = report.rows if timely else report.over_time
    pools = {row.pool for row in report.utilisation if row.pool}
    html = _TEMPLATES.get_template("report.html").render(
        _=word, lang=lang, report=report, filters={name: value for name in FILTERS if (value := getattr(ask, name))},
        simulated=simulated, measures=MEASURES, course=course, step=report.by if timely else report.step,
        groups=[] if timely or report.by is By.TOTAL else report.rows, drawn=DRAWN, hours=_hours, percent=_percent,
        clock=_clock, columns=columns([(row.name, row.gpu_seconds / 3600) for row in course], word("measure-gpu-hours")),
        bar=bar, capacities=[row for row in report.utilisation if len(pools) > 1 or not row.pool],
    )  # fmt: skip
    return HTMLResponse(html, headers={**HEADERS, "Content-Language": lang})
