"""Handing in from a notebook: which files are read, and what a learner is shown."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from nvlkernels.assessing import AssessError, Attempt, _run_here, collect


def test_the_files_that_are_asked_for_are_read(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    for name in ("solve.py", "notes.txt", "results/b.csv", "results/a.csv", ".env"):
        (tmp_path / name).write_text(name)
    found = collect(tmp_path, ["solve.py", "results/*.csv", "absent.py"], 100)
    assert {name: base64.b64decode(told).decode() for name, told in found.items()} == {
        name: name for name in ("results/a.csv", "results/b.csv", "solve.py")
    }


@pytest.mark.parametrize("kind", ["link", "link to a folder", "pipe", "large", "nothing"])
def test_what_is_no_plain_file_is_not_handed_in(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    match kind:
        case "link":
            (folder / "solve.py").symlink_to("/etc/passwd")
        case "link to a folder":
            (tmp_path / "else").mkdir()
            (tmp_path / "else" / "solve.py").write_text("secret")
            (folder / "code").symlink_to(tmp_path / "else")
        case "pipe":
            os.mkfifo(folder / "solve.py")
        case "large":
            (folder / "solve.py").write_bytes(b"x" * 101)
    with pytest.raises(AssessError):
        collect(folder, ["solve.py", "code/solve.py"], 100)


def test_a_seat_s_server_knows_its_run() -> None:
    assert _run_here("en", {"JUPYTERHUB_SERVER_NAME": "class-12"}) == 12
    for name in ("", "other", "class-", "class-x"):
        with pytest.raises(AssessError, match="run="):
            _run_here("en", {"JUPYTERHUB_SERVER_NAME": name})


def test_a_result_says_what_is_missing() -> None:
    told = {
        "state": "failed", "said": "Not passed.", "score_milli": 625, "log": "Traceback",
        "items": [
            {"name": "a", "title": "Labels", "title_zh": "標籤", "share_milli": 1000, "said": "Good.", "text": ""},
            {"name": "b", "title": "", "title_zh": "", "share_milli": 250, "said": "Judged.", "text": "Look at it."},
        ],
    }  # fmt: skip
    assert repr(Attempt(told, 700, 2, "en")).splitlines() == [
        "Not passed.", "Score: 62.5 %, 70 % passes. Attempts left: 2.", "✓ Labels: Good.", "✗ b: Judged. Look at it.", "",
        "Traceback",
    ]  # fmt: skip
    assert "標籤" in repr(Attempt(told, 700, 2, "zh-TW"))
    assert not Attempt(told, 700, 2, "en").passed
