"""The arena on the portal's own machine: two cages, one after the other (:mod:`nvlhub.arena.cage`)."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from nvlhub.arena.base import Arena, ArenaError, Judgement, Mark, Ran
from nvlhub.flow.rubric import MIB, Rubric
from nvlhub.text import say

PROGRAMS = Path(__file__).parent
SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/sbin", "/etc/ld.so.cache", "/etc/alternatives")
"""What of the machine can be read inside, beside the interpreter's own directories."""
FIRST_UID, UIDS = 1_750_000_000, 1_000_000
"""Numbers that no account has: one for each cage, so that cages cannot reach each other either."""
NOBODY = 65_534
SLACK = 30
"""Seconds beyond its limit after which a cage itself is given up."""
MOST_MARKS = 256 * 1024
NOTEBOOK = "from nbclient.cli import NbClientApp; NbClientApp.launch_instance()"


class LocalArena(Arena):
    """Runs attempts below a directory of the portal's, with the interpreter that kernels have."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self._folder = folder
        self._python = python
        self._numbers = itertools.count(os.getpid() % 1000)
        self._checked: str | None = None
        self._clear()

    def _clear(self) -> None:
        """Remove what a portal that was killed left behind: its cages ended with it."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for parent in map(Path, _groups()):
            for group in parent.glob("nvlhub-cage-*"):
                if not Path("/proc", group.name.rpartition("-")[2]).exists():
                    with contextlib.suppress(OSError):
                        group.rmdir()

    def lacks(self) -> str:
        """Return why a cage cannot be built here, as a trial of one says."""
        if self._checked is None:
            try:
                with _Place(self._folder) as place:
                    told = self._caged(
                        place,
                        [sys.executable, "-I", "-S", "-c", "pass"],
                        _prefixes(sys.executable),
                        20,
                        512 * MIB,
                        8,
                        MIB,
                        1000,
                    )
            except ArenaError as error:
                # Not kept: a disk that is full now may have room later.
                return str(error)
            self._checked = "" if told["ended"] == "done" else f"{told['ended']}: {told['log'].strip()}"[:300]
        return self._checked

    def judge(self, files: Mapping[str, bytes], rubric: Rubric) -> Judgement:
        """Run the command, then judge what it left."""
        limits = rubric.limits
        with _Place(self._folder) as place:
            _write(place / "in", files)
            told = self._caged(
                place, self._argv(rubric.command), _prefixes(self._python), limits.seconds, limits.memory_mib * MIB,
                limits.processes, limits.disk_mib * MIB + sum(map(len, files.values())), limits.output_kib * 1024,
                [{"name": output.name, "largest": output.largest} for output in rubric.outputs],
            )  # fmt: skip
            ended = told["ended"]
            if ended == "cage":
                if told["code"] != 126:
                    raise ArenaError(f"the command's cage: {told['log']}")
                ended = "start"
            ran = Ran(ended, told["code"], told["seconds"], told["log"])
            outputs = {
                name: (place / "out" / name).read_bytes() for name, how in told["outputs"].items() if how == "ok"
            }
        if ran.ended != "done":
            return Judgement(ran, ())
        return self._judged(rubric, ran, told["outputs"], outputs)

    def _judged(
        self, rubric: Rubric, ran: Ran, statuses: Mapping[str, str], outputs: Mapping[str, bytes]
    ) -> Judgement:  # fmt: skip
        limits = rubric.limits
        facts = {
            "items": [item.model_dump() for item in rubric.items], "outputs": statuses, "seconds": ran.seconds,
            "kinds": {output.name: output.kind for output in rubric.outputs},
        }  # fmt: skip
        files = {
            "marker.py": (PROGRAMS / "marker.py").read_bytes(), "told.json": json.dumps(facts).encode(),
            **{f"outputs/{name}": content for name, content in outputs.items()},
            **{f"hidden/{name}": base64.b64decode(content) for name, content in rubric.hidden.items()},
            **{f"graders/{name}": content.encode() for name, content in rubric.graders.items()},
        }  # fmt: skip
        with _Place(self._folder) as place:
            _write(place / "in", files)
            for name in ("outputs", "hidden"):
                (place / "in" / name).mkdir(exist_ok=True)
            told = self._caged(
                place, [sys.executable, "-I", "-B", "marker.py"], _prefixes(sys.executable), limits.grader_seconds,
                limits.grader_memory_mib * MIB, 64, 64 * MIB + sum(map(len, files.values())), 32 * 1024,
                [{"name": "marks.json", "largest": MOST_MARKS}],
            )  # fmt: skip
            if told["ended"] != "done" or told["outputs"].get("marks.json") != "ok":
                raise ArenaError(f"the grader ended by “{told['ended']}” ({told['code']}): {told['log']}")
            marks = _marks((place / "out" / "marks.json").read_bytes(), len(rubric.items))
        return Judgement(ran, marks, told["log"])

    def _argv(self, command: list[str]) -> list[str]:
        kind, *words = command
        if kind == "notebook":
            return [self._python, "-c", NOTEBOOK, "--timeout=-1", "--inplace", *words]
        return [self._python, *words]

    def _caged(
        self, place: Path, argv: list[str], prefixes: Iterable[str], seconds: int, memory: int, processes: int, disk: int,
        output: int, outputs: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Run a command in a cage. Raises `ArenaError` for one that gives no answer."""
        spec = {
            "folder": str(place), "argv": argv, "env": _environment(argv[0]), "binds": [*SYSTEM, *prefixes],
            "uid": self._uid(), "groups": _groups(), "seconds": seconds, "memory": memory, "processes": processes,
            "disk": disk, "output": output, "outputs": outputs or [],
        }  # fmt: skip
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", str(PROGRAMS / "cage.py")], input=json.dumps(spec).encode(), env={},
                capture_output=True, timeout=seconds + SLACK, check=True, cwd="/",
            )  # fmt: skip
            told: dict[str, Any] = json.loads(done.stdout)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise ArenaError(f"a cage gave no answer ({type(error).__name__})") from error
        return told

    def _uid(self) -> int:
        return FIRST_UID + next(self._numbers) % UIDS if _all_uids() else NOBODY


class _Place:
    """A directory of one cage; gone afterwards with all that is in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Path:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._place = Path(tempfile.mkdtemp(prefix="cage-", dir=self._folder))
            for name in ("in", "out"):
                (self._place / name).mkdir()
        except OSError as error:
            raise ArenaError(f"no room for an attempt: {error.strerror}") from error
        return self._place

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._place, ignore_errors=True)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _environment(python: str) -> dict[str, str]:
    """Return all of the environment inside: nothing of the portal's."""
    return {
        "PATH": f"{Path(python).parent}:/usr/local/bin:/usr/bin:/bin", "HOME": "/attempt", "TMPDIR": "/tmp",  # noqa: S108
        "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2",
    }  # fmt: skip


