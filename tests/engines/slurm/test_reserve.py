"""The privileged command: what it takes, what it makes of it, and that nothing else gets through."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nvlhub.engines.slurm import reserve
from nvlhub.engines.slurm.reserve import FLAGS, WordError, arguments, main, ours, parse

CREATE = (
    "create", "nvlhub-7", "--start", "1800000000", "--end", "1800003600", "--nodes", "nvl001-01,nvl001-02",
    "--accounts", "a,b",
)  # fmt: skip


def test_each_order_becomes_one_command_of_slurm() -> None:
    assert arguments(parse(CREATE)) == [
        "create", "reservation", "reservation=nvlhub-7", "starttime=uts1800000000", "endtime=uts1800003600",
        "nodes=nvl001-01,nvl001-02", "accounts=a,b", f"flags={FLAGS}",
    ]  # fmt: skip
    assert arguments(parse([*CREATE, "--partition", "gpu"]))[-2] == "partition=gpu"
    assert arguments(parse(["update", "nvlhub-7", "--end", "1800007200"])) == [
        "update", "reservation", "reservation=nvlhub-7", "endtime=uts1800007200"
    ]  # fmt: skip
    assert arguments(parse(["delete", "nvlhub-7"])) == ["delete", "reservation=nvlhub-7"]
    assert arguments(parse(["list"])) == ["-o", "show", "reservation"]


def replaced(option: str, value: str) -> list[str]:
    words = list(CREATE)
    words[words.index(option) + 1] = value
    return words


@pytest.mark.parametrize(
    "words",
    [
        [], ["show"], ["list", "x"], ["delete"], ["delete", "maintenance"], ["delete", "nvlhub-7", "nvlhub-8"],
        ["delete", "nvlhub-7 "], ["delete", "nvlhub-7\n"], ["delete", "nvlhub-07"], ["delete", "nvlhub-"],
        ["delete", "nvlhub-٧"], ["create", "nvlhub-7"], ["update", "nvlhub-7"], ["update", "nvlhub-7", "--end"],
        ["update", "nvlhub-7", "--partition", "gpu"], ["update", "nvlhub-7", "--flags", "MAINT"],
        ["update", "nvlhub-7", "--end", "1", "--end", "2"], [*CREATE, "--users", "root"],
        replaced("--end", "1800000000"), replaced("--end", "1900000000"), replaced("--end", "now"),
        replaced("--end", "1800003600 flags=MAINT"), replaced("--nodes", "ALL"), replaced("--nodes", "a,all"),
        replaced("--nodes", "nvl[001-139]-[01-18]"), replaced("--nodes", "a,a"), replaced("--nodes", "a,,b"),
        replaced("--nodes", ""), replaced("--nodes", "-a"), replaced("--nodes", "a b"), replaced("--nodes", "a\n"),
        replaced("--nodes", ",".join(f"n{number}" for number in range(5001))), replaced("--accounts", "-a"),
        replaced("--accounts", "A"), replaced("--accounts", "a=b"), replaced("--accounts", ""),
    ],
)  # fmt: skip
def test_what_is_not_in_the_grammar_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WordError):
        parse(words)
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("nvlhub-slurm-reserve: ")


WORDS = st.sampled_from([*CREATE, "update", "delete", "list", "--partition", "nvlhub-1", "ALL", "gpu"]) | st.text(
    max_size=12
)


@given(st.lists(WORDS, max_size=12))
@example(list(CREATE))
def test_no_words_make_anything_but_our_commands(words: list[str]) -> None:
    try:
        made = arguments(parse(words))
    except WordError:
        return
    if made == ["-o", "show", "reservation"]:
        return
    assert made[0] in {"create", "update", "delete"}
    settings = [word for word in made[1:] if word != "reservation"]
    names = [word for word in settings if word.startswith("reservation=")]
    assert len(names) == 1
    assert reserve.NAME.fullmatch(names[0].removeprefix("reservation="))
    for word in settings:
        option, _, value = word.partition("=")
        assert option in {"reservation", "starttime", "endtime", "nodes", "accounts", "partition", "flags"}
        assert value
        assert not set(value) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,-")
        assert option != "flags" or value == FLAGS


@given(st.text())
def test_a_list_never_tells_of_reservations_of_others(text: str) -> None:
    assert all(line.startswith("ReservationName=nvlhub-") for line in ours(text).splitlines())


def test_a_list_has_ours_alone() -> None:
    lines = [
        "ReservationName=nvlhub-7 StartTime=x",
        "ReservationName=nvlhub-7x Start",
        "ReservationName=maint Name=nvlhub-7",
    ]
    assert ours("\n".join(lines)) == f"{lines[0]}\n"


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scontrol that writes down its words and its environment, and fails as the file `says` has it."""
    program = tmp_path / "scontrol"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys\nhere = {str(tmp_path)!r}\n"
        "open(here + '/words', 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        "open(here + '/environment', 'w').write(' '.join(sorted(os.environ)))\n"
        "if sys.argv[1] == 'delete' and os.path.exists(here + '/says'):\n"
        "    sys.exit(open(here + '/says').read())\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(reserve, "PLACES", str(tmp_path))
    return tmp_path


def test_nothing_of_the_environment_gets_through(scontrol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("SLURM_CONF", "/x/slurm.conf")
    assert main(CREATE) == 0
    assert set((scontrol / "environment").read_text().split()) - {"LC_CTYPE"} == {"LC_ALL", "PATH", "SLURM_CONF", "TZ"}


def test_what_is_in_use_is_not_taken_away_but_ends_soon(
    scontrol: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    (scontrol / "says").write_text("delete_reservation reservation=nvlhub-7: Requested reservation is in use")
    assert main(["delete", "nvlhub-7"]) == 0
    first, second = (scontrol / "words").read_text().splitlines()
    assert first == "delete reservation=nvlhub-7"
    assert second.startswith("update reservation reservation=nvlhub-7 endtime=uts")
    assert "its jobs go on" in capsys.readouterr().out


def test_it_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert [reserve.main([word]) for word in ("--help", "-h")] == [0, 0]
    said = capsys.readouterr().out
    assert all(f"nvlhub-slurm-reserve {verb}" in said for verb in ("create", "update", "delete", "list"))


def test_what_slurm_refuses_is_told(scontrol: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scontrol / "says").write_text("Requested reservation is invalid")
    assert main(["delete", "nvlhub-7"]) == 1
    assert capsys.readouterr().err == "Requested reservation is invalid\n"


def test_without_slurm_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reserve, "PLACES", os.fspath(tmp_path))
    assert main(["list"]) == 3
