"""The pages of courses and rosters, without a hub."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from nvlhub.arena import ArenaError, Judgement, Mark, Ran, ScriptedArena
from nvlhub.flow.rubric import Rubric
from nvlhub.forms import RunAsk
from nvlhub.visitor import Visitor
from tests.conftest import HandClock
from tests.courses_kit import TEACHER, approved, plan, with_course
from tests.portal.pages_kit import Visit, visiting
from tests.portal_kit import ADMIN, RESEARCHER, Kit

HERE = "teach/courses/frames"
COMMIT = "3f2a" * 10
RUBRIC = {
    "files": ["solve.py", "results/*.csv"], "outputs": [{"name": "a.csv", "kind": "csv"}], "hidden": ["truth.csv"],
    "graders": ["grade.py"],
    "items": [
        {"name": "a", "title": "Right", "check": "match", "output": "a.csv", "at": "y", "hidden": "truth.csv"},
        {"name": "b", "check": "grader", "grader": "grade.py"},
    ],
}  # fmt: skip
BESIDE = [
    ("beside", ("truth.csv", b"y\n42\n")), ("beside", ("grade.py", b"def grade(outputs, hidden): return 1\n")),
]  # fmt: skip
PEOPLE = "student_no,name_zh,name_latin,email_or_username\n1,王小明,Wang Xiao-Ming,ming\n2,李美,Li Mei,mei\n"


@pytest.fixture
def portal(tmp_path: Path, clock: HandClock) -> Iterator[Kit]:
    with with_course(tmp_path, clock) as made:
        yield made


@pytest.fixture
def visit(portal: Kit) -> Iterator[Visit]:
    for one in visiting(portal):
        yield one.be(RESEARCHER)


def typed(**more: str) -> dict[str, str]:
    return {
        "project": "demo", "slug": "tensors", "title": "Tensors", "title_zh": "張量", "summary": "", "repository": "",
        "commit": "", "opens": "", "profile": "gpu1", "keep_days": "60", "instructors": "instructor\r\nann\r\n", **more,
    }  # fmt: skip


def rubric_file(**more: object) -> list[tuple[str, tuple[str, bytes]]]:
    return [("rubric", ("rubric.yml", yaml.safe_dump({**RUBRIC, **more}).encode()))]


# --- courses ------------------------------------------------------------------------------------------------------


def test_a_course_is_made_and_changed_by_forms(portal: Kit, visit: Visit) -> None:
    assert "New course" in visit.see("teach")
    assert "Demo project (demo)" in visit.see("teach/new-course")
    sent = typed(repository="https://git.example.tw/t.git", commit=COMMIT.upper(), opens="01 start.ipynb")
    assert visit.send("teach/new-course", **sent) == "teach/courses/tensors?done=made"
    made, _ = portal.registry.courses.course(RESEARCHER, "tensors")
    assert (made.commit, made.instructors, made.keep_days) == (COMMIT, ["ann", "instructor"], 60)
    assert "The course is made" in visit.see("teach/courses/tensors?done=made")
    form = visit.form()
    assert form["instructors"] == "ann\ninstructor"
    assert visit.send("teach/courses/tensors", **form | {"title": "Tensors II", "instructors": ""}).endswith("changed")
    after, _ = portal.registry.courses.course(RESEARCHER, "tensors")
    assert (after.title, after.instructors, after.profile) == ("Tensors II", [], "gpu1")
    assert "張量" in visit.see("teach", **{"Accept-Language": "zh-TW"})


@pytest.mark.parametrize(
    ("field", "wrong", "said"),
    [
        ("slug", "Ten sors", "Short name: small letters"), ("slug", "frames", "Short name: There is a course “frames” already"),
        ("title", "", "Title: 1 to 100"), ("repository", "http://x", "Git repository: an address that begins with https://"),
        ("commit", "3f2a", "Commit: the full hash"), ("commit", COMMIT, "Git repository: missing"), ("opens", "../x", "Opens first: a path inside"),
        ("profile", "nosuch", "Profile of the kernel: "), ("keep_days", "0", "1 to 3650 days"), ("keep_days", "x", "a whole number"),
        ("instructors", "a/b", "Instructors: account names"), ("project", "nosuch", "Project: "),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_course_is_named_and_what_was_typed_is_kept(
    visit: Visit, field: str, wrong: str, said: str
) -> None:
    sent = typed(**{field: wrong}, summary="Kept.")
    visit.send("teach/new-course", **sent)
    assert 400 <= visit.status < 500
    assert said in visit.fault()
    assert len(visit.wrong()) == 1
    assert visit.form()["summary"] == "Kept."
    if field not in {"project", "instructors"}:
        assert visit.form()[field] == wrong


def test_instructors_change_what_is_taught_but_not_who_teaches(portal: Kit, visit: Visit) -> None:
    visit.be(TEACHER).see(HERE)
    form = visit.form()
    assert "instructors" not in form
    assert 'action="/services/portal/teach/courses/frames/retire"' not in visit.text
    assert visit.send(HERE, **form | {"title": "New", "instructors": "mallory"}).endswith("changed")
    after, _ = portal.registry.courses.course(TEACHER, "frames")
    assert (after.title, after.instructors) == ("New", ["instructor"])
    visit.send(f"{HERE}/retire", do="retire", match="*")
    assert visit.status == 403
    assert "You answer for no project" in visit.see("teach/new-course")
    visit.send("teach/new-course", **typed())
    assert visit.status == 403


def test_a_course_is_changed_from_the_state_that_was_read(visit: Visit) -> None:
    visit.see(HERE)
    form = visit.form()
    visit.send(HERE, **form | {"title": "One"})
    visit.send(HERE, **form | {"title": "Two"})
    assert (visit.status, visit.form()["title"]) == (412, "Two")
    assert visit.send(HERE, **visit.form()).endswith("changed")


def test_a_course_is_retired_and_comes_back(visit: Visit) -> None:
    assert visit.send(f"{HERE}/retire", do="retire", match="*").endswith("retired")
    assert f"{HERE}/new-run" not in visit.see(HERE)
    assert "(retired)" in visit.text
    assert visit.send(f"{HERE}/retire", do="back", match="*").endswith("back")
    assert f"{HERE}/new-run" in visit.see(HERE)


# --- assessment ---------------------------------------------------------------------------------------------------


def test_a_rubric_comes_with_all_that_it_names(portal: Kit, visit: Visit) -> None:
    assert visit.be(TEACHER).send(f"{HERE}/assessment/file", rubric_file() + BESIDE, match="*").endswith("assessed")
    kept = portal.registry.courses.course(TEACHER, "frames")[0].assessment
    assert (kept["hidden"], kept["graders"]["grade.py"][:9]) == ({"truth.csv": "eQo0Mgo="}, "def grade")
    shown = visit.see(HERE)
    assert "solve.py, results/*.csv" in shown
    assert "truth.csv, grade.py" in shown
    assert "eQo0Mgo=" not in shown
    visit.send(f"{HERE}/assessment/remove", match="*")
    assert (visit.status, "confirmed" in visit.fault()) == (422, True)
    assert visit.send(f"{HERE}/assessment/remove", match="*", sure="1").endswith("unassessed")
    assert "Nothing is assessed" in visit.see(HERE)


BOMB = b"a: &a [1]\nb: [*a, *a]\nfiles: [x.py]\n"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "Rubric: choose a file first"), ([("rubric", ("r.yml", b"[1"))], "Rubric: the file cannot be read as YAML"),
        ([("rubric", ("r.yml", b"- 1"))], "Rubric: the file holds no rubric"), ([("rubric", ("r.yml", b"\xff\xfe"))], "Rubric: the file is no text"),
        ([("rubric", ("r.yml", b"files: !!set {a}"))], "Rubric: the file cannot be read as YAML: Object of type set"),
        ([("rubric", ("r.yml", b"a: " + b"[" * 5000))], "cannot be read as YAML"), ([("rubric", ("r.yml", BOMB))], "aliases"), ([("rubric", ("r.yml", b"x" * 300_000))], "longer than"),
        ([("rubric", ("r.yml", b"x" * 900_000))], "larger than 800000 bytes"),
        (rubric_file(), "the rubric names truth.csv under hidden, and it was not chosen"),
        (rubric_file(pass_percent=200) + BESIDE, "assessment.pass_percent"),
        (rubric_file(items=[]) + BESIDE, "assessment.items"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_rubric_is_told_and_nothing_is_changed(
    portal: Kit, visit: Visit, files: list[tuple[str, tuple[str, bytes]]], said: str
) -> None:
    visit.send(f"{HERE}/assessment/file", files or None, match="*")
    assert visit.status == 422
    assert said in visit.fault()
    assert portal.registry.courses.course(RESEARCHER, "frames")[0].assessment == {}


def test_an_assessment_is_tried_with_both_logs_and_no_trace(portal: Kit, visit: Visit) -> None:
    visit.send(f"{HERE}/assessment/file", rubric_file() + BESIDE, match="*")
    seen: list[str] = []

    def judged(files: dict[str, bytes], rubric: Rubric) -> Judgement:
        seen.extend(files)
        return Judgement(
            Ran("done", 0, 1.0, "hello <b>"), (Mark(1000, "mark-match"), Mark(0, "mark-graded", text="No.")), "looked"
        )

    portal.registry.assessing.arena = ScriptedArena(judged)  # type: ignore[arg-type]
    shown = visit.be(TEACHER).send(f"{HERE}/try", [("files", ("solve.py", b"1")), ("files", ("one.csv", b"y"))])
    assert seen == ["solve.py", "results/one.csv"]
    assert 'data-state="failed"' in shown
    assert "hello &lt;b&gt;" in shown
    assert "looked" in shown
    assert "Score: 50 %" in shown
    assert portal.registry.assessing.mine(TEACHER, "en", 1, 9) == ([], 0)
    visit.send(f"{HERE}/try", [("files", ("other.py", b"1"))])
    assert (visit.status, "is not asked for" in visit.fault()) == (422, True)
    visit.send(f"{HERE}/try", [("files", ("<x>", b"1"))])
    assert (visit.status, "<x>" in visit.text) == (422, False)
    visit.send(f"{HERE}/try")
    assert visit.fault() == "Files: choose a file first."

    def broken(files: dict[str, bytes], rubric: Rubric) -> Judgement:
        raise ArenaError("the cage is away")

    portal.registry.assessing.arena = ScriptedArena(broken)  # type: ignore[arg-type]
    assert "the cage is away" in visit.send(f"{HERE}/try", [("files", ("solve.py", b"1"))])
    portal.registry.assessing.arena = None
    visit.send(f"{HERE}/try", [("files", ("solve.py", b"1"))])
    assert visit.status == 503
    assert "could not be isolated" in visit.fault()


def test_who_decides_sees_the_course_and_no_forms(portal: Kit, visit: Visit) -> None:
    visit.send(f"{HERE}/assessment/file", rubric_file() + BESIDE, match="*")
    with portal.store.writing() as unit:
        unit.set_officer("demo", "officer", is_one=True)
    shown = visit.be(Visitor("officer")).see(HERE)
    assert "<form" not in shown
    assert "truth.csv" not in shown
    for path, fields in (("", typed()), ("/retire", {"do": "retire"}), ("/assessment/remove", {"sure": "1"})):
        visit.send(HERE + path, **fields, match="*")
        assert visit.status == 403, path
    visit.send(f"{HERE}/try", [("files", ("solve.py", b"1"))])
    assert visit.status == 403
    visit.send(f"{HERE}/assessment/file", rubric_file() + BESIDE, match="*")
    assert visit.status == 403


def test_strangers_are_told_nothing_of_a_course(portal: Kit, visit: Visit) -> None:
    visit.be(Visitor("stranger"))
    for path, fields in (("", typed()), ("/retire", {}), ("/assessment/remove", {"sure": "1"})):
        visit.send(HERE + path, **fields, match="*")
        assert visit.status == 404, path
    for path, files in (("/try", [("files", ("solve.py", b"1"))]), ("/assessment/file", rubric_file() + BESIDE)):
        visit.send(HERE + path, files, match="*")
        assert visit.status == 404, path
    visit.be(ADMIN)
    for path in ("", "/retire", "/assessment/remove", "/assessment/file", "/try"):
        visit.send(HERE + path, csrf="foreign", match="*")
        assert visit.status == 403, path
    assert portal.registry.courses.course(ADMIN, "frames")[0].title == "Data frames"


# --- rosters ------------------------------------------------------------------------------------------------------


def roster(portal: Kit) -> list[tuple[int, str, str]]:
    return [(one.row, one.name_zh, one.email_or_username) for one in portal.registry.rosters.roster(TEACHER, 1).rows]


def test_a_roster_is_tried_mended_and_applied(portal: Kit, visit: Visit) -> None:
    portal.registry.runs.add(TEACHER, plan())
    visit.be(TEACHER).see("teach/1/roster")
    wrong = "\ufeff" + PEOPLE.replace("2,李美,Li Mei,mei", ",,,mei").replace("\n", "\r\n")
    shown = visit.send("teach/1/roster/file", [("file", ("r.csv", wrong.encode()))])
    assert visit.status == 422
    assert "row by row: 1" in shown
    assert '<th scope="row">3</th><td>Name</td>' in shown
    assert 'value="apply"' not in shown
    mended = visit.form()["text"].replace(",,,mei", "2,李美,Li Mei,mei").replace("\n", "\r\n")
    shown = visit.send("teach/1/roster/file", text=mended, do="try")
    assert "New: 2, changed: 0" in shown
    assert roster(portal) == []
    form = visit.form()
    # What was changed since it was tried is tried first.
    later = form["text"] + "3,新,New,new\n"
    assert "New: 3" in visit.send("teach/1/roster/file", text=later, tried=form["tried"], do="apply")
    assert roster(portal) == []
    sent = {"text": form["text"].replace("\n", "\r\n"), "tried": form["tried"], "do": "apply"}
    assert visit.send("teach/1/roster/file", **sent) == "teach/1/roster?done=listed"
    assert roster(portal) == [(1, "王小明", "ming"), (2, "李美", "mei")]
    shown = visit.see("teach/1/roster?done=listed")
    assert "The roster is changed" in shown
    assert "王小明" in shown
    [header, first, _] = csv.reader(io.StringIO(visit.see("teach/1/roster.csv").removeprefix("\ufeff")))
    assert (header[0], first[1]) == ("student_no", "王小明")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("學號,姓名\n1,王".encode("big5"), "the file is not in UTF-8"), (b"", "choose a file first"), (b"a,b\n1,2", "student_no"),
        (b"name_zh,student_no\n" + b"x,1\n" * 3000, "2000 rows at most"), (b"x" * 1_000_001, "larger than"),
        (b'name_zh,student_no\n"x,1', "cannot be read as CSV"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_roster_changes_nothing(portal: Kit, visit: Visit, content: bytes, said: str) -> None:
    portal.registry.runs.add(TEACHER, plan())
    visit.send("teach/1/roster/file", [("file", ("r.csv", content))])
    assert visit.status == 422
    assert said in visit.fault()
    assert roster(portal) == []


def test_a_roster_in_utf_16_and_with_formulas_stays_text(portal: Kit, visit: Visit) -> None:
    approved(portal)
    cells = "name_zh\tstudent_no\tnote\r\n=cmd()\t7\tx\r\n"
    shown = visit.send("teach/1/roster/file", [("file", ("r.csv", cells.encode("utf-16")))])
    assert "New: 1" in shown
    assert "Left out were the columns note" in shown
    form = visit.form()
    assert visit.send("teach/1/roster/file", text=form["text"], tried=form["tried"], do="apply").endswith("listed")
    assert "'=cmd()" in visit.see("teach/1/roster.csv")


def test_the_roster_of_a_run_that_is_over_is_only_shown(portal: Kit, visit: Visit) -> None:
    portal.registry.runs.add(TEACHER, plan())
    portal.registry.runs.cancel(TEACHER, 1, RunAsk())
    assert "<form" not in visit.be(TEACHER).see("teach/1/roster")
    visit.send("teach/1/roster/file", text=PEOPLE)
    assert visit.status == 409