@cache
def _prefixes(python: str) -> tuple[str, ...]:
    """Return the directories that an interpreter lives in. Raises `ArenaError`."""
    ask = "import json, sys; print(json.dumps([sys.base_prefix, sys.prefix]))"
    try:
        told = subprocess.run([python, "-I", "-c", ask], capture_output=True, check=True, timeout=30).stdout
        found = dict.fromkeys(map(str, json.loads(told)))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ArenaError(f"{python} cannot be asked where it lives") from error
    return tuple(path for path in found if not path.startswith(("/usr/", "/bin")) and path not in SYSTEM)


@cache
def _groups() -> tuple[str, ...]:
    """Return directories below which a group with limited memory may be made: tried in order, none has to work."""
    if os.geteuid() != 0:
        return ()
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines())
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split()[:3]
        point = left.split()[4]
        if kind == "cgroup2":
            found += [f"{point}{own.get('', '/')}", point]
        elif kind == "cgroup" and "memory" in options.split(","):
            found.append(f"{point}{own.get('memory', '/')}")
    return tuple(found)


@cache
def _all_uids() -> bool:
    """Tell whether any uid can be become: a container may have but a few."""
    lines = Path("/proc/self/uid_map").read_text(encoding="ascii").split()
    return os.geteuid() == 0 and lines[:1] == ["0"] and int(lines[2]) > FIRST_UID + UIDS


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
