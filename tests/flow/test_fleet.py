"""The picture of all GPUs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.engines.floor import SimulatedFloor
from nvlhub.flow.fleet import (
    SHAPES,
    UNMEASURED,
    GpuState,
    Outside,
    Reserved,
    Room,
    busy_bytes,
    by_health,
    fragmentation,
    idles,
    marked,
    picture,
    rooms,
)
from nvlhub.flow.placement import Domain, Tray, count_free, given_back, place, without
from nvlhub.wire import Share, Span
from tests.flow.strategies import SIZES, floors

FULL = frozenset(range(4))


@st.composite
def reserved(draw: st.DrawFn, floor: tuple[Domain, ...]) -> Reserved:
    trays = [(domain.name, tray.index) for domain in floor for tray in domain.trays]
    return frozenset(draw(st.sets(st.sampled_from(trays))))


@st.composite
def strangers(draw: st.DrawFn, floor: tuple[Domain, ...]) -> Outside:
    """Some of what is taken."""
    taken = [(domain.name, tray.index, FULL - tray.free) for domain in floor for tray in domain.trays]
    drawn = {(name, tray): draw(st.sets(st.sampled_from(sorted(gpus)))) for name, tray, gpus in taken if gpus}
    return {place: frozenset(gpus) for place, gpus in drawn.items() if gpus}


def everything(floor: tuple[Domain, ...]) -> tuple[Domain, ...]:
    """The floor with nothing leased."""
    every = [
        (Share(domain=domain.name, tray=tray.index, gpus=(0, 1, 2, 3)),) for domain in floor for tray in domain.trays
    ]
    return given_back(floor, every)


def state_of(domain: Domain, tray: Tray, gpu: int, kept: Reserved, theirs: Outside) -> int:
    """One GPU, by the words of the table."""
    if gpu not in tray.free and gpu in theirs.get((domain.name, tray.index), ()):
        return GpuState.OUTSIDE if tray.in_service else GpuState.OUT
    if gpu not in tray.free:
        return GpuState.LEASED if tray.in_service else GpuState.DRAINING
    if not tray.in_service:
        return GpuState.OUT
    return GpuState.RESERVED if (domain.name, tray.index) in kept else GpuState.FREE


@given(st.data())
def test_each_byte_is_what_becomes_of_its_gpu(data: st.DataObject) -> None:
    floor = data.draw(floors())
    kept = data.draw(reserved(floor))
    theirs = data.draw(strangers(floor))
    seen = picture(everything(floor), floor, kept, theirs)
    expected = [
        state_of(domain, tray, gpu, kept, theirs)
        for domain in floor
        for tray in domain.trays
        for gpu in range(tray.size)
    ]
    assert list(seen.states) == expected
    assert sum(sum(sizes) for _, sizes in seen.layout) == len(seen.states)
    assert [name for name, _ in seen.layout] == [domain.name for domain in floor]
    assert sum(seen.counts.values()) == len(seen.states)


@given(st.data())
def test_as_many_of_a_shape_as_told_can_be_placed_beside_what_is_reserved(data: st.DataObject) -> None:
    floor = data.draw(floors())
    kept = data.draw(reserved(floor))
    gpus = data.draw(st.sampled_from(SHAPES))
    [room] = [room for room in rooms(everything(floor), floor, kept) if room.gpus == gpus]
    left = tuple(
        Domain(domain.name, tuple(tray for tray in domain.trays if (domain.name, tray.index) not in kept))
        for domain in floor
    )
    assert room.now == count_free(room.gpus, Span.DOMAIN, left)
    assert room.now <= room.packed <= sum(domain.free_gpus for domain in left) // room.gpus
    for _ in range(room.now):
        placed = place(room.gpus, Span.DOMAIN, left)
        assert placed is not None
        left = without(left, [placed])
    assert place(room.gpus, Span.DOMAIN, left) is None


@given(floors())
def test_fragmentation_is_between_nothing_and_everything(floor: tuple[Domain, ...]) -> None:
    assert 0 <= picture(everything(floor), floor).fragmentation <= 1


def test_an_empty_factory_is_not_fragmented() -> None:
    floor = SimulatedFloor(139).domains()
    seen = picture(floor, floor)
    assert seen.fragmentation == 0
    assert seen.states == bytes(10_008)
    assert seen.shapes[-2:] == (Room(64, 139, 139), Room(72, 139, 139))


def test_one_gpu_in_every_tray_leaves_no_tray() -> None:
    floor = SimulatedFloor(2).domains()
    taken = [(Share(domain=domain.name, tray=tray.index, gpus=(0,)),) for domain in floor for tray in domain.trays]
    shapes = rooms(floor, without(floor, taken))
    assert [(room.gpus, room.now) for room in shapes[:3]] == [(1, 108), (2, 36), (4, 0)]
    # 108 GPUs are 54 pairs, of which 36 are to be had; of what needs a whole tray nothing is.
    assert fragmentation(shapes) == pytest.approx((0 + 1 - 36 / 54 + 6) / 8)


def test_a_full_floor_is_not_fragmented() -> None:
    floor = SimulatedFloor(1).domains()
    placed = place(72, Span.DOMAIN, floor)
    assert placed is not None
    assert picture(floor, without(floor, [placed])).fragmentation == 0


@pytest.mark.parametrize(
    ("trays", "healthy", "found"),
    [(18, 18, (1, 0, 0)), (18, 17, (0, 1, 0)), (18, 16, (0, 1, 0)), (18, 15, (0, 0, 1)), (9, 8, (0, 1, 0)),
     (2, 2, (1, 0, 0)), (2, 1, (0, 0, 1)), (18, 0, (0, 0, 1))],
)  # fmt: skip
def test_racks_are_told_apart_by_the_trays_in_service(trays: int, healthy: int, found: tuple[int, ...]) -> None:
    rack = Domain("nvl001", tuple(Tray(index, FULL, in_service=index <= healthy) for index in range(1, trays + 1)))
    assert by_health([rack]) == found


def test_utilisation_lies_where_its_gpu_does_and_never_beyond_100() -> None:
    floor = SimulatedFloor(2, trays=2).domains()
    told = busy_bytes(floor, {("nvl001", 2, 3): 40, ("nvl002", 1, 0): 130, ("nvl002", 9, 0): 1, ("gone", 1, 0): 1})
    assert [(at, value) for at, value in enumerate(told) if value != UNMEASURED] == [(7, 40), (8, 100)]


@given(floors(), st.lists(st.sampled_from(SIZES), max_size=8))
def test_every_gpu_carries_the_mark_of_who_has_it(floor: tuple[Domain, ...], asked: list[int]) -> None:
    left, placed = floor, []
    for gpus in asked:
        found = place(gpus, Span.DOMAIN, left)
        if found is not None:
            placed.append(found)
            left = without(left, [found])
    marks = marked(floor, list(enumerate(placed, start=1)))
    owner = {
        (share.domain, share.tray, gpu): mark
        for mark, placement in enumerate(placed, start=1) for share in placement for gpu in share.gpus
    }  # fmt: skip
    places = [(domain.name, tray.index, gpu) for domain in floor for tray in domain.trays for gpu in range(tray.size)]
    assert marks == [owner.get(place, 0) for place in places]


@pytest.mark.parametrize(
    ("ran", "quiet", "busy", "idle"),
    [
        (1000, 0, 2, True),
        (1000, 900, 60, False),
        (100, 100, 0, False),
        (1000, 900, None, True),
        (1000, 10, None, False),
    ],
)
def test_a_lease_idles_by_what_is_measured_else_by_its_kernel(
    ran: int, quiet: int, busy: float | None, idle: bool
) -> None:
    assert idles(ran, quiet, busy) is idle
