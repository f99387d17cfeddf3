"""What the page on files says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from nvlhub.exchange import MAX_ROWS, SHEETS, FileKind, Form, read
from nvlhub.wire import MAX_BODY_BYTES

PAGE = (Path(__file__).parents[2] / "docs" / "exchange.md").read_text(encoding="utf-8")


def test_the_page_lists_every_kind_with_its_columns() -> None:
    cells = re.findall(r"^\| `(\w+)` \|(.*)\|(.*)\|(.*)\|$", PAGE, re.MULTILINE)
    told = {kind: [re.findall(r"`(\w+)`", cell) for cell in rest] for kind, *rest in cells}
    assert list(told) == list(FileKind)
    for kind, sheet in SHEETS.items():
        others = [column for name, column in sheet.columns.items() if name not in sheet.key]
        required = [column.name for column in others if column.required]
        optional = [column.name for column in others if not column.required]
        assert told[kind] == [list(sheet.key), required, optional]


def test_the_example_of_the_page_can_be_read() -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    rows, faults = read(example.encode(), Form.YAML, None)
    assert (len(rows), faults) == (3, [])


def test_the_page_has_the_bounds_of_a_file() -> None:
    assert MAX_BODY_BYTES == 1024 * 1024
    assert f"1 MiB and {MAX_ROWS:,} rows" in PAGE
