"""The fleet over the REST API."""

from __future__ import annotations

import struct
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from nvlhub.api import Doors, make_app
from nvlhub.flow.queue import Running
from nvlhub.forms import Service
from nvlhub.registry import fleet
from nvlhub.wire import Share
from tests.api.test_api import Client, identify, problem
from tests.conftest import HandClock
from tests.portal_kit import ADMIN, Kit, kit
from tests.tables import store_at


@pytest.fixture
def factory(tmp_path: Path, clock: HandClock) -> Iterator[tuple[Kit, Client]]:
    """139 racks."""
    store = store_at(tmp_path / "factory.sqlite")
    portal = kit(store, clock, domains=139)
    app = make_app(Doors(portal.desk, portal.registry, identify), "/services/portal/")
    with TestClient(app, raise_server_exceptions=False) as http:
        yield portal, Client(http)
    store.close()


def test_a_whole_factory_is_one_byte_per_gpu(factory: tuple[Kit, Client]) -> None:
    portal, api = factory
    portal.ask("gpu8")
    answer = api("GET", "/fleet")
    view = answer.json()
    assert sum(sum(sizes) for _, sizes in view["layout"]) == 10_008
    assert b64decode(view["states"]) == bytes([1] * 8 + [0] * 10_000)
    assert b64decode(view["busy"]) == bytes([255]) * 10_008
    assert view["gpus"] == {"free": 10_000, "leased": 8, "out": 0, "draining": 0, "reserved": 0, "outside": 0}
    assert view["racks"] == {"whole": 139, "most": 0, "fewer": 0}
    assert view["shapes"][-1] == {"gpus": 72, "now": 138, "packed": 138}
    assert (view["pool"], view["simulated"]) == ("main", True)
    assert len(answer.content) < 40_000


def test_nobody_is_named_in_the_picture(api: Client, portal: Kit) -> None:
    lease = portal.ask("gpu1")
    told = api("GET", "/fleet", "outsider").text
    assert lease.id not in told
    assert "researcher" not in told


def test_a_drained_tray_shows_what_runs_on_as_draining(api: Client, portal: Kit) -> None:
    portal.ask("gpu2")
    assert api("PUT", "/domains/main/nvl001", "admin", json={"in_service": False, "tray": 1}).status_code == 200
    portal.step()
    view = api("GET", "/fleet").json()
    assert list(b64decode(view["states"])[:5]) == [3, 3, 2, 2, 0]
    assert view["racks"] == {"whole": 0, "most": 1, "fewer": 0}


def test_what_strangers_hold_has_a_state_of_its_own_and_no_names(api: Client, portal: Kit) -> None:
    lease = portal.ask("gpu2")
    theirs = (Share(domain="nvl001", tray=1, gpus=(2,)), Share(domain="nvl001", tray=2, gpus=(0, 1, 2, 3)))
    portal.engine.outside = (Running(theirs, portal.clock.now() + 600),)  # type: ignore[attr-defined]
    portal.step()
    view = api("GET", "/fleet").json()
    assert list(b64decode(view["states"])[:9]) == [1, 1, 5, 0, 5, 5, 5, 5, 0]
    assert view["gpus"] == {"free": 65, "leased": 2, "out": 0, "draining": 0, "reserved": 0, "outside": 5}
    [domain] = api("GET", "/domains", "admin").json()["items"]
    assert (domain["free"], domain["leased"], domain["outside"]) == (65, 2, 5)
    assert domain["trays"][0]["gpus"] == [lease.id, lease.id, "outside", ""]
    [pool] = [pool for pool in api("GET", "/pools").json()["items"] if pool["name"] == "main"]
    assert (pool["free"], pool["outside"], pool["in_service"]) == (65, 5, 72)
    portal.engine.outside = ()  # type: ignore[attr-defined]
    portal.step()
    assert api("GET", "/fleet").json()["gpus"]["outside"] == 0


def test_a_gpu_that_a_stranger_holds_on_a_drained_tray_is_out_of_service(api: Client, portal: Kit) -> None:
    portal.engine.outside = (  # type: ignore[attr-defined]
        Running((Share(domain="nvl001", tray=1, gpus=(0,)),), portal.clock.now() + 600),
    )
    portal.registry.capacity.set_service(ADMIN, "main", "nvl001", Service(in_service=False, tray=1))
    portal.step()
    assert list(b64decode(api("GET", "/fleet").json()["states"])[:5]) == [2, 2, 2, 2, 0]


