"""Tables as CSV (RFC 4180), safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from fastapi.responses import StreamingResponse

from nvlhub.flow.report import Period
from nvlhub.flow.statement import Balance
from nvlhub.forms import MeasuresView
from nvlhub.registry.reports import Book
from nvlhub.wire import MILLI_PER_GPU_HOUR

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a text begins with that a spreadsheet would compute."""
IN_MEMORY = 1024 * 1024
CHUNK = 64 * 1024

MEASURES = (
    "group", "name", "gpu_hours", "gpu_hours_per_lease", "gpus_per_lease", "gpus_weighted", "wait_hours",
    "wait_hours_per_lease", "leases_running", "leases_started", "leases_ended", "leases_failed", "failed_share", "users",
    "charged_gpu_hours", "gpu_seconds", "preemptible_gpu_seconds", "wait_seconds", "charged",
)  # fmt: skip
"""Columns of a usage report: hours for people, rounded; then the exact sums."""

MOVEMENTS = (
    "award", "pool", "time", "entry", "transaction", "lease", "actor", "reason", "into_left", "into_held",
    "into_charged", "left", "held", "charged",
)  # fmt: skip
"""Columns of a statement; amounts in GPU-seconds, exact to the thousandth."""


def usage_rows(rows: Iterable[MeasuresView]) -> Iterator[list[Any]]:
    """Yield the cells of a usage report."""
    for row in rows:
        hours = {
            "gpu_hours": _hours(row.gpu_seconds, 3600),
            "wait_hours": _hours(row.wait_seconds, 3600),
            "charged_gpu_hours": _hours(row.charged, MILLI_PER_GPU_HOUR),
        }
        told = {**row.model_dump(), **hours}
        yield [told[column] for column in MEASURES]


def _hours(amount: int, per_hour: int) -> Decimal:
    return round(Decimal(amount) / per_hour, 4)


def statement_rows(books: Iterable[Book], period: Period) -> Iterator[list[Any]]:
    """Yield the cells of a statement: of each award the opening balance, its movements, the closing balance."""
    for book in books:
        award, balance = (book.award, book.pool), book.opening
        yield [*award, _time(period.since), "opening", "", "", "", "", "", "", "", *_exact(balance)]
        for movement, balance in book.lines:
            yield [
                *award, _time(movement.at), movement.entry, movement.key, movement.lease, movement.actor,
                movement.reason, *_exact(movement.change), *_exact(balance),
            ]  # fmt: skip
        yield [*award, _time(period.until), "closing", "", "", "", "", "", "", "", *_exact(balance)]


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _exact(balance: Balance) -> list[Decimal]:
    """Return amounts in GPU-seconds."""
    return [Decimal(amount).scaleb(-3) for amount in (balance.left, balance.held, balance.charged)]


def sheet(name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> StreamingResponse:
    """Return rows as a file to be saved as `name`.

    It is written whole before the first byte is sent, in memory or on disk: a failure is told as one, and a slow reader
    keeps no transaction open.
    """
    with ExitStack() as on_failure:
        file = on_failure.enter_context(SpooledTemporaryFile(IN_MEMORY, "w+", encoding="utf-8", newline=""))
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_harmless(cell) for cell in row] for row in rows)
        file.seek(0)
        on_failure.pop_all()
    return StreamingResponse(
        _read(file), media_type="text/csv; charset=utf-8; header=present",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )  # fmt: skip


def _harmless(cell: Any) -> Any:
    """Return a cell of which no spreadsheet makes a formula; numbers stay numbers."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def _read(file: IO[str]) -> Iterator[str]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk
