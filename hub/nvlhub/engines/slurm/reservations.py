"""The portal's reservations x Slurm's -> what ``nvlhub-slurm-reserve`` is to do, in words and as a sentence."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from nvlhub.engines.slurm.hostlist import expand
from nvlhub.engines.slurm.names import PREFIX

GOING = 120
"""Seconds before its end from which a reservation that nobody wants is left to end by itself."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Whole nodes that are kept for accounts between two times; Unix seconds."""

    name: str
    starts: int
    ends: int
    nodes: frozenset[str]
    accounts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Step:
    """Words for the command, and what they do."""

    words: tuple[str, ...]
    sentence: str


def read(text: str) -> Iterator[Reservation]:
    """Yield the reservations of ours that ``scontrol -o show reservation`` prints with the time zone UTC."""
    for line in text.splitlines():
        pairs = dict(re.findall(r"(\w+)=(\S+)", line))
        name = pairs.get("ReservationName", "")
        if re.fullmatch(rf"{PREFIX}[1-9][0-9]*", name):
            yield Reservation(
                name, _time(pairs["StartTime"]), _time(pairs["EndTime"]), frozenset(expand(pairs.get("Nodes", ""))),
                frozenset(pairs.get("Accounts", "(null)").split(",")) - {"(null)"},
            )  # fmt: skip


def _time(text: str) -> int:
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))


def steps(wanted: Iterable[Reservation], present: Iterable[Reservation], now: int, partition: str = "") -> list[Step]:
    """Return what is to be done: what frees nodes first, so that others can be kept for somebody else."""
    right = {one.name: one for one in wanted if one.ends > now}
    there = {one.name: _begun(one, right.get(one.name), now) for one in present}
    gone = [
        Step(("delete", name), f"reservation {name}: remove")
        for name, one in sorted(there.items())
        if name not in right and one.ends > now + GOING
    ]
    # Of two that change places, the one that takes what the other gives up goes last.
    changed = sorted(
        (name for name in right.keys() & there.keys() if right[name] != there[name]),
        key=lambda name: (len(right[name].nodes - there[name].nodes), name),
    )
    return [
        *gone,
        *(step for name in changed for step in _change(right[name], there[name], now, partition)),
        *(_create(right[name], now, partition) for name in sorted(right.keys() - there.keys())),
    ]


def _begun(present: Reservation, wanted: Reservation | None, now: int) -> Reservation:
    """Return a reservation with the start that is wanted, where both began: which second it was does not matter."""
    if wanted is None or max(present.starts, wanted.starts) > now:
        return present
    return replace(present, starts=wanted.starts)


def _create(one: Reservation, now: int, partition: str) -> Step:
    # Slurm makes none that begins in the past.
    starts = max(one.starts, now)
    values = {**_words(one), "--start": str(starts), **({"--partition": partition} if partition else {})}
    options = tuple(word for pair in values.items() for word in pair)
    nodes = f"{len(one.nodes)} node{'s' if len(one.nodes) > 1 else ''}"
    sentence = f"reservation {one.name}: make, {nodes} for {_list(one.accounts)}, {_told(starts)} to {_told(one.ends)}"
    return Step(("create", one.name, *options), sentence)


def _change(one: Reservation, before: Reservation, now: int, partition: str) -> Iterator[Step]:
    if before.starts <= now and one.starts != before.starts:
        # What has begun keeps its start.
        yield Step(("delete", one.name), f"reservation {one.name}: remove, to begin anew")
        yield _create(one, now, partition)
        return
    wanted, present = _words(one), _words(before)
    changed = {option: value for option, value in wanted.items() if value != present[option]}
    told = {
        "--start": f"begins {_told(one.starts)} instead of {_told(before.starts)}",
        "--end": f"ends {_told(one.ends)} instead of {_told(before.ends)}",
        "--nodes": f"nodes {_list(one.nodes)} instead of {_list(before.nodes)}",
        "--accounts": f"for {_list(one.accounts)} instead of {_list(before.accounts)}",
    }
    options = tuple(word for pair in changed.items() for word in pair)
    sentence = f"reservation {one.name}: {'; '.join(told[option] for option in changed)}"
    yield Step(("update", one.name, *options), sentence)


def _words(one: Reservation) -> Mapping[str, str]:
    return {
        "--start": str(one.starts), "--end": str(one.ends), "--nodes": ",".join(sorted(one.nodes)),
        "--accounts": ",".join(sorted(one.accounts)),
    }  # fmt: skip


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _told(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))
