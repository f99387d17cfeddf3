"""Burn-downs, shares of a pool, and how the portal itself is doing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.errors import RefusedError
from nvlhub.flow.burn import DAY, burn_down
from nvlhub.flow.statement import Balance
from nvlhub.portal.counts import Counts
from nvlhub.registry.health import at_share
from tests.api.test_leads import api, portal
from tests.api.world import PEOPLE, Api
from tests.conftest import HandClock
from tests.portal_kit import ADMIN, Kit, kit
from tests.tables import store_at

__all__ = ["api", "portal"]
HOUR = 3_600_000
"""Milli-GPU-seconds of a GPU-hour."""


def test_a_burn_down_ends_with_what_stands_and_tells_each_day(api: Api, portal: Kit) -> None:
    for _ in range(3):
        lease = portal.ask("gpu1", PEOPLE["member"], "optics")
        portal.step(1)
        portal.step(3600)
        portal.desk.end(PEOPLE["member"], lease.id)
        portal.step(1)
        portal.step(DAY)
    held = portal.ask("gpu1", PEOPLE["member"], "optics")
    points = api("GET", "/awards/1/burndown", "pi", params={"days": 10}).json()["points"]
    award = api("GET", "/awards/1", "pi").json()
    assert held.held
    assert points[-1] == {
        "at": portal.clock.now(), "awarded": award["awarded"], "charged": award["charged"],
        "left": award["left"] + award["held"],
    }  # fmt: skip
    charged = [point["charged"] for point in points]
    assert charged == sorted(charged)
    assert len({amount for amount in charged if amount}) == 3
    assert all(point["at"] % DAY == 0 for point in points[:-1])
    whole = api("GET", "/programmes/science/burndown", "officer", params={"days": 10, "pool": "main"}).json()
    assert whole["points"] == points
    assert whole["dry_at"]
    empty = api("GET", "/projects/optics/burndown", "pi", params={"pool": "cloud"}).json()
    assert (empty["dry_at"], empty["ends"], empty["points"][-1]["awarded"]) == (None, None, 0)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(-9, 9), st.integers(-9, 9), st.integers(0, 9)), max_size=20),
    st.integers(0, DAY - 1),
)
def test_reckoning_backwards_gives_what_adding_up_forwards_does(
    posted: list[tuple[int, int, int, int]], more: int
) -> None:
    by_day: dict[int, Balance] = {}
    for day, *amounts in posted:
        by_day[day * DAY] = by_day.get(day * DAY, Balance()).plus(Balance(*amounts))
    now = Balance()
    for change in by_day.values():
        now = now.plus(change)
    until = 9 * DAY + more + 1
    for standing in burn_down(now, by_day.items(), 0, until):
        before = [change for day, change in by_day.items() if day < standing.at]
        assert standing.charged == sum(change.charged for change in before)
        assert standing.left == sum(change.left + change.held for change in before)


def test_an_officer_reads_the_others_of_a_pool_as_one(api: Api, portal: Kit) -> None:
    portal.ask("gpu1", PEOPLE["member"], "optics")
    for _ in range(2):
        portal.ask("gpu1", PEOPLE["founder"], "casting")
    portal.step(10)
    rows = api("GET", "/pools/main/shares", "officer").json()["items"]
    assert [(row["programme"], row["name"], row["gpus"], row["gpu_seconds"]) for row in rows] == [
        ("", "", 2, 20), ("science", "Science", 1, 10),
    ]  # fmt: skip
    assert api("GET", "/pools/nothing/shares", "officer").status_code == 404


@pytest.mark.parametrize(
    ("counted", "median", "most"),
    [({}, None, None), ({3: 1}, 3, 3), ({1: 50, 2: 45, 9: 5}, 1, 2), ({1: 94, 7: 6}, 1, 7), ({0: 1, 5: 1}, 0, 5)],
)
def test_shares_of_starts_are_by_nearest_rank(counted: dict[int, int], median: int | None, most: int | None) -> None:
    assert (at_share(counted, 50), at_share(counted, 95)) == (median, most)


def test_the_report_tells_starts_refusals_and_ends(tmp_path: Path, clock: HandClock) -> None:
    store = store_at(tmp_path / "x.sqlite")
    watched = kit(store, clock, observer=Counts())
    leases = [watched.ask("gpu1") for _ in range(4)]
    watched.step(2)
    with pytest.raises(RefusedError):
        watched.ask("gpu8", project="demo-small")
    watched.desk.end(ADMIN, leases[0].id)
    watched.step(1)
    report = watched.registry.health.report(ADMIN)
    assert (report.admitted, report.started, report.active, report.database) == (4, 4, 3, "sqlite")
    assert [(row.slug, row.count) for row in report.refused] == [("balance-too-low", 1)]
    assert [(row.reason, row.count) for row in report.ended] == [("admin", 1)]
    assert sum(row.count for row in report.took) == 4
    assert report.turns > 0
    assert report.turn_mean is not None
    assert report.proof is None
    watched.registry.ledger.verify(ADMIN)
    proof = watched.registry.health.report(ADMIN).proof
    assert proof is not None
    assert proof.ok
    clock.forward(2 * DAY)
    assert watched.registry.health.report(ADMIN).ended == []
    store.close()


def test_the_trail_is_filtered_by_action(api: Api) -> None:
    api("PUT", "/projects/optics/members/other", "pi", json={"role": "member"})
    found = api("GET", "/audit", "admin", params={"action": "member-set"}).json()
    assert [line["object"] for line in found["items"]] == ["project:optics/other"]
    assert api("GET", "/audit", "admin", params={"action": "member"}).json()["total"] == 0
