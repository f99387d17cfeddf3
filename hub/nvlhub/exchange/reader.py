"""Bytes of a file -> rows that can be meant, and what is wrong with the others.

A file is read as text in columns, whatever it is written in: the column decides what a text means, so ``no`` is a name
where a name stands, and nothing becomes a date, a number of base 60 or a float by its looks.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from nvlhub.cells import bare
from nvlhub.errors import BadInputError, NvlhubError
from nvlhub.exchange.kinds import MAX_ROWS, SHEETS, FileKind, Form
from nvlhub.wire import Strict

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEEPEST = 8
"""Levels of YAML that are read: rows need three, and what is a little deeper is told as the fault of its row."""
NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Row:
    """A row that can be meant. `row`: its line in a CSV file (the header is line 1), or its place in its list, from 1."""

    kind: FileKind
    row: int
    body: Strict


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a row; without a kind, `row` is the line of the file that cannot be read (0: none)."""

    kind: FileKind | None
    row: int
    field: str
    error: NvlhubError


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: FileKind
    row: int
    cells: Mapping[str, str | None]


def read(content: bytes, form: Form, kind: FileKind | None) -> tuple[list[Row], list[Fault]]:
    """Return the rows of a file and what is wrong with it; `kind` is what a CSV file holds."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return [], [Fault(None, line, "", BadInputError("import-encoding", line=line))]
    entries = _yaml(text) if form is Form.YAML or kind is None else _csv(text, kind)
    rows: list[Row] = []
    faults: list[Fault] = []
    seen: dict[tuple[Any, ...], int] = {}
    for number, entry in enumerate(entries, start=1):
        if number > MAX_ROWS:
            faults.append(Fault(None, 0, "", BadInputError("import-too-many", most=MAX_ROWS)))
            break
        found = [entry] if isinstance(entry, Fault) else _shaped(entry)
        for one in found:
            if isinstance(one, Fault):
                faults.append(one)
            elif (first := seen.setdefault(_identity(one), one.row)) != one.row:
                again = BadInputError("import-row-twice", first=first)
                faults.append(Fault(one.kind, one.row, SHEETS[one.kind].key[-1], again))
            else:
                rows.append(one)
    return rows, faults


def _identity(row: Row) -> tuple[Any, ...]:
    key = SHEETS[row.kind].key_of(row.body.model_dump())
    # A new award has no id yet: each row is one of its own.
    return (row.kind, row.row) if None in key else (row.kind, *key)


def _shaped(entry: _Entry) -> Iterator[Row | Fault]:
    """Return a row, or all that is wrong with it."""
    sheet = SHEETS[entry.kind]
    values: dict[str, Any] = {}
    wrong: dict[str, NvlhubError] = {}
    for name, text in entry.cells.items():
        column = sheet.columns[name]
        if not text:
            if not column.required:
                values[name] = column.default
            continue
        try:
            values[name] = column.value(text)
        except BadInputError as error:
            wrong[name] = error
    try:
        body = sheet.model(**values)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_context=False, include_input=False):
            name = str(one["loc"][0])
            if one["type"] == "missing":
                wrong.setdefault(name, BadInputError("import-missing", field=name))
            elif one["type"] == "string_pattern_mismatch":
                wrong.setdefault(name, BadInputError("import-signs", field=name))
            else:
                wrong.setdefault(name, BadInputError("invalid-input", field=name, allowed_text=one["msg"]))
    if wrong:
        yield from (Fault(entry.kind, entry.row, name, error) for name, error in wrong.items())
    else:
        yield Row(entry.kind, entry.row, body)


def misnamed(
    kind: FileKind | None, row: int, wrong: Mapping[str, Iterable[str]], known: Iterable[str]
) -> Iterator[Fault]:
    """Yield a fault per slug of `wrong`, with up to ten of its names, and those that there are."""
    for slug, names in wrong.items():
        if shown := ["".join(c if c.isprintable() else "?" for c in name[:40]) for name in sorted(names)[:10]]:
            error = BadInputError(slug, field=shown[0], names=", ".join(shown), known=", ".join(known))
            yield Fault(kind, row, shown[0], error)


def twice(names: Iterable[str]) -> set[str]:
    """Return the names that stand more than once."""
    return {name for name, times in Counter(names).items() if times > 1}


# --- CSV ----------------------------------------------------------------------------------------------------------


def _csv(text: str, kind: FileKind) -> Iterator[_Entry | Fault]:
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    end = 0
    try:
        for cells in lines:
            line, end = end + 1, lines.line_num
            if not any(cells):
                # A blank line, or what a spreadsheet leaves of one: separators alone.
                continue
            if not header:
                header = cells
                faults = _header_faults(kind, line, header)
                yield from faults
                if faults:
                    return
            elif len(cells) != len(header):
                wrong = BadInputError("import-cells", given=len(cells), wanted=len(header))
                yield Fault(kind, line, "", wrong)
            else:
                yield _Entry(kind, line, dict(zip(header, map(bare, cells), strict=True)))
    except csv.Error as error:
        yield Fault(None, end + 1, "", BadInputError("import-syntax", form="CSV", line=end + 1, why=str(error)))
        return
    if not header:
        yield from _header_faults(kind, 1, [])


def _header_faults(kind: FileKind, line: int, header: list[str]) -> list[Fault]:
    columns = SHEETS[kind].columns
    needed = {column.name for column in columns.values() if column.required}
    wrong = {
        "import-column-unknown": set(header) - set(columns),
        "import-column-missing": needed - set(header),
        "import-column-twice": twice(header),
    }
    return list(misnamed(kind, line, wrong, columns))


# --- YAML ---------------------------------------------------------------------------------------------------------


class Quoted(str):
    """A text that stands in quotes: it is a text, whatever it looks like."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Pairs:
    """A mapping as it is written: a key can stand twice."""

    pairs: list[tuple[Any, Any]]


