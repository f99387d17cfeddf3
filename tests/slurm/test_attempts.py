"""An attempt on GPUs is a job of its learner's: it runs in a cage on a node, and is charged as Slurm counted."""

from __future__ import annotations

import pytest

from tests.arena.test_leased import Class, shares
from tests.arena.test_local import EQUALS_ALL, HONEST
from tests.conftest import missing
from tests.slurm.kit import ServedBySlurm

pytestmark = pytest.mark.slurm


def test_attempts_run_on_nodes_and_forged_ones_are_worth_nothing(served: ServedBySlurm) -> None:
    if why := served.portal.registry.assessing.arena.lacks():  # type: ignore[union-attr]
        missing(f"isolation of attempts ({why})")
    made = Class(served)
    view = made.judged(HONEST + "import os, time; time.sleep(2); print(sorted(os.environ))")
    assert (view.state, shares(view)) == ("passed", [1000] * 4), view
    assert "SLURM" not in view.log
    assert "NVLHUB" not in view.log
    assert shares(made.judged(EQUALS_ALL))[0] == 0
    first, second = sorted(served.settled(), key=lambda lease: lease["asked_at"])
    assert {first["user"], second["user"]} == {"learner"}
    assert first["charged"] == (first["ended_at"] - first["started_at"]) * first["factor_milli"] > 0
    assert served.jobs() == {}
