"""A tray is reserved once at a time, whoever asks and however many at once; on every database."""

from __future__ import annotations

import random
import threading
from collections import Counter

import pytest
import sqlalchemy as sa

from nvlhub.errors import ConflictError, NvlhubError
from nvlhub.forms import NewReservation, ReservationPatch
from nvlhub.store import Store
from nvlhub.store import tables as t
from nvlhub.store.unit import Unit
from tests.conftest import START, HandClock
from tests.portal_kit import ADMIN, Kit, kit

HOUR = 3600


def add(unit: Unit, starts: int, ends: int, tray: int = 1) -> int:
    return unit.add_reservation(
        [("nvl001", tray)], pool="main", name="x", project="demo", gpus=4, starts=starts, ends=ends, state="booked",
        note="", made_by="admin", made_at=START,
    )  # fmt: skip


def doubled(store: Store) -> list[object]:
    """Return the pairs of rows that have a tray and a second in common."""
    one, other = t.reserved_trays.alias(), t.reserved_trays.alias()
    same = [one.c[name] == other.c[name] for name in ("pool", "domain", "tray")]
    query = sa.select(one.c.reservation, other.c.reservation).where(
        *same, one.c.reservation < other.c.reservation, one.c.starts < other.c.ends, other.c.starts < one.c.ends
    )
    with store.reading() as unit:
        return list(unit.connection.execute(query).all())


@pytest.fixture
def portal(store: Store, clock: HandClock) -> Kit:
    return kit(store, clock, trays=3)


@pytest.mark.parametrize(("starts", "ends"), [(0, 10), (9, 20), (3, 4), (-5, 1), (-5, 20)])
def test_the_database_refuses_a_tray_that_is_reserved_then(portal: Kit, starts: int, ends: int) -> None:
    with portal.store.writing() as unit:
        add(unit, START, START + 10)
    with pytest.raises(ConflictError), portal.store.writing() as unit:
        add(unit, START + starts, START + ends)
    with portal.store.writing() as unit:
        add(unit, START + starts, START + ends, tray=2)
        add(unit, START + 10, START + 11, tray=3)
    assert doubled(portal.store) == []


def test_the_database_refuses_to_move_a_row_onto_another(portal: Kit) -> None:
    with portal.store.writing() as unit:
        add(unit, START, START + 10)
        second = add(unit, START + 10, START + 20)
    moved = t.reserved_trays.update().where(t.reserved_trays.c.reservation == second).values(starts=START + 9)
    with pytest.raises(sa.exc.IntegrityError), portal.store.writing() as unit:
        unit.connection.execute(moved)
    with portal.store.writing() as unit:
        unit.connection.execute(moved.values(starts=START + 11))


def test_a_cancelled_reservation_has_no_trays(portal: Kit) -> None:
    with portal.store.writing() as unit:
        unit.cancel_reservation(add(unit, START, START + 10))
        add(unit, START, START + 10)
    with portal.store.reading() as unit:
        assert unit.connection.scalar(sa.select(sa.func.count()).select_from(t.reserved_trays)) == 1


def test_of_many_who_write_at_once_past_the_rules_one_has_the_tray(portal: Kit) -> None:
    """Nobody takes the lock that the use cases take: the database has only itself."""
    outcomes: Counter[str] = Counter()
    gate = threading.Barrier(8)

    def one() -> None:
        gate.wait()
        try:
            with portal.store.writing() as unit:
                add(unit, START, START + 10)
            outcomes["had"] += 1
        except ConflictError:
            outcomes["refused"] += 1

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert outcomes == {"had": 1, "refused": 7}


def test_many_who_reserve_move_and_cancel_at_once_never_share_a_tray(portal: Kit) -> None:
    office, done = portal.registry.reservations, Counter[str]()
    errors: list[BaseException] = []

    def one(number: int) -> None:
        dice, mine = random.Random(number), []
        for _ in range(12):
            starts = START + dice.randrange(6) * HOUR
            ends = starts + dice.randrange(1, 4) * HOUR
            try:
                if mine and dice.random() < 0.3:
                    office.cancel(ADMIN, mine.pop())
                    done["cancelled"] += 1
                elif mine and dice.random() < 0.5:
                    office.move(ADMIN, dice.choice(mine), ReservationPatch(starts=starts, ends=ends), "*")
                    done["moved"] += 1
                else:
                    gpus = dice.choice([4, 8])
                    new = NewReservation(name="x", project="demo", gpus=gpus, starts=starts, ends=ends)
                    mine.append(int(office.add(ADMIN, new).id))
                    done["made"] += 1
            except NvlhubError as error:
                done[error.slug] += 1
            except BaseException as error:  # noqa: BLE001  # told below
                errors.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert doubled(portal.store) == []
    assert done.keys() <= {"made", "moved", "cancelled", "reservation-no-room", "reservation-no-room-then"}
    assert min(done[name] for name in ("made", "moved", "cancelled")) > 0
    assert portal.broken() == []
