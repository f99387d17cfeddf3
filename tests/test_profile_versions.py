"""What runs keeps its version: whatever is edited, published or rolled back meanwhile, it is charged and ends the same."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nvlhub.engines.floor import SimulatedFloor
from nvlhub.engines.scripted import ScriptedEngine
from nvlhub.errors import NvlhubError
from nvlhub.flow.lease import Lease
from nvlhub.forms import NewProfile, Publish, Rollback
from nvlhub.wire import Extend, LeaseView, State
from tests.conftest import HandClock
from tests.portal_kit import ADMIN, RESEARCHER, Kit
from tests.tables import store_at

PROFILE = "gpu1"
edits = st.one_of(
    st.tuples(
        st.just("edit"),
        st.fixed_dictionaries({
            "gpus": st.sampled_from([1, 2, 4, 8]), "longest": st.sampled_from([60, 600, 3600]),
            "idle": st.sampled_from([None, 60, 90]), "span": st.sampled_from(["domain", "fabric"]),
            "audience": st.sampled_from([{}, {"projects": ["demo-small"]}]),
            "environment": st.sampled_from([{}, {"A": "1"}]),
        }),
    ),
    st.tuples(st.just("publish"), st.integers(1, 4)),
    st.tuples(st.just("rollback"), st.none()),
)  # fmt: skip
moments = st.lists(
    st.tuples(
        st.sampled_from([1, 20, 50, 400]), st.lists(edits, max_size=2), st.sampled_from([None, None, 60, 1200]),
        st.booleans(),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


def change(portal: Kit, what: str, how: Any) -> None:
    """Do what an administrator does; what is refused changes nothing."""
    profiles = portal.registry.profiles
    with contextlib.suppress(NvlhubError):
        match what:
            case "edit":
                new = NewProfile(name=PROFILE, display_name="Other", pool="main", **how)
                profiles.add_profile(ADMIN, new, "*")
            case "publish":
                profiles.publish(ADMIN, PROFILE, Publish(version=how))
            case _:
                history, _ = profiles.history(ADMIN, PROFILE)
                profiles.roll_back(ADMIN, PROFILE, Rollback(published=history.published or 1))


def facts(portal: Kit, lease: LeaseView) -> tuple[Any, ...]:
    """What its holder pays and gets, at this moment."""
    with portal.store.reading() as unit:
        row = unit.lease(lease.id)
    live: Lease | None = portal.runner.board.leases.get(lease.id, row)
    assert live is not None
    return (
        live.state, live.version, live.gpus, live.factor_milli, live.seconds, live.deadline, live.idle, live.held, live.charged,
        live.refunded, live.ended_at, live.end_reason,
    )  # fmt: skip


def lived(folder: Path, story: list[Any], *, edited: bool) -> list[Any]:
    """Live through a story with a running lease, with or without what administrators do to its profile."""
    folder.mkdir(exist_ok=True)
    database = folder / f"{edited}.sqlite"
    database.unlink(missing_ok=True)
    store = store_at(database)
    try:
        clock = HandClock()
        portal = Kit(store, clock, ScriptedEngine(SimulatedFloor(1, 2), {}, now=clock.now))
        lease = portal.ask(PROFILE, seconds=600)
        portal.step()
        told = [facts(portal, lease)]
        for seconds, changes, more, restart in story:
            for what, how in changes if edited else ():
                change(portal, what, how)
            if restart:
                portal.restart()
            if more is not None:
                try:
                    portal.desk.extend(RESEARCHER, lease.id, Extend(seconds=more))
                except NvlhubError as error:
                    told.append((error.slug, error.members.get("most_seconds")))
            portal.step(seconds)
            told.append(facts(portal, lease))
        portal.desk.end(RESEARCHER, lease.id)
        portal.step()
        portal.step()
        told.append(facts(portal, lease))
        assert told[-1][0] is State.SETTLED
        assert portal.broken() == []
        return told
    finally:
        store.close()


@settings(max_examples=15, deadline=None)
@given(moments)
def test_what_is_edited_published_or_rolled_back_changes_nothing_of_a_lease_that_runs(
    tmp_path_factory: Any, story: list[Any]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "versions"
    assert lived(folder, story, edited=True) == lived(folder, story, edited=False)
