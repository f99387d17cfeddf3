"""The arena on the portal's own machine: two cages, one after the other (:mod:`nvlhub.arena.cage`)."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nvlhub.arena.base import Arena, ArenaError, Judgement, Mark, Payer, Ran
from nvlhub.arena.carrier import NO_ANSWER, SLACK, groups
from nvlhub.flow.rubric import MIB, Rubric
from nvlhub.text import say

PROGRAMS = Path(__file__).parent
PLACES = 64
MOST_MARKS = 256 * 1024
NOTEBOOK = "from nbclient.cli import NbClientApp; NbClientApp.launch_instance()"


class LocalArena(Arena):
    """Runs attempts below a directory of the portal's, with the interpreter that kernels have."""

    def __init__(self, folder: Path, python: str = sys.executable, places: int = PLACES) -> None:
        """`places`: cages that there are at once."""
        self._folder = folder
        self._places = threading.Semaphore(places)
        self._python = python
        self._checked: str | None = None
        self._clear()

    def _clear(self) -> None:
        """Remove what a portal that was killed left behind: its cages ended with it."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for parent in map(Path, groups()):
            for group in parent.glob("nvlhub-cage-*"):
                if not Path("/proc", group.name.rpartition("-")[2]).exists():
                    with contextlib.suppress(OSError):
                        group.rmdir()

    def lacks(self) -> str:
        """Return why a cage cannot be built here, as a trial of one says."""
        if self._checked is None:
            limits = {"seconds": 20, "memory": 512 * MIB, "processes": 8, "disk": MIB, "output": 1000}
            try:
                told = self._carried(ordered([sys.executable, "-I", "-S", "-c", "pass"], {}, limits, {}))
            except ArenaError as error:
                # Not kept: a disk that is full now may have room later.
                return str(error)
            if told["code"] == NO_ANSWER:
                return str(told["log"])
            self._checked = "" if told["ended"] == "done" else f"{told['ended']}: {told['log'].strip()}"[:300]
        return self._checked

    def judge(self, files: Mapping[str, bytes], rubric: Rubric, payer: Payer | None = None) -> Judgement:
        """Run the command, then judge what it left."""
        return self.judged(rubric, self._carried(order_of(files, rubric, self._python)))

    def judged(self, rubric: Rubric, told: Mapping[str, Any]) -> Judgement:
        """Judge what a command left, as a carrier reported it. Raises `ArenaError`."""
        ran = how_it_ran(told)
        if ran.ended != "done":
            return Judgement(ran, ())
        limits = rubric.limits
        facts = {
            "items": [item.model_dump() for item in rubric.items], "outputs": told["outputs"], "seconds": ran.seconds,
            "kinds": {output.name: output.kind for output in rubric.outputs},
        }  # fmt: skip
        files = {
            "marker.py": (PROGRAMS / "marker.py").read_bytes(), "told.json": json.dumps(facts).encode(),
            **{f"outputs/{name}": base64.b64decode(content) for name, content in told["contents"].items()},
            **{f"hidden/{name}": base64.b64decode(content) for name, content in rubric.hidden.items()},
            **{f"graders/{name}": content.encode() for name, content in rubric.graders.items()},
        }  # fmt: skip
        room = {
            "seconds": limits.grader_seconds, "memory": limits.grader_memory_mib * MIB, "processes": 64,
            "disk": 64 * MIB + sum(map(len, files.values())), "output": 32 * 1024,
        }  # fmt: skip
        found = self._carried(
            ordered(
                [sys.executable, "-I", "-B", "marker.py"], files, room, {"marks.json": MOST_MARKS}, ("outputs", "hidden")
            )
        )  # fmt: skip
        if found["ended"] != "done" or "marks.json" not in found["contents"]:
            raise ArenaError(f"the grader ended by “{found['ended']}” ({found['code']}): {found['log']}")
        marks = _marks(base64.b64decode(found["contents"]["marks.json"]), len(rubric.items))
        return Judgement(ran, marks, found["log"])

    def _carried(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Carry an order out on this machine; return the report. Raises `ArenaError`."""
        with self._places, _Place(self._folder) as place:
            try:
                (place / "order.json").write_text(json.dumps(order), encoding="utf-8")
                subprocess.run(
                    [sys.executable, "-I", "-S", str(PROGRAMS / "carrier.py"), str(place)], env={}, cwd="/",
                    capture_output=True, timeout=order["limits"]["seconds"] + 2 * SLACK, check=True,
                )  # fmt: skip
                report: dict[str, Any] = json.loads((place / "report.json").read_bytes())
            except (OSError, subprocess.SubprocessError, ValueError) as error:
                raise ArenaError(f"a cage gave no answer ({type(error).__name__})") from error
        return report


