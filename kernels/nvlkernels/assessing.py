"""Hand in what a course asks for, from the notebook: ``assess()``.

Only reads files and sends them; running and judging is the portal's. What this kernel says about a result counts nowhere.
"""

from __future__ import annotations

import base64
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nvlhub.text import say
from nvlkernels.client import call, spoken

SERVER = "class-"
"""What the named server of a seat begins with; the run's number follows."""
LOOK = 2.0
"""Seconds between two looks at what became of an attempt."""
FINAL = frozenset({"passed", "failed", "broken"})


class AssessError(RuntimeError):
    """It cannot be handed in; the text is for the user."""


class Attempt:
    """What became of what was handed in."""

    def __init__(self, told: dict[str, Any], least: int, left: int, lang: str) -> None:
        self.told = told
        self._least = least
        self._left = left
        self._lang = lang

    @property
    def passed(self) -> bool:
        """Whether it passed."""
        return bool(self.told["state"] == "passed")

    def __repr__(self) -> str:
        told = self.told
        lines = [str(told["said"])]
        if told["score_milli"] is not None:
            score, least = (f"{milli / 10:g}" for milli in (told["score_milli"], self._least))
            lines.append(say("attempt-score", self._lang, score=score, least=least, left=str(self._left)))
        for item in told["items"]:
            sign = "✓" if item["share_milli"] == 1000 else "✗"
            title = (item["title_zh"] if self._lang == "zh-TW" else "") or item["title"] or item["name"]
            lines.append(f"{sign} {title}: {item['said']} {item['text']}".rstrip())
        if told["state"] == "failed" and told["log"]:
            lines += ["", told["log"]]
        return "\n".join(lines)


def assess(folder: str | Path = ".", run: int | None = None, patience: float = 900) -> Attempt:
    """Hand in the files of `folder` that the course asks for, and wait for the result, `patience` seconds at most.

    Raises `AssessError`, or what the portal says (`PortalError`, `PortalDownError`).
    """
    lang = spoken()
    run = run or _run_here(lang)
    asked = call("GET", f"/runs/{run}/assessment")
    files = collect(Path(folder), asked["files"], asked["largest"], lang)
    told = call("POST", "/attempts", json={"run": run, "files": files})
    until = time.monotonic() + patience
    while told["state"] not in FINAL:
        if time.monotonic() > until:
            raise AssessError(say("attempt-slow", lang))
        time.sleep(LOOK)
        told = call("GET", f"/attempts/{told['id']}")
    asked = call("GET", f"/runs/{run}/assessment")
    return Attempt(told, asked["pass_milli"], asked["left"], lang)


def collect(folder: Path, globs: list[str], largest: int, lang: str = "en") -> dict[str, str]:
    """Read the files that are asked for, base64 by name. Raises `AssessError` for a link, what is too large, or nothing."""
    found = {path.relative_to(folder).as_posix(): path for glob in globs for path in folder.glob(glob)}
    files = {
        name: _read(path, name, folder, largest, lang) for name, path in sorted(found.items()) if not path.is_dir()
    }
    if not files:
        raise AssessError(say("attempt-nothing", lang, folder=str(folder.resolve()), files=", ".join(globs)))
    return files


def _read(path: Path, name: str, folder: Path, largest: int, lang: str) -> str:
    linked = any(part.is_symlink() for part in (path, *path.parents) if part.is_relative_to(folder) and part != folder)
    try:
        # Neither follows a link that was just put there, nor waits for the other end of a pipe.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            facts = os.fstat(file.fileno())
            if linked or not stat.S_ISREG(facts.st_mode):
                raise AssessError(say("attempt-link", lang, field=name))
            if facts.st_size > largest:
                raise AssessError(say("attempt-large", lang, field=name, most=str(largest)))
            return base64.b64encode(file.read(largest + 1)).decode()
    except OSError:
        raise AssessError(say("attempt-link", lang, field=name)) from None


def _run_here(lang: str, environment: Mapping[str, str] = os.environ) -> int:
    """Return the run whose seat this server is."""
    number = environment.get("JUPYTERHUB_SERVER_NAME", "").removeprefix(SERVER)
    if not number.isdecimal():
        raise AssessError(say("attempt-no-run", lang))
    return int(number)