def parse(text: str) -> Any:
    """Return what the one document of a YAML text holds: texts, None, lists and :class:`Pairs`.

    Raises `BadInputError` with a `line` for anything but plain data.
    """
    try:
        return _document(yaml.parse(text, Loader=LOADER))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        why = getattr(error, "problem", None) or getattr(error, "reason", None) or "?"
        raise BadInputError("import-syntax", form="YAML", line=line, why=why) from None


def _yaml(text: str) -> Iterator[_Entry | Fault]:
    try:
        document = parse(text)
    except BadInputError as error:
        yield Fault(None, int(str(error.members["line"])), "", error)
        return
    if not isinstance(document, Pairs) or not all(isinstance(name, str) for name, _ in document.pairs):
        yield Fault(None, 1, "", BadInputError("import-shape"))
        return
    names = [name for name, _ in document.pairs]
    unknown = set(names) - set(FileKind)
    yield from misnamed(None, 0, {"import-kind-unknown": unknown, "import-column-twice": twice(names)}, FileKind)
    for name, entries in document.pairs:
        if name not in unknown:
            yield from _entries(FileKind(name), entries)


def _entries(kind: FileKind, entries: Any) -> Iterator[_Entry | Fault]:
    """Return the rows of a kind; nothing at all, as in ``projects:``, is an empty list."""
    if not isinstance(entries, list | None):
        yield Fault(kind, 0, "", BadInputError("import-shape"))
        return
    columns = SHEETS[kind].columns
    for row, entry in enumerate(entries or (), start=1):
        pairs: list[tuple[Any, Any]] = entry.pairs if isinstance(entry, Pairs) else [(None, None)]
        if not all(isinstance(name, str) and isinstance(value, str | None) for name, value in pairs):
            yield Fault(kind, row, "", BadInputError("import-shape"))
            continue
        names = [str(name) for name, _ in pairs]
        wrong = {"import-column-unknown": set(names) - set(columns), "import-column-twice": twice(names)}
        faults = list(misnamed(kind, row, wrong, columns))
        if faults:
            yield from faults
        else:
            yield _Entry(kind, row, {name: None if value is None else str(value) for name, value in pairs})


def _document(events: Iterator[Any]) -> Any:
    """Return what the one document of a stream holds. Raises `BadInputError` for anything but plain data."""
    found: list[Any] = []
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            if found:
                raise BadInputError("import-shape", line=_line(event))
            found.append(_node(next(events), events, 0))
    return found[0] if found else None


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _node(event: Any, events: Iterator[Any], depth: int) -> Any:
    """Return a text, None, a list or :class:`Pairs`.

    No anchors and aliases (a file of a few lines could stand for gigabytes), no tags, nothing nested without end.
    """
    line = _line(event)
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None or event.tag is not None:
        raise BadInputError("import-alias", line=line)
    if isinstance(event, yaml.ScalarEvent):
        if event.style:
            return Quoted(event.value)
        return None if event.value in NULLS else event.value
    if depth == DEEPEST:
        raise BadInputError("import-shape", line=line)
    nodes = []
    while not isinstance(inner := next(events), yaml.SequenceEndEvent | yaml.MappingEndEvent):
        nodes.append(_node(inner, events, depth + 1))
    if isinstance(event, yaml.SequenceStartEvent):
        return nodes
    return Pairs(list(zip(nodes[::2], nodes[1::2], strict=True)))
