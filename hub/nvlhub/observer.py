"""Who is told what happens at the desk and in the run loop, so that it can be counted outside of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nvlhub.flow.lease import Lease
from nvlhub.wire import Kind


@dataclass(frozen=True, slots=True)
class SoFar:
    """What was counted since the process began. Times in seconds."""

    up: int = 0
    """How long ago that was."""
    admitted: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    """By slug; only what was refused at least once."""
    turns: int = 0
    turn_mean: float | None = None
    turn_ago: float | None = None
    """How long ago the last turn ended."""
    proof: tuple[int, bool] | None = None
    """When the ledger was last verified (Unix time), and whether it was right."""


class Observer:
    """Is told and does nothing with it.

    Those who override a method return at once and never raise: the run loop and visitors wait meanwhile. Calls come
    from any thread.
    """

    def admitted(self, kind: Kind, count: int, seconds: float) -> None:
        """Hear that `count` leases were admitted together; deciding and saving took `seconds`."""

    def refused(self, slug: str) -> None:
        """Hear that a start was refused; `slug` names why."""

    def moved(self, before: Lease, after: Lease) -> None:
        """Hear that a lease was moved; the move is saved."""

    def turned(self, seconds: float) -> None:
        """Hear that a turn of the run loop took `seconds`; waiting for something to do is not in them."""

    def verified(self, at: int, *, ok: bool) -> None:
        """Hear that the ledger was verified at the Unix time `at`."""

    def so_far(self) -> SoFar:
        """Return what was counted; nothing by those who do not count."""
        return SoFar()


SILENT = Observer()
