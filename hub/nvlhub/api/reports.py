"""Routes of usage reports and statements."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from nvlhub.api.document import MISSING
from nvlhub.api.doors import Here, Lang, Who
from nvlhub.api.report_page import report_page
from nvlhub.api.sheets import MEASURES, MOVEMENTS, sheet, statement_rows, usage_rows
from nvlhub.forms import StatementAsk, StatementView, UsageAsk, UsageReport
from nvlhub.wire import Slug

router = APIRouter()
CSV: dict[str, Any] = {"text/csv": {"schema": {"type": "string"}}}
HTML: dict[str, Any] = {"text/html": {"schema": {"type": "string"}}}


@router.get("/usage", response_model=UsageReport, responses={200: {"content": CSV | HTML}, **MISSING})
def usage(here: Here, who: Who, lang: Lang, ask: Annotated[UsageAsk, Query()]) -> UsageReport | Response:
    """Report what was used, as far as it is the visitor's to see: as JSON, as CSV, or as a page to be printed."""
    report = here.registry.reports.usage(who, ask)
    if ask.format == "csv":
        name = f"usage-by-{report.by}-{_day(report.since)}-{_day(report.until)}.csv"
        return sheet(name, MEASURES, usage_rows(report.rows))
    if ask.format == "html":
        engine = here.desk.engine
        return report_page(report, ask, lang, simulated=engine.gpu_model if engine.simulated else "")
    return report


@router.get("/projects/{slug}/statement", response_model=StatementView, responses={200: {"content": CSV}})
def statement(here: Here, who: Who, slug: Slug, ask: Annotated[StatementAsk, Query()]) -> StatementView | Response:
    """List what was posted to each award of a project, with the balance after it.

    As JSON at most 10,000 transactions; as CSV however many there are.
    """
    reports = here.registry.reports
    period = reports.period(ask)
    if ask.format == "csv":
        name = f"statement-{slug}-{_day(period.since)}-{_day(period.until)}.csv"
        return sheet(name, MOVEMENTS, statement_rows(reports.books(who, slug, period), period))
    return reports.statement(who, slug, period)


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
