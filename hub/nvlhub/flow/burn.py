"""Postings by day -> what stood of awards at the end of each day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nvlhub.flow.statement import Balance

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Standing:
    """What stood of some awards at a moment; milli-GPU-seconds."""

    at: int
    awarded: int
    charged: int

    @property
    def left(self) -> int:
        """What was not charged; what was held is in it."""
        return self.awarded - self.charged


def burn_down(now: Balance, changes: Iterable[tuple[int, Balance]], since: int, until: int) -> list[Standing]:
    """Return what stood at the end of each day of [since, until], and at `until`, the earliest first.

    `now`: what stands at `until`. `changes`: what was posted by day (UTC, its first second), in any order. Reckoned
    backwards, so that nothing before `since` need be read.
    """
    by_day = dict(changes)
    left, held, charged = now.left, now.held, now.charged
    found = [Standing(until, left + held + charged, charged)]
    day = until - until % DAY
    while day > since:
        change = by_day.get(day, Balance(0, 0, 0))
        left, held, charged = left - change.left, held - change.held, charged - change.charged
        found.append(Standing(day, left + held + charged, charged))
        day -= DAY
    return found[::-1]
