"""A seat of a run as the board shows it: where it stands, and who needs help first. Times are Unix seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nvlhub.flow.course import RunState, Times

AWAY = 600
"""Seconds without a sign of somebody after which their seat idles."""


class SeatState(StrEnum):
    """Where a seat stands."""

    FREE = "free"
    WARMING = "warming"
    READY = "ready"
    IN_USE = "in-use"
    IDLE = "idle"
    FAILED = "failed"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Seat:
    """What is known of a seat."""

    number: int
    taken: bool = False
    extra: int = 0
    ready_at: int | None = None
    seen_at: int | None = None
    failed: str = ""
    hand_at: int | None = None
    helped_by: str = ""
    check_ok: bool | None = None


def state_of(seat: Seat, run: RunState, times: Times, now: int) -> SeatState:
    """Return where a seat stands. Extra time is time of the seat; the grace after it is for handing in only."""
    if run in {RunState.CLOSED, RunState.CANCELLED} or now >= times.ends + seat.extra:
        return SeatState.OVER
    if not seat.taken:
        return SeatState.FREE
    if seat.failed and seat.ready_at is None:
        return SeatState.FAILED
    if seat.ready_at is None:
        return SeatState.WARMING
    if seat.seen_at is None:
        return SeatState.READY
    return SeatState.IN_USE if now - seat.seen_at < AWAY else SeatState.IDLE


_NEED = {
    SeatState.FAILED: 2, SeatState.IDLE: 4, SeatState.WARMING: 5, SeatState.IN_USE: 6, SeatState.READY: 7,
    SeatState.FREE: 8, SeatState.OVER: 9,
}  # fmt: skip
_CHECK_FAILED = 3


def need(seat: Seat, state: SeatState) -> tuple[int, int, int]:
    """Return by what seats are sorted so that who needs help comes first.

    Raised hands in the order in which they were raised, those that nobody goes to before the others; then what failed,
    then failed checks, then who is away.
    """
    if seat.hand_at is not None:
        return int(bool(seat.helped_by)), seat.hand_at, seat.number
    rank = _NEED[state]
    if seat.check_ok is False and state is SeatState.IN_USE:
        rank = _CHECK_FAILED
    return rank, 0, seat.number


def counted(seats: Iterable[tuple[Seat, SeatState]]) -> dict[str, int]:
    """Count seats by state, all states named, and raised hands."""
    counts = dict.fromkeys((*SeatState, "hands"), 0)
    for seat, state in seats:
        counts[state] += 1
        counts["hands"] += seat.hand_at is not None
    return {str(name): count for name, count in counts.items()}


@dataclass(frozen=True, slots=True)
class ItemFigure:
    """How an item of an assessment was solved; shares in thousandths."""

    name: str
    title: str
    title_zh: str
    judged: int
    passed: int
    """Learners who have all of it."""
    mean_milli: int


def figures(best: Iterable[Sequence[Mapping[str, object]]]) -> list[ItemFigure]:
    """Return figures of every item, in the order in which they are met; `best`: each learner's best attempt, item by item."""
    shares: dict[str, list[int]] = {}
    titles: dict[str, tuple[str, str]] = {}
    for items in best:
        for item in items:
            name = str(item.get("name", ""))
            titles.setdefault(name, (str(item.get("title", "")), str(item.get("title_zh", ""))))
            shares.setdefault(name, []).append(int(str(item.get("share_milli", 0))))
    return [
        ItemFigure(name, *titles[name], len(got), sum(share >= 1000 for share in got), round(sum(got) / len(got)))
        for name, got in shares.items()
    ]
