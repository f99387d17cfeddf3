"""Seats x time -> what to do at the hub now, so that their servers run while their run does.

    nobody asked ──START──► starting ──LOOK──► ready ──LOOK (now and then)──► … CLEAR, when the run is over
                              │  ▲ START again, later each time
                              ▼  │
                             failed

A seat that nobody came to is freed (FREE). Where a seat stands is read off its row: a restart goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from nvlhub.flow.course import RunState, Times

POLL = 2
"""Seconds between two looks at a server that starts."""
CLEARING = 10
"""Seconds between two tries to stop one."""
GLANCE = 60
"""Seconds between two looks at one that runs."""
FIRST_AGAIN, LAST_AGAIN = 10, 300
"""Seconds from a failed start to the next, at first and at most."""
MOST_TOGETHER = 100
"""Looks and stops that are begun in one turn."""


class Step(StrEnum):
    """What is done for a seat."""

    START = "start"
    LOOK = "look"
    FREE = "free"
    CLEAR = "clear"


Key = tuple[int, int]
"""Run and number of a seat."""


@dataclass(frozen=True, slots=True)
class Chair:
    """A seat that somebody has, as its row says. Times are Unix seconds."""

    run: int
    number: int
    user: str
    title: str
    """Of the course: what its server is shown as."""
    state: RunState
    times: Times
    extra: int = 0
    warm_at: int | None = None
    ready_at: int | None = None
    seen_at: int | None = None
    failed: str = ""
    tries: int = 0

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return self.run, self.number

    @property
    def starting(self) -> bool:
        """Whether its server was asked for, and has neither answered nor failed."""
        return self.warm_at is not None and self.ready_at is None and not self.failed


def again_after(tries: int) -> int:
    """Return how many seconds after so many failed starts in a row the next is tried."""
    return min(LAST_AGAIN, FIRST_AGAIN << min(10, max(0, tries - 1)))


def step(chair: Chair, now: int, looked: int) -> Step | None:
    """Return what is to be done for a seat, if there is room for it; `looked`: when its server was last looked at."""
    times = chair.times
    if chair.state is not RunState.APPROVED or now >= times.ends + chair.extra + times.grace:
        return Step.CLEAR if chair.warm_at is not None and now - looked >= CLEARING else None
    if chair.seen_at is None and times.no_show and now >= times.starts + times.no_show:
        return Step.FREE if now - looked >= CLEARING else None
    if chair.ready_at is not None:
        return Step.LOOK if now - looked >= GLANCE else None
    if chair.starting:
        return Step.LOOK if now - looked >= POLL else None
    if chair.failed and now < (chair.warm_at or 0) + again_after(chair.tries):
        return None
    wanted = chair.seen_at is not None or now >= times.starts - times.warm
    return Step.START if wanted and now < times.ends + chair.extra else None


def plan(
    chairs: Sequence[Chair], now: int, *, busy: AbstractSet[Key], room: int, looked: Mapping[Key, int]
) -> list[tuple[Step, Chair]]:
    """Return what to do now. No more than `room` servers start at once; those whose learners are there come first.

    `busy`: seats that something is being done for.
    """
    idle = [chair for chair in chairs if chair.key not in busy]
    wanted: list[tuple[Step, Chair]] = [
        (found, chair) for chair in idle if (found := step(chair, now, looked.get(chair.key, 0)))
    ]
    starts = [one for one in wanted if one[0] is Step.START]
    starts.sort(key=lambda one: (one[1].seen_at is None, one[1].times.starts, one[1].tries, one[1].key))
    free = room - sum(chair.starting for chair in chairs)
    others = [one for one in wanted if one[0] is not Step.START]
    return starts[: max(0, free)] + others[:MOST_TOGETHER]
