"""Slurm's short way to write many nodes: ``nvl[001-002]-[01-18],cpu001``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

_PART = re.compile(r"((?:[^,\[\]]|\[[^\[\]]*\])+)(?:,|$)")
_BRACKET = re.compile(r"\[([^\[\]]*)\]")
MOST = 100_000
"""Nodes that one expression may stand for."""


def expand(text: str) -> tuple[str, ...]:
    """Return the names of nodes in the order in which they are written. Raises `ValueError`."""
    if text in {"", "(null)", "None assigned"}:
        return ()
    names: list[str] = []
    for part in _PART.findall(text):
        names.extend(islice(_expanded(part), MOST + 1))
        if len(names) > MOST:
            raise ValueError(f"more than {MOST} nodes in {text[:100]!r}")
    return tuple(names)


def _expanded(part: str) -> Iterator[str]:
    bracket = _BRACKET.search(part)
    if bracket is None:
        yield part
        return
    before, after = part[: bracket.start()], part[bracket.end() :]
    for number in _numbers(bracket[1]):
        for rest in _expanded(after):
            yield before + number + rest


def _numbers(text: str) -> Iterator[str]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        if int(last or first) - int(first) > MOST:
            raise ValueError(f"more than {MOST} nodes in {part!r}")
        for number in range(int(first), int(last or first) + 1):
            yield str(number).zfill(len(first))


def joined(names: Iterable[str]) -> str:
    """Return names of nodes as one argument."""
    return ",".join(names)
