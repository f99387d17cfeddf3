"""Samples -> a bounded, thinned series: the last hour in steps of 10 seconds, a day by the minute, 30 days by ten minutes.

However long a lease runs and however often it is measured, its series stays below :data:`MOST` points of 13 bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

STEPS = ((10, 360), (60, 1440), (600, 4320))
"""Seconds of a step, and how many of them are kept; the finest first."""
MOST = sum(kept for _, kept in STEPS)
MIB = 1024 * 1024


class Point(NamedTuple):
    """What was measured from `at` on for `seconds`: mean utilisation in per cent, the most memory in MiB."""

    at: int
    seconds: int
    busy: int
    memory: int


class _Level:
    """Points of one step. The mean of the newest goes on being made."""

    __slots__ = ("_count", "_sum", "busy", "kept", "memory", "seconds", "times")

    def __init__(self, seconds: int, kept: int) -> None:
        self.seconds = seconds
        self.kept = kept
        self.times = array("Q")
        self.busy = array("B")
        self.memory = array("I")
        self._sum = self._count = 0

    def add(self, at: int, busy: int, memory: int) -> None:
        at -= at % self.seconds
        if self.times and at <= self.times[-1]:
            self._sum += busy
            self._count += 1
            self.busy[-1] = round(self._sum / self._count)
            self.memory[-1] = max(self.memory[-1], memory)
            return
        self._sum, self._count = busy, 1
        for column, value in ((self.times, at), (self.busy, busy), (self.memory, memory)):
            column.append(value)
            del column[: -self.kept]

    def points(self, until: int | None) -> Iterator[Point]:
        """Yield what ends at `until` or before."""
        for at, busy, memory in zip(self.times, self.busy, self.memory, strict=True):
            if until is None or at + self.seconds <= until:
                yield Point(at, self.seconds, busy, memory)


class Series:
    """The samples of one lease, thinned."""

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels = tuple(_Level(*step) for step in STEPS)

    def __len__(self) -> int:
        """Return how many points are kept."""
        return sum(len(level.times) for level in self._levels)

    def add(self, at: int, busy: int, memory: int) -> None:
        """Take a sample: per cent, MiB. One that is older than the newest counts to the newest: time does not go back."""
        for level in self._levels:
            level.add(max(0, at), min(100, max(0, busy)), min(2**32 - 1, max(0, memory)))

    def points(self) -> list[Point]:
        """Return what is known in the order of time, each moment once, as finely as it is kept."""
        found: list[Point] = []
        until: int | None = None
        for level in self._levels:
            older = list(level.points(until))
            found = older + found
            until = found[0].at if found else until
        return found

    def follow(self, newer: Series) -> None:
        """Go on with what was measured after this."""
        for point in newer.points():
            self.add(point.at, point.busy, point.memory)

    def told(self) -> list[list[list[int]]]:
        """Return it as JSON: for each step its times, utilisations and memories."""
        return [[list(level.times), list(level.busy), list(level.memory)] for level in self._levels]

    @classmethod
    def of(cls, told: Sequence[Sequence[Sequence[int]]]) -> Series:
        """Return the series that was told."""
        made = cls()
        for level, columns in zip(made._levels, told, strict=False):  # its own
            for at, busy, memory in zip(*columns, strict=True):
                level.add(at, busy, memory)
        return made


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most `most` points for all of these: neighbours are joined, by mean and maximum."""
    size = -(-len(points) // most)
    if size <= 1:
        return list(points)
    return [_joined(points[start : start + size]) for start in range(0, len(points), size)]


def _joined(points: Iterable[Point]) -> Point:
    group = list(points)
    seconds = sum(point.seconds for point in group)
    busy = sum(point.busy * point.seconds for point in group)
    return Point(group[0].at, seconds, round(busy / seconds), max(point.memory for point in group))
