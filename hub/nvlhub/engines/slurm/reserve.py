"""``nvlhub-slurm-reserve``: make, change and take away reservations of ours, and nothing else.

    nvlhub-slurm-reserve create nvlhub-7 --start EPOCH --end EPOCH --nodes nvl001-01,nvl001-02 --accounts a,b
    nvlhub-slurm-reserve update nvlhub-7 [--start EPOCH] [--end EPOCH] [--nodes …] [--accounts …]
    nvlhub-slurm-reserve delete nvlhub-7
    nvlhub-slurm-reserve list

Meant for one line of sudoers, so the grammar is closed: every word is matched as a whole against what it can be, and the
command of Slurm is built here. Standard library only; nothing of the environment but ``SLURM_CONF`` is used, which sudo
takes away. Whole nodes are reserved: Slurm 22.05 cannot reserve GPUs, and the portal's reservations are whole trays.

Flags: ``IGNORE_JOBS``: who runs there goes on. ``FLEX``: the project's jobs may lie elsewhere, too, and are not killed at
the end. ``NO_HOLD_JOBS_AFTER_END``: jobs that still wait are let go then.

`delete` ends no job. Slurm refuses to delete a reservation that jobs use; then its end is moved to a minute from now: from
then on it keeps nobody out, its jobs go on, and Slurm removes it after the last of them.

Exit status: 0 done, 1 Slurm refused, 2 words that mean nothing here, 3 Slurm does not answer.
"""

from __future__ import annotations

import calendar
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

NAME = re.compile(r"nvlhub-[1-9][0-9]{0,14}")
EPOCH = re.compile(r"[1-9][0-9]{0,10}")
NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}(?:\.[A-Za-z0-9][A-Za-z0-9_-]{0,62}){0,8}")
ACCOUNT = re.compile(r"[a-z0-9][a-z0-9_.-]{0,79}")
PARTITION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
MOST_NODES = 5_000
MOST_ACCOUNTS = 100
LONGEST = 90 * 24 * 3600
"""Seconds of a reservation, at most."""
FLAGS = "FLEX,IGNORE_JOBS,NO_HOLD_JOBS_AFTER_END"
SOON = 60
"""Seconds until the end of what was deleted while jobs use it."""
PATIENCE = 30
"""Seconds that Slurm has to answer."""
PLACES = "/usr/local/bin:/usr/bin:/bin:/opt/slurm/bin:/usr/local/slurm/bin"
IN_USE = "reservation is in use"


USAGE = """\
nvlhub-slurm-reserve create nvlhub-7 --start EPOCH --end EPOCH --nodes NODE,NODE --accounts NAME,NAME [--partition NAME]
nvlhub-slurm-reserve update nvlhub-7 [--start EPOCH] [--end EPOCH] [--nodes NODE,NODE] [--accounts NAME,NAME]
nvlhub-slurm-reserve delete nvlhub-7
nvlhub-slurm-reserve list

Makes, changes and takes away the portal's reservations in Slurm, and nothing else. `nvlhub slurm reserve` runs it.
"""


class WordError(ValueError):
    """A word that cannot stand there."""


@dataclass(frozen=True)
class Order:
    """What is to be done."""

    verb: str
    name: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    """By option, checked."""


def parse(words: Sequence[str]) -> Order:
    """Return what the words mean. Raises `WordError`."""
    if not words or words[0] not in {"create", "update", "delete", "list"}:
        raise WordError("say create, update, delete or list")
    verb, rest = words[0], list(words[1:])
    if verb == "list":
        if rest:
            raise WordError("list takes no more words")
        return Order(verb)
    if not rest or not NAME.fullmatch(rest[0]):
        raise WordError("a name is nvlhub- and a number, as nvlhub-7")
    name, rest = rest[0], rest[1:]
    if verb == "delete":
        if rest:
            raise WordError("delete takes a name and no more words")
        return Order(verb, name)
    return Order(verb, name, _options(verb, rest))


def _options(verb: str, words: Sequence[str]) -> dict[str, str]:
    if len(words) % 2:
        raise WordError("each option has one value")
    found: dict[str, str] = {}
    for option, value in zip(words[::2], words[1::2], strict=True):
        if option not in OPTIONS:
            raise WordError(f"options are {', '.join(OPTIONS)}")
        if option in found:
            raise WordError(f"{option} stands there twice")
        found[option] = OPTIONS[option](value)
    if verb == "create":
        missing = [option for option in OPTIONS if option != "--partition" and option not in found]
        if missing:
            raise WordError(f"create needs {', '.join(missing)}")
    elif not found or "--partition" in found:
        raise WordError("update changes --start, --end, --nodes or --accounts")
    _check_length(found)
    return found


