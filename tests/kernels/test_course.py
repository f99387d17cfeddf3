"""What a notebook tells of a class, and course material at a commit."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
import pytest

from nvlkernels import client, course
from nvlkernels.material import CommitPuller


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []

    def request(method: str, url: str, json: object, **_: object) -> httpx.Response:
        found.append((url.partition("/api/v1")[2], json))
        return httpx.Response(200, json={}, request=httpx.Request(method, url))

    monkeypatch.setattr(client.httpx, "request", request)
    monkeypatch.setenv("NVLHUB_COURSE_RUN", "7")
    return found


def test_a_notebook_tells_steps_checks_and_a_raised_hand(
    sent: list[tuple[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    course.step(2, 5)
    assert course.check("mean", [0])
    assert not course.check("x" * 80, [])
    course.hand()
    course.hand(up=False)
    assert sent == [
        ("/seat/7/progress", {"step": 2, "steps": 5}),
        ("/seat/7/progress", {"check": "mean", "ok": True}),
        ("/seat/7/progress", {"check": "x" * 60, "ok": False}),
        ("/seat/7/hand", {"up": True}),
        ("/seat/7/hand", {"up": False}),
    ]
    assert "Step 2 of 5." in capsys.readouterr().out


def test_outside_a_class_nobody_is_told_and_the_lesson_goes_on(
    sent: list[tuple[str, object]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NVLHUB_COURSE_RUN")
    assert course.check("mean", ok=True)
    assert sent == []
    assert "does not belong to a class" in capsys.readouterr().out


def test_a_portal_that_is_away_or_says_no_stops_no_lesson(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NVLHUB_COURSE_RUN", "7")
    problem = {"type": "x", "title": "No", "status": 404, "detail": "You have no seat.", "instance": ""}

    def away(method: str, url: str, **_: object) -> httpx.Response:
        raise httpx.ConnectError("gone")

    def no(method: str, url: str, **_: object) -> httpx.Response:
        return httpx.Response(404, content=json.dumps(problem), request=httpx.Request(method, url))

    for request, words in ((away, "portal"), (no, "You have no seat.")):
        monkeypatch.setattr(client.httpx, "request", request)
        course.hand()
        assert words in capsys.readouterr().out


# nbgitpuller leaves closing its pipes to the garbage collector.
pulls = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


def git(where: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(["git", *who, *words], cwd=where, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def material(tmp_path: Path) -> tuple[str, list[str]]:
    """A repository and its three commits."""
    where = tmp_path / "origin"
    where.mkdir()
    git(where, "init", "-q", "-b", "main")
    commits = []
    for number in range(3):
        (where / "lesson.txt").write_text(f"first line\n\n\nlesson {number}\n")
        (where / f"new{number}.txt").write_text("x")
        git(where, "add", ".")
        git(where, "commit", "-qm", str(number))
        commits.append(git(where, "rev-parse", "HEAD"))
    return where.as_uri(), commits


@pulls
def test_material_is_that_of_the_commit_and_changes_of_the_learner_are_kept(
    tmp_path: Path, material: tuple[str, list[str]]
) -> None:
    url, commits = material
    own = tmp_path / "own"
    list(CommitPuller(url, str(own), branch=commits[0]).pull())
    assert (own / "lesson.txt").read_text().endswith("lesson 0\n")
    (own / "lesson.txt").write_text("my own line\n\n\nlesson 0\n")
    list(CommitPuller(url, str(own), branch=commits[0]).pull())
    list(CommitPuller(url, str(own), branch=commits[1]).pull())
    assert (own / "lesson.txt").read_text() == "my own line\n\n\nlesson 1\n"
    assert sorted(path.name for path in own.glob("new*")) == ["new0.txt", "new1.txt"]


@pulls
def test_a_commit_that_is_not_there_leaves_nothing_behind(tmp_path: Path, material: tuple[str, list[str]]) -> None:
    own = tmp_path / "own"
    with pytest.raises(subprocess.CalledProcessError):
        list(CommitPuller(material[0], str(own), branch="0" * 40).pull())
    assert not own.exists()
    list(CommitPuller(material[0], str(own), branch=material[1][2]).pull())


@pulls
def test_branches_are_pulled_as_before(tmp_path: Path, material: tuple[str, list[str]]) -> None:
    own = tmp_path / "own"
    list(CommitPuller(material[0], str(own), branch="main").pull())
    assert (own / "new2.txt").exists()
    with pytest.raises(Exception):  # noqa: B017, PT011  # nbgitpuller's own
        CommitPuller(material[0], str(tmp_path / "other"), branch="no-such")
