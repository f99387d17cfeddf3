"""Rows -> the bytes of a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from nvlhub.cells import guarded
from nvlhub.exchange.kinds import SHEETS, FileKind, Form, Holds

DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
WIDE = 2**20
"""Columns: no row is broken."""


def write(document: Mapping[FileKind, Sequence[Mapping[str, Any]]], form: Form) -> bytes:
    """Return a file with the rows of `document`: of all its kinds in YAML, of its one kind in CSV."""
    if form is Form.YAML:
        plain = {kind.value: list(rows) for kind, rows in document.items()}
        told: str = yaml.dump(
            plain, Dumper=DUMPER, sort_keys=False, allow_unicode=True, default_flow_style=None, width=WIDE
        )
        return told.encode()
    [(kind, rows)] = document.items()
    columns = SHEETS[kind].columns
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(columns)
    for row in rows:
        writer.writerow(
            guarded(row[name]) if column.holds is Holds.TEXT else _plain(row[name]) for name, column in columns.items()
        )
    # With a byte order mark spreadsheets take it for UTF-8 and show Chinese names as they are.
    return file.getvalue().encode("utf-8-sig")


def _plain(value: Any) -> str:
    return "" if value is None else str(value).lower()