def _check_length(values: Mapping[str, str]) -> None:
    if "--start" in values and "--end" in values and not 0 < int(values["--end"]) - int(values["--start"]) <= LONGEST:
        raise WordError("the end is after the start, by 90 days at most")


def _one(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def checked(value: str) -> str:
        if not pattern.fullmatch(value):
            raise WordError(what)
        return value

    return checked


def _several(pattern: re.Pattern[str], most: int, what: str) -> Callable[[str], str]:
    def checked(value: str) -> str:
        names = value.split(",")
        if len(names) > most or len(set(names)) != len(names) or not all(map(pattern.fullmatch, names)):
            raise WordError(what)
        # Slurm takes this word for every node that there is.
        if any(name.upper() == "ALL" for name in names):
            raise WordError(what)
        return value

    return checked


OPTIONS: Mapping[str, Callable[[str], str]] = {
    "--start": _one(EPOCH, "--start is a time in Unix seconds"),
    "--end": _one(EPOCH, "--end is a time in Unix seconds"),
    "--nodes": _several(NODE, MOST_NODES, "--nodes are names of single nodes with commas between them, each once"),
    "--accounts": _several(ACCOUNT, MOST_ACCOUNTS, "--accounts are names with commas between them, each once"),
    "--partition": _one(PARTITION, "--partition is the name of a partition"),
}
SETTINGS = {
    "--start": "starttime=uts", "--end": "endtime=uts", "--nodes": "nodes=", "--accounts": "accounts=",
    "--partition": "partition=",
}  # fmt: skip


def arguments(order: Order) -> list[str]:
    """Return the words for ``scontrol``."""
    if order.verb == "list":
        return ["-o", "show", "reservation"]
    if order.verb == "delete":
        return ["delete", f"reservation={order.name}"]
    settings = [SETTINGS[option] + value for option, value in order.values.items()]
    flags = [f"flags={FLAGS}"] if order.verb == "create" else []
    return [order.verb, "reservation", f"reservation={order.name}", *settings, *flags]


def ours(text: str) -> str:
    """Return the lines of ``scontrol -o show reservation`` that are about reservations of ours."""
    lines = (line for line in text.splitlines() if re.match(rf"ReservationName={NAME.pattern}(?:\s|$)", line))
    return "".join(f"{line}\n" for line in lines)


def bounds(text: str) -> dict[str, str]:
    """Return start and end, in Unix seconds, of what ``scontrol -o show reservation NAME`` prints."""
    found = {}
    for option, name in (("--start", "StartTime"), ("--end", "EndTime")):
        told = re.search(rf"\s{name}=(\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\s|$)", text)
        if told is not None:
            found[option] = str(calendar.timegm(time.strptime(told[1], "%Y-%m-%dT%H:%M:%S")))
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Do it."""
    words = sys.argv[1:] if words is None else words
    if list(words) in (["--help"], ["-h"]):
        sys.stdout.write(USAGE)
        return 0
    try:
        order = parse(words)
        if order.verb == "update" and len({"--start", "--end"} & order.values.keys()) == 1:
            # The other one is as it was.
            _check_length(bounds(_scontrol(["-o", "show", "reservation", order.name]).stdout) | dict(order.values))
    except WordError as error:
        return _said(f"nvlhub-slurm-reserve: {error}", 2)
    except (OSError, subprocess.TimeoutExpired) as error:
        return _away(error)
    try:
        done = _scontrol(arguments(order))
        if order.verb == "delete" and done.returncode and IN_USE in done.stderr + done.stdout:
            end = str(int(time.time()) + SOON)
            done = _scontrol(arguments(Order("update", order.name, {"--end": end})))
            if not done.returncode:
                sys.stdout.write(
                    f"{order.name} is in use: from a minute from now on it keeps nobody out, its jobs go on, and Slurm "
                    "removes it after the last of them.\n"
                )
                return 0
    except (OSError, subprocess.TimeoutExpired) as error:
        return _away(error)
    if done.returncode:
        return _said((done.stderr or done.stdout).strip(), 1)
    sys.stdout.write(ours(done.stdout) if order.verb == "list" else done.stdout)
    return 0


def _away(error: Exception) -> int:
    return _said(f"nvlhub-slurm-reserve: scontrol does not answer ({type(error).__name__})", 3)


def _said(text: str, status: int) -> int:
    sys.stderr.write(f"{text}\n")
    return status


def _scontrol(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    program = shutil.which("scontrol", path=PLACES)
    if program is None:
        raise FileNotFoundError("scontrol")
    environment = {"PATH": PLACES, "TZ": "UTC", "LC_ALL": "C"}
    if "SLURM_CONF" in os.environ:
        environment["SLURM_CONF"] = os.environ["SLURM_CONF"]
    return subprocess.run(
        [program, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=PATIENCE,
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
