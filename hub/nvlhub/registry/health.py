"""Use cases of how the portal itself is doing. Who may is checked here."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

from nvlhub import __version__
from nvlhub.forms import EndedView, HealthReport, ProofView, RefusedView, TookView
from nvlhub.registry.office import Office
from nvlhub.visitor import Visitor
from nvlhub.wire import EndReason

DAY = 86_400
BOUNDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
"""Seconds that starts are told apart by."""


class Health(Office):
    """How the portal is doing."""

    def report(self, visitor: Visitor) -> HealthReport:
        """Return how starts went lately, what was refused, and what waits for a person; for administrators."""
        self._need_admin(visitor)
        desk, now, since = self._desk, self._clock.now(), self._clock.now() - DAY
        with self._store.reading() as unit:
            took, ends, differences = unit.start_seconds(since), unit.ends(since), unit.differences_open()
            database: Literal["sqlite", "postgresql"] = (
                "sqlite" if unit.connection.dialect.name == "sqlite" else "postgresql"
            )
        so_far, board = desk.observer.so_far(), desk.board
        refused = sorted(so_far.refused.items(), key=lambda row: (-row[1], row[0]))
        return HealthReport(
            version=__version__, engine=desk.engine.name, simulated=desk.engine.simulated,
            engine_away=board.away, database=database, now=now, up=so_far.up, admitted=so_far.admitted,
            refused=[RefusedView(slug=slug, count=count) for slug, count in refused], since=since,
            started=sum(took.values()), start_median=at_share(took, 50), start_most=at_share(took, 95), took=_told(took),
            ended=[EndedView(reason=EndReason(why), count=ends[why]) for why in EndReason if why in ends],
            turns=so_far.turns, turn_mean=so_far.turn_mean, turn_ago=so_far.turn_ago, active=len(board.leases),
            waiting=len(board.waiting), differences_open=differences,
            proof=ProofView(at=so_far.proof[0], ok=so_far.proof[1]) if so_far.proof else None,
        )  # fmt: skip


def at_share(counted: Mapping[int, int], percent: int) -> int | None:
    """Return the smallest value that `percent` of 100 do not exceed (nearest rank); None where nothing was counted."""
    rank, passed = -(-sum(counted.values()) * percent // 100), 0
    for value in sorted(counted):
        passed += counted[value]
        if passed >= rank:
            return value
    return None


def _told(took: Mapping[int, int]) -> list[TookView]:
    inside = [
        TookView(below=below, count=sum(count for value, count in took.items() if above <= value < below))
        for above, below in pairwise((0, *BOUNDS))
    ]
    return [*inside, TookView(below=None, count=sum(count for value, count in took.items() if value >= BOUNDS[-1]))]
