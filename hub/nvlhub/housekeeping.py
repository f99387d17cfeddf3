"""What is tidied up now and then beside the leases: awards and slots that are over, what is known of the capacity."""

from __future__ import annotations

from collections.abc import Iterable

from nvlhub.flow.placement import Domain
from nvlhub.store import Store


def return_over_awards(store: Store, now: int) -> None:
    """Move the rest of awards that have expired or were revoked back to their programmes."""
    with store.reading() as unit:
        over = unit.over_awards(now)
    for award in over:
        left = award["awarded"] - award["charged"] - award["held"]
        why = "revoked" if award["revoked_at"] is not None else "expired"
        with store.writing() as unit:
            unit.give_back(award, left, why, at=now, actor="portal")


def end_over_slots(store: Store, now: int) -> None:
    """Charge the slots of runs that have come to their ends: what was kept for them is paid for, used or not."""
    with store.reading() as unit:
        over = unit.over_slots(now)
    for number in over:
        with store.writing() as unit:
            run = unit.run(number, lock=True)
            if run["held"] and run["ends"] <= now:
                pool = unit.reservation(run["reservation"])["pool"]
                unit.end_slot(run, pool, run["held"], at=now, actor="portal")


def note_capacity(store: Store, pool: str, capacity: Iterable[Domain], source: str, now: int) -> None:
    """Write down how many GPUs are in service, if that has changed."""
    gpus = sum(domain.free_gpus for domain in capacity)
    with store.writing() as unit:
        if unit.capacity_at(pool, "in_service", now) != gpus:
            unit.add_capacity(pool, "in_service", gpus, now, source, "portal")
