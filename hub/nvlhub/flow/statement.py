"""What was posted to an award -> its statement: each movement with the balance after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Balance:
    """What stands of an award, or what a transaction changes of it; milli-GPU-seconds."""

    left: int = 0
    """What can be set aside."""
    held: int = 0
    charged: int = 0

    def plus(self, other: Balance) -> Balance:
        """Return the sum of both."""
        return Balance(self.left + other.left, self.held + other.held, self.charged + other.charged)


@dataclass(frozen=True, slots=True)
class Movement:
    """One transaction of an award."""

    at: int
    entry: str
    key: str
    lease: str
    actor: str
    reason: str
    change: Balance


def balanced(opening: Balance, movements: Iterable[Movement]) -> Iterator[tuple[Movement, Balance]]:
    """Yield each movement with the balance after it."""
    balance = opening
    for movement in movements:
        balance = balance.plus(movement.change)
        yield movement, balance
