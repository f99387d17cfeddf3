"""A CSV file x the roster that there is -> the roster that will be, or everything that is wrong with the file.

    student_no, name_zh, name_latin, email_or_username, group, seat      in any order; others are named and left out

A row keeps its number for ever: who is in the file again, known by student number or else by account, has the number
that they had; who is in it no more is dropped and keeps it, too. Rows are counted as a spreadsheet shows them: the
header is row 1.
"""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nvlhub.cells import bare, guarded
from nvlhub.errors import BadInputError

COLUMNS = ("student_no", "name_zh", "name_latin", "email_or_username", "group", "seat")
ROW = "row"
"""A column that is told, and means nothing in a file that comes in."""
MOST_ROWS = 2000
LONGEST: Mapping[str, int] = {
    "student_no": 40, "name_zh": 100, "name_latin": 100, "email_or_username": 255, "group": 40, "seat": 4,
}  # fmt: skip
"""Signs of a cell, at most."""
DELIMITERS = ",;\t"
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of signs that nobody sees: they steer, hide, or turn the text around."""
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True, slots=True)
class Listed:
    """Somebody who is to come. `row` is 0 until it is known."""

    student_no: str = ""
    name_zh: str = ""
    name_latin: str = ""
    email_or_username: str = ""
    group: str = ""
    seat: int | None = None
    row: int = 0
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a row of the file."""

    row: int
    error: BadInputError


@dataclass(frozen=True)
class Found:
    """What a file says; where there are `faults` the rest is not to be used."""

    rows: tuple[Listed, ...] = ()
    ignored: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


