"""The slot of a run: which time and how many GPUs are kept for it, what that costs, and what is used in it for nothing.

    slot      from the warming of the seats (or now, where that has begun) to the end of the run
    GPUs      whole trays, so many that every seat has its GPUs on one tray, or on whole ones of one domain
    price     GPUs kept x seconds of the slot x charge factor, in milli-GPU-seconds

Where a programme charges the whole slot, a lease of a seat that fits into the seat's GPUs costs nothing, and ends with
the run at the latest; whatever goes beyond is paid for as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from nvlhub.flow.course import Times
from nvlhub.flow.placement import GPUS_PER_TRAY
from nvlhub.flow.quota import Award
from nvlhub.flow.reservation import NoRoom, Place

DAY = 86_400
LONGEST = DAY
"""Seconds of a run, at most."""
SHORTEST = 300
"""Seconds of a run, at least."""


def slot_starts(times: Times, now: int) -> int:
    """Return when the slot of a run begins that is decided about now; Unix seconds."""
    return max(now, times.starts - times.warm)


def gpus_kept(seats: int, gpus: int, tray: int = GPUS_PER_TRAY) -> int:
    """Return the GPUs of the whole trays that so many seats need; no seat is torn between trays."""
    if not gpus:
        return 0
    if gpus <= tray:
        return -(-seats // (tray // gpus)) * tray
    return seats * (-(-gpus // tray)) * tray


def seats_held(gpus: int, sizes: Iterable[int], tray: int = GPUS_PER_TRAY) -> int:
    """Return how many seats whole trays hold; `sizes`: how many GPUs they have in each domain."""
    if gpus <= tray:
        return sum(size // tray for size in sizes) * (tray // gpus)
    return sum(size // tray // -(-gpus // tray) for size in sizes)


def choose_for_seats(
    seats: int, gpus: int, trays: Mapping[Place, int], choose: Callable[[int], tuple[Place, ...] | NoRoom]
) -> tuple[Place, ...] | NoRoom:  # fmt: skip
    """Choose trays so that every seat finds its GPUs in one domain; `trays`: their sizes, `choose`: trays for GPUs.

    What is chosen can lie in several domains, and leave in each less than a seat; then more is asked for.
    """
    first = wanted = gpus_kept(seats, gpus)
    while True:
        found = choose(wanted)
        if isinstance(found, NoRoom):
            return found if wanted == first else NoRoom(min(found.largest, first - GPUS_PER_TRAY), found.next_starts)
        sizes: dict[str, int] = {}
        for domain, tray in found:
            sizes[domain] = sizes.get(domain, 0) + trays[domain, tray]
        if seats_held(gpus, sizes.values()) >= seats:
            return found
        wanted = sum(sizes.values()) + GPUS_PER_TRAY


def price(gpus: int, seconds: int, factor_milli: int) -> int:
    """Return what GPUs cost that are kept for so long, in milli-GPU-seconds."""
    return gpus * max(0, seconds) * factor_milli


def paying(awards: Sequence[Award], units: int, starts: int, ends: int) -> Award | None:
    """Return the award that pays for a slot: valid for all of it, with enough left; the one that ends first.

    None: there is none.
    """
    fitting = [
        one for one in awards if not one.revoked and one.starts <= starts and ends <= one.ends and one.left >= units
    ]
    return min(fitting, key=lambda one: (one.ends, one.id), default=None)


@dataclass(frozen=True, slots=True)
class Stay:
    """A seat of a guest: of somebody who is in a project only because a run made them a member."""

    run: int
    starts: int
    """When the seat begins to be warmed."""
    ends: int
    """With what the seat has beyond the end of the run."""
    gpus: int
    zone: str = "UTC"

    def has(self, at: int) -> bool:
        """Tell whether it goes on."""
        return self.starts <= at < self.ends


def most_at_once(stays: Sequence[Stay], now: int) -> int:
    """Return how many GPUs a guest needs at most at once from now on; 0: no class of theirs goes on any more."""
    left = [stay for stay in stays if stay.ends > now]
    # It only becomes more when one begins.
    return max((sum(other.gpus for other in left if other.has(stay.starts)) for stay in left), default=0)


@dataclass(frozen=True, slots=True)
class Seated:
    """Somebody's seat in a run that goes on, and what is used in its slot for nothing."""

    run: int
    ends: int
    """Of the run, which is the end of its slot."""
    gpus: int
    """Of a seat."""
    award: int | None
    """What the whole slot is paid from; None: leases are paid for as ever."""
    kept: int = 0
    """GPUs that are kept for the run."""
    used: int = 0
    """GPUs of those that leases in the slot have: of this user …"""
    used_by_all: int = 0

    def covers(self, gpus: int) -> bool:
        """Tell whether so many more GPUs of this user are paid for with the slot."""
        return (
            self.award is not None
            and self.used + gpus <= self.gpus
            and self.used_by_all + gpus <= self.kept
        )  # fmt: skip
