"""The answer of ``GET /fleet`` -> what ``esm/fleet.js`` draws: one byte per GPU, and the words for it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from operator import or_
from typing import Any

from nvlhub.text import say

MODES = ("state", "busy", "holder")
STATES = ("free", "leased", "out", "draining", "reserved", "outside")
"""In the order of their numbers."""
FREE, LEASED, OUT, DRAINING, RESERVED, OUTSIDE = range(6)
NAMED = 8
"""Holders with a colour of their own."""
STEP = 5
"""Per cent from one colour of utilisation to the next."""
_BUSY = bytes(0 if percent > 100 else (percent // STEP + 1) << 3 for percent in range(256))
"""For each byte of utilisation what is added to that of the state; above 100: not measured."""


@dataclass(frozen=True, slots=True)
class Rack:
    """One domain in figures."""

    name: str
    counts: tuple[int, ...]
    """GPUs by state."""
    trays: int
    up: int
    """Trays in service."""


@dataclass(frozen=True)
class Seen:
    """All GPUs at one moment."""

    view: Mapping[str, Any]
    states: bytes
    busy: bytes

    @property
    def racks(self) -> list[tuple[str, list[int]]]:
        """Domains with the sizes of their trays."""
        found: list[tuple[str, list[int]]] = self.view["layout"]
        return found

    @cached_property
    def busy_cells(self) -> bytes:
        """States, and utilisation in steps of 5 %."""
        return bytes(map(or_, self.states, self.busy.translate(_BUSY)))

    def held_cells(self, marks: Sequence[int]) -> bytes:
        """States, and who holds what: `marks` has the place of each GPU's holder from 1; those from 9 on are others.

        Marks of another floor (it has just changed) are left out.
        """
        if len(marks) != len(self.states):
            return self.states
        return bytes(state | min(mark, NAMED + 1) << 3 for state, mark in zip(self.states, marks, strict=True))

    def figures(self) -> Iterator[Rack]:
        """Yield every domain in figures."""
        cells = iter(self.states)
        for name, sizes in self.racks:
            trays = [bytes(islice(cells, size)) for size in sizes]
            whole = b"".join(trays)
            up = sum(1 for tray in trays if OUT not in tray and DRAINING not in tray)
            yield Rack(name, tuple(whole.count(state) for state in range(len(STATES))), len(sizes), up)


def seen_of(view: Mapping[str, Any]) -> Seen:
    """Return what an answer of ``GET /fleet`` says. Raises `ValueError` for one that contradicts itself."""
    states, busy = b64decode(view["states"]), b64decode(view["busy"])
    total = sum(sum(sizes) for _, sizes in view["layout"])
    if not len(states) == len(busy) == total:
        raise ValueError(f"{total} GPUs with {len(states)} states")
    return Seen(view, states, busy)


def words(lang: str, *, helped: str = "fleet-help") -> dict[str, Any]:
    """Return the words of the picture, with places that it fills in by itself."""
    return {
        "label": say("fleet-map", lang),
        "help": say(helped, lang),
        "rack": say("fleet-rack", lang, name="{name}", parts="{parts}"),
        "mean": say("fleet-mean", lang, percent="{percent}"),
        "states": [say(f"fleet-state-{state}", lang) for state in STATES],
    }


def legend(mode: str, lang: str, names: Sequence[str] = ()) -> list[tuple[int, str]]:
    """Return the legend of a mode: bytes with what they mean; `names`: the holders, in their order."""
    states = [(number, say(f"fleet-state-{state}", lang)) for number, state in enumerate(STATES)]
    if mode == "state":
        return states
    others = [states[number] for number in (FREE, OUT, RESERVED, OUTSIDE)]
    if mode == "busy":
        steps = [
            (LEASED | (percent // STEP + 1) << 3, say("fleet-busy-level", lang, percent=percent))
            for percent in (0, 25, 50, 75, 100)
        ]
        draining = (DRAINING | (50 // STEP + 1) << 3, states[DRAINING][1])
        return [*steps, (LEASED, say("fleet-busy-unknown", lang)), draining, *others]
    held = [(LEASED | place << 3, name) for place, name in enumerate(names[:NAMED], start=1)]
    if len(names) > NAMED:
        held.append((LEASED | (NAMED + 1) << 3, say("fleet-others", lang)))
    return [*held, (DRAINING | 1 << 3, states[DRAINING][1]), *others]


def sentence(view: Mapping[str, Any], lang: str) -> str:
    """Return the figures of the fleet in words."""
    gpus = view["gpus"]
    total = sum(gpus.values())
    if not total:
        return say("fleet-none", lang)
    told = [say("fleet-sentence", lang, total=total, free=gpus["free"], leased=gpus["leased"] + gpus["draining"])]
    told += [say(f"fleet-{state}", lang, count=gpus[state]) for state in STATES[OUT:] if gpus[state]]
    whole = next((room for room in reversed(view["shapes"]) if room["packed"]), None)
    if whole is not None:
        told.append(say("fleet-start", lang, gpus=whole["gpus"], now=whole["now"]))
    told.append(say("fleet-simulated" if view["simulated"] else "fleet-model", lang, model=view["gpu_model"]))
    return " ".join(told)