def decode(content: bytes) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    Raises `BadInputError` for anything else.
    """
    form = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    try:
        if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
            raise BadInputError("roster-encoding", field="csv")
        return content.decode(form)
    except UnicodeDecodeError:
        raise BadInputError("roster-encoding", field="csv") from None


def read(text: str, seats: int) -> Found:
    """Read a roster for so many seats. Raises `BadInputError` for what is wrong with the file as a whole."""
    if text.count("\n") > 2 * MOST_ROWS + 1 and _count(text) > MOST_ROWS:
        raise BadInputError("roster-too-long", field="csv", most=MOST_ROWS)
    records = _records(text)
    header = [cell.strip().lower() for cell in next(records, [])]
    _check_header(header)
    places = {name: header.index(name) for name in COLUMNS if name in header}
    reading = _Reading(seats)
    for number, cells in enumerate(records, start=2):
        if any(cell.strip() for cell in cells):
            if len(reading.rows) == MOST_ROWS:
                raise BadInputError("roster-too-long", field="csv", most=MOST_ROWS)
            reading.take(number, cells, places, len(header))
    ignored = tuple(name for name in header if name not in {*COLUMNS, ROW, ""})
    return Found(tuple(reading.rows), ignored, tuple(reading.faults))


def _count(text: str) -> int:
    return sum(bool(line.strip(" ,;\t\r")) for line in text.split("\n")) - 1


def _records(text: str) -> Iterator[list[str]]:
    first = text.removeprefix("\ufeff").lstrip("\r\n").split("\n", 1)[0]
    delimiter = max(
        DELIMITERS, key=lambda sign: sum(name.strip(' "\r').lower() in COLUMNS for name in first.split(sign))
    )
    try:
        yield from csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=delimiter, strict=True)
    except csv.Error:
        raise BadInputError("roster-unreadable", field="csv") from None


def _check_header(header: Sequence[str]) -> None:
    known = [name for name in header if name in COLUMNS]
    twice = next((name for name in known if known.count(name) > 1), None)
    if twice is not None:
        raise BadInputError("roster-column-twice", field=twice)
    for either in (("student_no", "email_or_username"), ("name_zh", "name_latin")):
        if not set(either) & set(known):
            raise BadInputError("roster-column-missing", field=either[0], columns=", ".join(COLUMNS), other=either[1])


@dataclass
class _Reading:
    """The rows of a file so far, what is wrong with them, and where each name stood first."""

    seats: int
    rows: list[Listed] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    seen: dict[tuple[str, str], int] = field(default_factory=dict)

    def take(self, number: int, cells: Sequence[str], places: Mapping[str, int], width: int) -> None:
        wrong: list[BadInputError] = []
        if any(cell.strip() for cell in cells[width:]):
            wrong.append(BadInputError("roster-cells", field="csv", count=len(cells), most=width))
        told = {name: bare(cells[place].strip()) if place < len(cells) else "" for name, place in places.items()}
        wrong += [error for name, cell in told.items() if (error := _wrong(name, cell)) is not None]
        listed = Listed(
            told.get("student_no", ""), told.get("name_zh", ""), told.get("name_latin", ""),
            told.get("email_or_username", ""), told.get("group", ""), self._seat(told.get("seat", ""), wrong),
        )  # fmt: skip
        if not (listed.name_zh or listed.name_latin):
            wrong.append(BadInputError("roster-name", field="name_zh"))
        if not (listed.student_no or listed.email_or_username):
            wrong.append(BadInputError("roster-nobody", field="student_no"))
        wrong += self._twice(listed, number)
        self.rows.append(listed)
        self.faults += [Fault(number, error) for error in wrong]

    def _seat(self, told: str, wrong: list[BadInputError]) -> int | None:
        if not told:
            return None
        if told.isascii() and told.isdigit() and len(told) <= LONGEST["seat"] and 1 <= int(told) <= self.seats:
            return int(told)
        wrong.append(BadInputError("roster-seat", field="seat", most=self.seats))
        return None

    def _twice(self, listed: Listed, number: int) -> Iterator[BadInputError]:
        for name, value in (*_marks(listed), ("seat", str(listed.seat or ""))):
            first = self.seen.setdefault((name, value), number) if value else number
            if first != number:
                yield BadInputError("roster-twice", field=name, first=first)


def _wrong(name: str, cell: str) -> BadInputError | None:
    if len(cell) > LONGEST[name]:
        return BadInputError("roster-long", field=name, most=LONGEST[name])
    if any(unicodedata.category(sign) in UNSEEN for sign in cell):
        return BadInputError("roster-signs", field=name)
    return None


def _marks(listed: Listed) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return what somebody is known by, however it is written: full-width or not, in small letters or large."""
    return (
        ("student_no", _folded(listed.student_no)), ("email_or_username", _folded(listed.email_or_username))
    )  # fmt: skip


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def merged(rows: Sequence[Listed], known: Sequence[Listed]) -> tuple[Listed, ...]:
    """Return the roster that will be: `rows` with their numbers, then those who are dropped, in order of the numbers.

    `known` is everybody who ever was on it.
    """
    numbers: dict[int, int] = {}
    left = {one.row: one for one in known}
    for mark in (0, 1):
        by_mark = {_marks(one)[mark][1]: number for number, one in left.items()}
        for place, listed in enumerate(rows):
            number = by_mark.get(_marks(listed)[mark][1]) if _marks(listed)[mark][1] else None
            if place not in numbers and number is not None and number in left:
                numbers[place] = number
                del left[number]
    fresh = max((one.row for one in known), default=0)
    made = []
    for place, listed in enumerate(rows):
        if place not in numbers:
            fresh += 1
            numbers[place] = fresh
        made.append(replace(listed, row=numbers[place]))
    return tuple(sorted([*made, *(replace(one, dropped=True, seat=None) for one in left.values())], key=_number))


def _number(listed: Listed) -> int:
    return listed.row


def write(rows: Iterable[Listed]) -> bytes:
    """Return a roster as CSV that a spreadsheet shows as it is, and that :func:`read` reads again."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([*COLUMNS, ROW])
    for one in rows:
        texts = (one.student_no, one.name_zh, one.name_latin, one.email_or_username, one.group)
        writer.writerow([*map(guarded, texts), "" if one.seat is None else one.seat, one.row])
    return file.getvalue().encode("utf-8-sig")