def test_who_took_a_tray_out_of_service_is_told(api: Client, portal: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's word appears with the next count, and goes with it; a drain here stays an administrator's."""
    capacity = portal.engine.capacity()
    down = tuple(replace(tray, in_service=tray.index not in {1, 2}, reason="<fan>") for tray in capacity[0].trays)
    monkeypatch.setattr(portal.engine, "capacity", lambda: (replace(capacity[0], trays=down),))
    portal.registry.capacity.set_service(ADMIN, "main", "nvl001", Service(in_service=False, tray=1))
    portal.step()

    def told(what: str = "out_by") -> list[str]:
        return [tray[what] for tray in api("GET", "/domains", "admin").json()["items"][0]["trays"][:3]]

    assert (told(), told("reason")) == (["portal", "engine", ""], ["", "<fan>", ""])
    assert list(b64decode(api("GET", "/fleet").json()["states"])[:9]) == [2] * 8 + [0]
    monkeypatch.undo()
    portal.step()
    assert (told(), told("reason")) == (["portal", "", ""], ["", "", ""])


def test_many_who_ask_in_one_second_get_one_picture(portal: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(fleet, "picture", lambda *told, _picture=fleet.picture: made.append(1) or _picture(*told))
    views = [portal.registry.fleet.view() for _ in range(5)]
    portal.clock.forward(1)
    views.append(portal.registry.fleet.view())
    assert len(made) == 1
    assert len({id(view) for view in views}) == 2
    portal.ask("gpu1")
    assert portal.registry.fleet.view().gpus.leased == 1
    assert len(made) == 2


def test_what_waits_for_room_is_counted_by_its_size(api: Client, portal: Kit) -> None:
    for _ in range(10):
        portal.ask("gpu8")
    portal.step(30)
    assert api("GET", "/fleet").json()["pending"] == [{"gpus": 8, "leases": 1, "longest": 30}]


@pytest.mark.parametrize(("by", "names"), [("programme", ["demo"]), ("project", ["demo"]), ("user", ["researcher"])])
def test_administrators_see_who_holds_what(api: Client, portal: Kit, by: str, names: list[str]) -> None:
    portal.ask("gpu4")
    told = api("GET", "/fleet/holders", "admin", params={"by": by}).json()
    assert told["names"] == names
    marks = struct.unpack("<72H", b64decode(told["holders"]))
    assert list(marks) == [1] * 4 + [0] * 68
    assert told["top"] == [{"name": names[0], "gpus": 4, "leases": 1, "measured": 0, "busy": None}]
    problem(api("GET", "/fleet/holders", params={"by": by}), 403, "not-allowed")


def test_a_grouping_that_does_not_exist_is_refused(api: Client) -> None:
    problem(api("GET", "/fleet/holders", "admin", params={"by": "=HYPERLINK"}), 422, "invalid-input")


def test_leases_that_do_nothing_are_told_apart_from_those_that_work(
    portal: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    lazy, working, quiet = (portal.ask("gpu1") for _ in range(3))
    busy: Mapping[tuple[str, int, int], int] = {
        (share.domain, share.tray, gpu): percent
        for lease, percent in ((lazy, 3), (working, 80))
        for share in lease.placement for gpu in share.gpus
    }  # fmt: skip
    monkeypatch.setattr(portal.desk.telemetry, "busy", lambda now: busy)
    portal.clock.forward(600)
    for lease in (lazy, working):
        portal.runner.beat(lease.id, 0)
    portal.runner.beat(quiet.id, 400)
    portal.runner.step()
    told = portal.registry.fleet.holders(ADMIN, "user")
    assert {(view.lease, view.busy) for view in told.idle} == {(lazy.id, 3), (quiet.id, None)}
    assert (told.top[0].measured, told.top[0].busy) == (2, 42)


def test_one_domain_is_found_by_its_name(api: Client) -> None:
    assert [row["name"] for row in api("GET", "/domains", params={"name": "nvl001"}).json()["items"]] == ["nvl001"]
    assert api("GET", "/domains", params={"name": "nvl002"}).json()["total"] == 0
    problem(api("GET", "/domains", params={"name": "<b>"}), 422, "invalid-input")
