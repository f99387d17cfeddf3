"""Where a request goes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.flow.placement import Domain, Placement, Tray, count_free, exchange, fits_ever, given_back, place, without
from nvlhub.wire import Share, Span
from tests.flow.strategies import SIZES, floors

FULL = frozenset(range(4))


def rack(name: str, *free: int, trays: int = 18) -> Domain:
    counts = [*free, *([4] * (trays - len(free)))]
    return Domain(name, tuple(Tray(index, frozenset(range(count))) for index, count in enumerate(counts, 1)))


def test_one_gpu_goes_to_the_least_free_tray() -> None:
    assert place(1, Span.DOMAIN, [rack("a", 4, 2, 1)]) == (Share(domain="a", tray=3, gpus=(0,)),)


def test_a_broken_superchip_is_used_up_first() -> None:
    tray = Tray(1, frozenset({0, 1, 3}))
    assert place(1, Span.DOMAIN, [Domain("a", (tray,))]) == (Share(domain="a", tray=1, gpus=(3,)),)


def test_two_gpus_are_a_superchip() -> None:
    tray = Tray(1, frozenset({1, 2, 3}))
    assert place(2, Span.DOMAIN, [Domain("a", (tray,))]) == (Share(domain="a", tray=1, gpus=(2, 3)),)


def test_more_than_a_tray_takes_whole_trays_of_the_fullest_domain_that_fits() -> None:
    placed = place(8, Span.DOMAIN, [rack("a"), rack("b", 0, 0, 2)])
    assert placed is not None
    assert {share.domain for share in placed} == {"b"}
    assert all(len(share.gpus) == 4 for share in placed)


def test_a_whole_rack_needs_all_its_trays() -> None:
    assert place(72, Span.DOMAIN, [rack("a", 3)]) is None
    assert place(72, Span.DOMAIN, [rack("a")]) is not None


def test_fabric_takes_segments_of_sixteen_trays() -> None:
    placed = place(128, Span.FABRIC, [rack("a"), rack("b"), rack("c")])
    assert placed is not None
    assert sorted([share.domain for share in placed]) == ["a"] * 16 + ["b"] * 16
    assert place(128, Span.DOMAIN, [rack("a"), rack("b")]) is None


def test_the_whole_factory_is_placed() -> None:
    racks = [rack(f"nvl{number:03}") for number in range(139)]
    taken = []
    for _ in range(139):
        placed = place(72, Span.DOMAIN, racks)
        assert placed is not None
        racks = list(without(racks, [placed]))
        taken.append(placed)
    assert sum(len(share.gpus) for placed in taken for share in placed) == 10_008
    assert place(1, Span.DOMAIN, racks) is None


@pytest.mark.parametrize(("gpus", "fits"), [(72, True), (73, False), (76, False)])
def test_what_no_domain_has_never_fits(gpus: int, fits: bool) -> None:
    assert fits_ever(gpus, Span.DOMAIN, [rack("a")]) is fits


@given(floors(), st.sampled_from(SIZES))
def test_a_placement_has_the_gpus_asked_for_free_and_in_one_domain(floor: tuple[Domain, ...], gpus: int) -> None:
    placed = place(gpus, Span.DOMAIN, floor)
    if placed is None:
        assert count_free(gpus, Span.DOMAIN, floor) == 0
        return
    free = {domain.name: {tray.index: tray.usable for tray in domain.trays} for domain in floor}
    assert sum(len(share.gpus) for share in placed) == gpus
    assert len({share.domain for share in placed}) == 1
    assert all(set(share.gpus) <= free[share.domain][share.tray] for share in placed)
    if gpus <= 4:
        assert len(placed) == 1


@given(floors(), st.sampled_from(SIZES))
def test_the_same_floor_places_the_same(floor: tuple[Domain, ...], gpus: int) -> None:
    assert place(gpus, Span.DOMAIN, floor) == place(gpus, Span.DOMAIN, floor)


@given(floors(), st.sampled_from(SIZES))
def test_taking_and_giving_back_changes_nothing(floor: tuple[Domain, ...], gpus: int) -> None:
    placed = place(gpus, Span.DOMAIN, floor)
    if placed is not None:
        assert given_back(without(floor, [placed]), [placed]) == floor


@given(floors(), st.sampled_from(SIZES))
def test_as_many_as_counted_can_be_placed(floor: tuple[Domain, ...], gpus: int) -> None:
    counted = count_free(gpus, Span.DOMAIN, floor)
    for _ in range(counted):
        placed = place(gpus, Span.DOMAIN, floor)
        assert placed is not None
        floor = without(floor, [placed])
    assert place(gpus, Span.DOMAIN, floor) is None


@given(floors(), st.integers(1, 4))
def test_up_to_a_tray_goes_where_looking_at_every_tray_would_put_it(domains: tuple[Domain, ...], gpus: int) -> None:
    def rank(found: tuple[Domain, Tray]) -> tuple[int, bool, int]:
        domain, tray = found
        superchip = any({first, first + 1} <= tray.usable for first in (0, 2))
        return len(tray.usable), gpus == 2 and not superchip, sum(len(tray.usable) for tray in domain.trays)

    fitting = [(domain, tray) for domain in domains for tray in domain.trays if len(tray.usable) >= gpus]
    placed = place(gpus, Span.DOMAIN, domains)
    if not fitting:
        assert placed is None
        return
    domain, tray = min(fitting, key=rank)
    assert placed is not None
    [share] = placed
    assert (share.domain, share.tray, len(share.gpus)) == (domain.name, tray.index, gpus)
    assert set(share.gpus) <= tray.usable


@given(st.data())
def test_gpus_that_are_given_otherwise_are_never_anybodys_twice(data: st.DataObject) -> None:
    cells = [(tray, gpu) for tray in (1, 2, 3) for gpu in range(4)]
    shuffled = data.draw(st.permutations(cells))
    sizes = data.draw(
        st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda sizes: sum(sizes) <= len(cells))
    )
    placements, start = {}, 0
    for number, size in enumerate(sizes):
        placements[str(number)] = _shares(shuffled[start : start + size])
        start += size
    given_to = _shares(data.draw(st.permutations(cells))[: sizes[0]])
    after = placements | exchange(placements, "0", given_to)
    assert after["0"] == given_to
    held = [(share.tray, gpu) for placement in after.values() for share in placement for gpu in share.gpus]
    assert len(held) == len(set(held)) == sum(sizes)
    assert [sum(len(share.gpus) for share in after[str(number)]) for number in range(len(sizes))] == sizes


def _shares(cells: Iterable[tuple[int, int]]) -> Placement:
    trays: dict[int, list[int]] = {}
    for tray, gpu in sorted(cells):
        trays.setdefault(tray, []).append(gpu)
    return tuple(Share(domain="nvl001", tray=tray, gpus=tuple(gpus)) for tray, gpus in trays.items())
