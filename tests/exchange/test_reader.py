"""Files as bytes: what they mean, and that no bytes do anything but be refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.cells import bare, guarded
from nvlhub.exchange import SHEETS, FileKind, Form, read, reader, write
from nvlhub.text import LANGUAGES, say
from tests.effort import effort

PROJECTS = "slug,name,programme,institution,cap\r\n"
P = FileKind.PROJECTS


def csv(text: str, kind: FileKind = P) -> tuple[list[dict[str, Any]], list[tuple[int, str, str]]]:
    return outcome(text.encode(), Form.CSV, kind)


def yaml(text: str) -> tuple[list[dict[str, Any]], list[tuple[int, str, str]]]:
    return outcome(text.encode(), Form.YAML, None)


def outcome(content: bytes, form: Form, kind: FileKind | None) -> Any:
    rows, faults = read(content, form, kind)
    return (
        [row.body.model_dump(exclude_unset=True) for row in rows],
        [(fault.row, fault.field, fault.error.slug) for fault in faults],
    )


X = {"slug": "x", "name": "X", "programme": "p"}

# --- CSV ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_csv_is_read_with_or_without_a_byte_order_mark_and_with_every_line_end(mark: str, end: str) -> None:
    rows, faults = csv(f"{mark}slug,name,programme{end}x,X,p{end}")
    assert (rows, faults) == ([X], [])


def test_the_order_of_columns_is_free_and_blank_lines_are_skipped() -> None:
    rows, faults = csv('\nprogramme,slug,name\n\np,x,"X"\n,,\n   \np,y,"a ""b"", c"\n')
    assert rows == [X, {**X, "slug": "y", "name": 'a "b", c'}]
    assert faults == [(6, "", "import-cells")]


def test_an_empty_cell_is_what_an_absent_value_means_and_an_absent_column_says_nothing() -> None:
    rows, _ = csv(f"{PROJECTS}x,X,p,,\n")
    assert rows == [{**X, "institution": None, "cap": None}]
    assert csv("slug,name,programme\nx,X,p\n")[0] == [X]
    [programme], _ = csv("slug,name,share\np,P,\n", FileKind.PROGRAMMES)
    assert programme == {"slug": "p", "name": "P", "share": 100}


def test_errors_name_the_line_of_the_file_whatever_is_in_its_cells() -> None:
    _, faults = csv(f'{PROJECTS}\nx,"two\nlines",p,,\ny,Y,p,,0\n')
    assert faults == [(3, "name", "import-signs"), (5, "cap", "invalid-input")]


@pytest.mark.parametrize(
    ("header", "faults"),
    [
        ("slug,name", [(1, "programme", "import-column-missing")]),
        ("slug,name,programme,colour,size", [(1, "colour", "import-column-unknown")]),
        ("slug,slug,name,programme", [(1, "slug", "import-column-twice")]),
        ("slug;name;programme", [(1, "slug;name;programme", "import-column-unknown"), (1, "name", "import-column-missing")]),
        ("", [(1, "name", "import-column-missing")]),
        ("Slug,name,programme", [(1, "Slug", "import-column-unknown"), (1, "slug", "import-column-missing")]),
    ],
)  # fmt: skip
def test_a_header_has_exactly_the_known_columns(header: str, faults: list[tuple[int, str, str]]) -> None:
    assert csv(f"{header}\nx,X,p\n") == ([], faults) if header else csv("") == ([], faults)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_an_unknown_column_is_told_with_those_that_there_are(lang: str) -> None:
    _, [fault] = read(b"slug,name,programme,colour\n", Form.CSV, P)
    told = say(fault.error.slug, lang, **fault.error.members)
    assert "colour" in told
    assert "slug, name, programme, institution, cap" in told


# --- YAML ---------------------------------------------------------------------------------------------------------


def test_yaml_is_kinds_of_rows() -> None:
    rows, faults = yaml(
        "projects:\n- {slug: x, name: X, programme: p}\n- slug: no\n  name: '12'\n  programme: on\n  cap: ~\nmembers:\n"
    )
    assert rows == [X, {"slug": "no", "name": "12", "programme": "on", "cap": None}]
    assert faults == []


def test_a_text_means_what_its_column_says_and_not_what_it_looks_like() -> None:
    rows, _ = yaml("institutions:\n- {slug: 2027-01-01, name: 1:30}\n- {slug: yes, name: 0x10, ror: null}\n")
    assert rows == [{"slug": "2027-01-01", "name": "1:30"}, {"slug": "yes", "name": "0x10", "ror": ""}]


AWARD = "{project: x, pool: main, gpu_hours: 1, starts: 1800000000, ends: 1900000000, %s}"


@pytest.mark.parametrize(
    ("given", "slug"),
    [
        ("cap: .nan", "import-not-whole"),
        ("cap: .inf", "import-not-whole"),
        ("cap: 1.0", "import-not-whole"),
        ("cap: 1e3", "import-not-whole"),
        ("cap: 1_000", "import-not-whole"),
        ("cap: ٣", "import-not-whole"),
        ("cap: -", "import-not-whole"),
        ("cap: -3", "invalid-input"),
        ("cap: 1000000000000000000000000000000", "invalid-input"),
        (f"cap: {'9' * 5000}", "import-not-whole"),
        ("cap: [1]", "import-shape"),
        ("cap: {a: 1}", "import-shape"),
        ("milli_gpu_seconds: 3600000", "invalid-input"),
        ("id: 007", "import-signs"),
        ("id: -1", "import-signs"),
    ],
)
def test_what_is_no_whole_number_in_reach_is_refused(given: str, slug: str) -> None:
    rows, faults = yaml(f"awards:\n- {AWARD % given}\n")
    assert rows == []
    assert [(row, wrong) for row, _, wrong in faults] == [(1, slug)]


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ("1800000000", 1_800_000_000),
        ("2027-01-15", 1_799_971_200),
        ("2024-02-29", 1_709_164_800),
        ("2027-02-29", None),
        ("15.01.2027", None),
        ("2027-01-15T00:00:00Z", None),
        ("-1", None),
        ("9999999999999", None),
        ("1e9", None),
        ("1969-12-31", None),
    ],
)
def test_times_are_unix_seconds_or_days(given: str, at: int | None) -> None:
    rows, _ = yaml(f"capacities:\n- {{pool: main, kind: announced, gpus: 1, at: {given}, source: s}}\n")
    assert [row["at"] for row in rows] == ([at] if at is not None else [])


@pytest.mark.parametrize("given", ["True", "false", "yes", "1"])
def test_a_flag_is_true_or_false(given: str) -> None:
    rows, _ = yaml(f"profiles:\n- {{name: x, display_name: X, pool: main, gpus: 1, longest: 60, published: {given}}}\n")
    assert [row["published"] for row in rows] == {"True": [True], "false": [False]}.get(given, [])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("projects:\n- &a {slug: x, name: X, programme: p}\n- *a\n", (2, "", "import-alias")),
        ("projects:\n- *a\n", (2, "", "import-alias")),
        ("projects: !!python/object/apply:os.system ['true']\n", (1, "", "import-alias")),
        ("projects:\n- {slug: !!int 1, name: X, programme: p}\n", (2, "", "import-alias")),
        ("projects:\n- {<<: {slug: x}, name: X, programme: p}\n", (1, "", "import-shape")),
        ("moons: []\nprojects: []\n", (0, "moons", "import-kind-unknown")),
        ("projects: []\nprojects: []\n", (0, "projects", "import-column-twice")),
        ("projects:\n- {slug: x, slug: y, name: X, programme: p}\n", (1, "slug", "import-column-twice")),
        ("projects:\n- {slug: x, name: X, programme: p, colour: red}\n", (1, "colour", "import-column-unknown")),
        ("projects:\n- {slug: x, programme: p}\n", (1, "name", "import-missing")),
        ("projects:\n- {slug: x, name: '', programme: p}\n", (1, "name", "import-missing")),
        ("projects: x\n", (0, "", "import-shape")),
        ("projects:\n- x\n", (1, "", "import-shape")),
        ("projects:\n- {slug: [x], name: X, programme: p}\n", (1, "", "import-shape")),
        ("projects:\n- [[[[[[[[x]]]]]]]]\n", (2, "", "import-shape")),
        ("- x\n", (1, "", "import-shape")),
        ("", (1, "", "import-shape")),
        ("? [a]\n: b\n", (1, "", "import-shape")),
        ("projects: []\n---\nprojects: []\n", (2, "", "import-shape")),
        ("projects: [\n", (2, "", "import-syntax")),
        ("a: b: c\n", (1, "", "import-syntax")),
        ("projects: '\x07'\n", (0, "", "import-syntax")),
        ("\t", (1, "", "import-syntax")),
    ],
)
def test_yaml_that_is_no_plain_rows_is_refused(text: str, fault: tuple[int, str, str]) -> None:
    assert yaml(text) == ([], [fault])


def test_a_file_that_grows_when_it_is_read_is_refused_with_little_work() -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    bomb = "\n".join(["l0: &l0 [lol]", *levels])
    calls, told = effort(lambda: yaml(bomb))
    assert told == ([], [(1, "", "import-alias")])
    assert calls < 5000
    calls, told = effort(lambda: yaml("[" * 500_000))
    assert told[1][0][2] == "import-shape"
    assert calls < 5000


def test_rows_of_a_file_are_counted() -> None:
    rows, faults = yaml("users:\n" + "".join(f"- {{name: u{n}}}\n" for n in range(10_002)))
    assert (len(rows), faults) == (10_000, [(0, "", "import-too-many")])


# --- both ---------------------------------------------------------------------------------------------------------


def test_two_rows_about_the_same_thing_are_refused() -> None:
    _, faults = csv(f"{PROJECTS}x,X,p,,\ny,Y,p,,\nx,Z,p,,\n")
    assert faults == [(4, "slug", "import-row-twice")]
    _, faults = csv("project,user,role\np,u,pi\np,v,pi\nq,u,pi\np,u,member\n", FileKind.MEMBERS)
    assert faults == [(5, "user", "import-row-twice")]


def test_new_awards_may_be_alike() -> None:
    row = ",x,main,1,1800000000,1900000000\n"
    rows, faults = csv(f"id,project,pool,gpu_hours,starts,ends\n{row}{row}", FileKind.AWARDS)
    assert (len(rows), faults) == (2, [])


@pytest.mark.parametrize("slug", ["dеmo", "ｄemo", "demo\u200b", "Demo", "-demo", "d" * 41, "de mo", "demo\n"])
def test_names_that_look_like_others_are_no_slugs(slug: str) -> None:
    _, faults = csv(f'{PROJECTS}"{slug}",X,p,,\n')
    assert faults == [(2, "slug", "import-signs")]


@pytest.mark.parametrize("name", ["a\u202eb", "a\u2066b", "<b>", "a\x9b31m", "\ufeffx"])
def test_names_turn_nothing_around_and_hide_nothing(name: str) -> None:
    assert csv(f'{PROJECTS}x,"z{name}",p,,\n')[1] == [(2, "name", "import-signs")]


@pytest.mark.parametrize("form", list(Form))
def test_bytes_of_another_encoding_are_refused_with_their_line(form: Form) -> None:
    kind = P if form is Form.CSV else None
    assert outcome("slug\n專案".encode("big5"), form, kind) == ([], [(2, "", "import-encoding")])
    assert outcome("slug\n".encode("utf-16"), form, kind) == ([], [(1, "", "import-encoding")])


@given(st.binary(max_size=400) | st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_do_anything_but_mean_rows_or_be_refused(content: bytes) -> None:
    told_of(content)


FRAGMENTS = st.sampled_from(
    ["projects:", "awards:", "\n", "\n- ", "{", "}", "[", "]", ",", ":", "slug", "name", "programme", "id", "x", '"', "'",
     "-", "&a", "*a", "!!x", "~", "%", "|", ">", "\t", "\r", "\\u0000", "\\ud800", "1", "=1", "#", "---", "...", "? "]
)  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=60).map("".join))
def test_no_near_miss_does_anything_but_mean_rows_or_be_refused(text: str) -> None:
    told_of(text.encode())


def told_of(content: bytes) -> None:
    for form, kinds in ((Form.YAML, [None]), (Form.CSV, list(FileKind))):
        for kind in kinds:
            _, faults = read(content, form, kind)
            for fault in faults:
                assert say(fault.error.slug, "en", **fault.error.members)


# --- written and read again ---------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(TEXT)
def test_what_a_spreadsheet_would_take_for_a_formula_is_guarded_and_comes_back_as_it_was(text: str) -> None:
    assert bare(guarded(text)) == text
    assert not guarded(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))


@pytest.mark.parametrize(
    ("text", "cell"),
    [("=1+1", "'=1+1"), ("'=1", "''=1"), ("-x", "'-x"), ("+886", "'+886"), ("@a", "'@a"), ("＝1", "'＝1"),
     ("O'Neil", "O'Neil"), ("'quoted'", "'quoted'"), ("a=b", "a=b"), ("'", "'")],
)  # fmt: skip
def test_only_what_was_guarded_is_bared(text: str, cell: str) -> None:
    assert guarded(text) == cell
    assert bare(cell) == text


@given(
    st.lists(
        st.fixed_dictionaries({"slug": st.just("x"), "name": TEXT, "programme": TEXT, "institution": st.none() | TEXT.filter(bool),
                               "cap": st.none() | st.integers(-5, 10**6)}),
        max_size=3,
    )
)  # fmt: skip
def test_cells_come_back_as_they_were_written(rows: list[dict[str, Any]]) -> None:
    for form in Form:
        document = {P: rows}
        content = write(document, form)
        assert cells(content, form) == [
            {name: None if value in (None, "") else str(value) for name, value in row.items()} for row in rows
        ]


def cells(content: bytes, form: Form) -> list[dict[str, Any]]:
    """Return the texts of a file before anybody asks what they mean."""
    text = content.decode("utf-8-sig")
    entries = reader._csv(text, P) if form is Form.CSV else reader._yaml(text)
    return [{name: value or None for name, value in entry.cells.items()} for entry in entries]  # type: ignore[union-attr]


def test_every_column_of_every_kind_is_known_by_its_kind_of_value() -> None:
    assert {name for sheet in SHEETS.values() for name in sheet.key} <= {
        name for sheet in SHEETS.values() for name in sheet.columns
    }