def order_of(files: Mapping[str, bytes], rubric: Rubric, python: str) -> dict[str, Any]:
    """Return the order to run what was handed in."""
    limits = rubric.limits
    kind, *words = rubric.command
    argv = [python, *words]
    if kind == "notebook":
        argv = [python, "-c", NOTEBOOK, "--timeout=-1", "--inplace", *words]
    room = {
        "seconds": limits.seconds, "memory": limits.memory_mib * MIB, "processes": limits.processes,
        "disk": limits.disk_mib * MIB + sum(map(len, files.values())), "output": limits.output_kib * 1024,
    }  # fmt: skip
    return ordered(argv, files, room, {output.name: output.largest for output in rubric.outputs})


def ordered(
    argv: list[str], files: Mapping[str, bytes], limits: Mapping[str, int], outputs: Mapping[str, int],
    folders: tuple[str, ...] = (),
) -> dict[str, Any]:  # fmt: skip
    """Return an order; `outputs`: bytes at most, by name; `folders`: those that are there without any file, too."""
    return {
        "argv": argv, "limits": limits, "files": {name: base64.b64encode(content).decode() for name, content in files.items()},
        "outputs": [{"name": name, "largest": largest} for name, largest in outputs.items()],
        "most": sum(outputs.values()), "folders": folders,
    }  # fmt: skip


def how_it_ran(told: Mapping[str, Any]) -> Ran:
    """Return how a command ended. Raises `ArenaError` where it is the cage that failed."""
    ended = told["ended"]
    if ended == "cage":
        if told["code"] != 126:
            raise ArenaError(f"the command's cage: {told['log']}")
        ended = "start"
    return Ran(ended, told["code"], told["seconds"], told["log"])


class _Place:
    """A directory of one cage; gone afterwards with all that is in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Path:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._place = Path(tempfile.mkdtemp(prefix="cage-", dir=self._folder))
        except OSError as error:
            raise ArenaError(f"no room for an attempt: {error.strerror}") from error
        return self._place

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._place, ignore_errors=True)


def _marks(content: bytes, count: int) -> tuple[Mark, ...]:
    """Read what a grader says: it read hostile files, so that its word is looked at as well. Raises `ArenaError`."""
    try:
        found = tuple(
            Mark(int(one["share_milli"]), str(one["slug"]), _members(one["members"]), _printed(one["text"], 300))
            for one in json.loads(content)
        )
        for mark in found:
            say(mark.slug, **mark.members)
    except Exception as error:
        raise ArenaError("the grader’s marks cannot be read") from error
    good = all(0 <= mark.share_milli <= 1000 and mark.slug.startswith("mark-") for mark in found)
    if len(found) != count or not good:
        raise ArenaError("the grader’s marks are none")
    return found


def _members(told: Mapping[str, Any]) -> dict[str, str]:
    return {str(name)[:20]: _printed(value, 60) for name, value in told.items()}


def _printed(told: Any, most: int) -> str:
    return "".join(letter for letter in str(told) if letter.isprintable())[:most]
