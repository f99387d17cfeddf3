"""What a kernel and a cluster say of their own leases, without a portal."""

from __future__ import annotations

from typing import Any

import pytest

from nvlhub.wire import Kind, LeaseView, Share, State
from nvlkernels.cluster_view import Standing
from nvlkernels.own import Held


def lease(**told: Any) -> LeaseView:
    values = {
        "id": "a", "state": State.RUNNING, "user": "u", "project": "p", "profile": "gpu1", "version": 1, "kind": Kind.WORKER, "label": "",
        "server": "", "parent": "", "gpus": 1, "pool": "main", "placement": (Share(domain="d", tray=1, gpus=(0,)),), "devices": (),
        "simulated": True, "factor_milli": 1000, "seconds": 3600, "held": 0, "charged": 0, "refunded": 0, "asked_at": 0, "now": 100,
        "detail": "",
    }  # fmt: skip
    return LeaseView(**(values | told))


@pytest.mark.parametrize("minutes", [-5, 0, 0.5, "x", None, True, 10**6, float("nan")])
@pytest.mark.parametrize("view", [None, lease()])
def test_more_time_is_asked_for_in_minutes(view: LeaseView | None, minutes: Any) -> None:
    with pytest.raises(ValueError, match=r"minutes: a number from 1 to 43200") as refused:
        Held(view).extend(minutes=minutes)
    assert repr(minutes) in str(refused.value)
    assert "seconds" not in str(refused.value)


def test_a_cluster_that_just_starts_has_all_its_time() -> None:
    starts, runs = lease(state=State.STARTING), lease(started_at=50, deadline=7250)
    waits = lease(state=State.HELD, placement=(), seconds=60)
    assert Standing((starts, runs, waits), 0, 100).seconds_left == 3600
    assert Standing((runs,), 1, 100).seconds_left == 7150
    assert Standing((waits,), 0, 100).seconds_left is None
