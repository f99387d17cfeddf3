"""What a roster's file says, and whose number is whose; out and in again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvlhub.errors import BadInputError
from nvlhub.flow.roster import COLUMNS, MOST_ROWS, UNSEEN, Found, Listed, decode, merged, read, write
from tests.effort import effort

HEAD = ",".join(COLUMNS)
FILE = f"{HEAD}\r\nB1,王小明,Wang Xiao-Ming,ming@uni.tw,a,3\r\nB2,,Ann Lee,ann,,\r\n"
ROWS = (
    Listed("B1", "王小明", "Wang Xiao-Ming", "ming@uni.tw", "a", 3),
    Listed("B2", "", "Ann Lee", "ann"),
)


def faults(text: str, seats: int = 10) -> list[tuple[int, str, object]]:
    return [(one.row, one.error.slug, one.error.members["field"]) for one in read(text, seats).faults]


@pytest.mark.parametrize("form", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_is_read_in_utf_8_and_in_utf_16_with_a_mark(form: str) -> None:
    mark = "\ufeff" if form in {"utf-16-le", "utf-16-be"} else ""
    assert read(decode((mark + FILE).encode(form)), 10) == Found(ROWS)


@pytest.mark.parametrize(
    "content",
    [FILE.encode("big5"), FILE.encode("utf-16-le")[:-1] + b"\xd8", b"\xff\xfe\x00", "\ufeff".encode("utf-32")],
)
def test_another_encoding_is_refused_and_not_guessed(content: bytes) -> None:
    with pytest.raises(BadInputError) as refused:
        decode(content)
    assert (refused.value.slug, refused.value.members["field"]) == ("roster-encoding", "csv")


def test_columns_come_in_any_order_and_others_are_named() -> None:
    found = read("Seat,Mail, name_zh ,email_or_username,row\n2,x,王,ann,7\n\n , ,\n", 10)
    assert found == Found((Listed("", "王", "", "ann", "", 2),), ("mail",))


@pytest.mark.parametrize("sign", [";", "\t"])
def test_spreadsheets_part_columns_by_other_signs_too(sign: str) -> None:
    assert read(FILE.replace(",", sign), 10) == Found(ROWS)


@pytest.mark.parametrize(
    ("text", "slug", "field"),
    [
        ("", "roster-column-missing", "student_no"),
        ("name_zh,group\n", "roster-column-missing", "student_no"),
        ("student_no,group\n", "roster-column-missing", "name_zh"),
        ("student_no,name_zh,Student_No\n", "roster-column-twice", "student_no"),
        (f'{HEAD}\n"B1,王\n', "roster-unreadable", "csv"),
        (f"{HEAD}\n{'x' * 200_000}\n", "roster-unreadable", "csv"),
        (f"{HEAD}\n" + "".join(f"{n},x\n" for n in range(MOST_ROWS + 1)), "roster-too-long", "csv"),
    ],
)
def test_what_is_wrong_with_the_whole_file_is_told(text: str, slug: str, field: str) -> None:
    with pytest.raises(BadInputError) as refused:
        read(text, 10)
    assert (refused.value.slug, refused.value.members["field"]) == (slug, field)


def test_as_many_rows_as_may_be_are_read() -> None:
    assert len(read(f"{HEAD}\n" + "".join(f"{n},x\n\n" for n in range(MOST_ROWS)), 10).rows) == MOST_ROWS


def test_ten_thousand_rows_are_refused_with_little_work() -> None:
    text = f"{HEAD}\n" + "".join(f'"{n}",{"王" * 50},,u{n},,\n' for n in range(10_000))

    def refused() -> None:
        with pytest.raises(BadInputError, match="roster-too-long"):
            read(text, 10)

    assert effort(refused)[0] < 60_000


def test_everything_that_is_wrong_is_told_at_once_by_row() -> None:
    text = "\n".join([
        HEAD, "B1,王,,ann,,1", "B1,李,,bob,,2", "B3,,,cid,,", ",張,,,,", "B5,x,,ＡＮＮ,,1", "B6,x,,dan,,11", "B7,x,,eve,,one",
        f"{'9' * 41},{'王' * 101},,fay,,", "B9,a\u202eb,,gus,,", "B10,x,,hal,,,extra", '"B11","a\nb",,ian,,', "B12,x,,jo,,0",
        f"B13,x,,kim,,{'1' * 5000}", f"B14,x,,lou,,{'0' * 5000}1",
    ])  # fmt: skip
    assert faults(text) == [
        (3, "roster-twice", "student_no"), (4, "roster-name", "name_zh"), (5, "roster-nobody", "student_no"),
        (6, "roster-twice", "email_or_username"), (6, "roster-twice", "seat"), (7, "roster-seat", "seat"),
        (8, "roster-seat", "seat"), (9, "roster-long", "student_no"), (9, "roster-long", "name_zh"),
        (10, "roster-signs", "name_zh"), (11, "roster-cells", "csv"), (12, "roster-signs", "name_zh"),
        (13, "roster-seat", "seat"), (14, "roster-long", "seat"), (14, "roster-seat", "seat"),
        (15, "roster-long", "seat"), (15, "roster-seat", "seat"),
    ]  # fmt: skip


def test_a_formula_is_a_text_and_no_spreadsheet_computes_it() -> None:
    evil = ("=cmd|' /C calc'!A0", "+1", "-2+3", "@SUM(A1)", "＝1", "'=x", "''y", "'")
    found = read(f"{HEAD}\n" + "".join(f'B{n},"{cell}",,u{n},,\n' for n, cell in enumerate(evil)), 10)
    assert found.faults == ()
    assert [one.name_zh for one in found.rows] == [cell if cell != "'=x" else "=x" for cell in evil]
    told = write(found.rows).decode("utf-8-sig").splitlines()[1:]
    assert all(line.split(",")[1].lstrip('"')[0] not in "=+-@＝" for line in told)
    assert read(decode(write(found.rows)), 10).rows == found.rows


def test_who_is_on_it_again_has_the_number_they_had() -> None:
    first = merged(ROWS, ())
    assert [one.row for one in first] == [1, 2]
    again = merged(
        (Listed("B3", "新", "", "new"), Listed("b2", "", "Ann L.", "ann@x"), Listed("", "明", "", "MING@uni.tw")), first
    )
    assert [(one.row, one.email_or_username, one.dropped) for one in again] == [
        (1, "MING@uni.tw", False), (2, "ann@x", False), (3, "new", False),
    ]  # fmt: skip


def test_a_number_is_never_given_to_another() -> None:
    without = merged(ROWS[:1], merged(ROWS, ()))
    assert [(one.row, one.dropped) for one in without] == [(1, False), (2, True)]
    other = merged((*ROWS[:1], Listed("B9", "九", "", "nine")), without)
    assert [(one.row, one.dropped) for one in other] == [(1, False), (2, True), (3, False)]
    back = merged((ROWS[1], Listed("B9", "九", "", "nine")), other)
    assert [(one.row, one.dropped, one.student_no) for one in back] == [
        (1, True, "B1"),
        (2, False, "B2"),
        (3, False, "B9"),
    ]


cells = st.text(st.characters(exclude_categories=sorted(UNSEEN)), max_size=20).map(lambda text: text.strip().strip("'"))


@st.composite
def rosters(draw: st.DrawFn) -> tuple[Listed, ...]:
    numbers = draw(st.lists(st.integers(0, 30), unique=True, max_size=12))
    seats = draw(st.permutations(range(1, 13)))
    return tuple(
        Listed(
            f"B{number}" if draw(st.booleans()) else "", f"王{draw(cells)}".strip(), draw(cells), f"u{number}", draw(cells),
            seat if draw(st.booleans()) else None,
        )
        for number, seat in zip(numbers, seats, strict=False)
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(rosters(), min_size=1, max_size=3))
def test_what_goes_out_comes_in_again_and_numbers_stay(rounds: list[tuple[Listed, ...]]) -> None:
    known: tuple[Listed, ...] = ()
    owner: dict[int, str] = {}
    for rows in rounds:
        known = merged(rows, known)
        present = [one for one in known if not one.dropped]
        assert len({one.row for one in known}) == len(known)
        assert sorted(one.email_or_username for one in present) == sorted(one.email_or_username for one in rows)
        for one in known:
            assert owner.setdefault(one.row, one.email_or_username) == one.email_or_username
        sent = read(decode(write(present)), 12)
        assert (sent.faults, sent.ignored) == ((), ())
        assert merged(sent.rows, known) == known
