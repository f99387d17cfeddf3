"""What is charged is what Slurm counted, to the second: GPUs of AllocTRES x ElapsedRaw."""

from __future__ import annotations

import time

import pytest

from nvlhub.wire import EndReason
from tests.portal_kit import ADMIN
from tests.slurm.kit import Hand

pytestmark = pytest.mark.slurm


def test_every_way_to_end_is_charged_as_slurm_counted(portal: Hand) -> None:
    kit, slurm = portal.kit, portal.slurm
    plain = [kit.ask(profile) for profile in ("gpu1", "gpu2", "gpu4", "gpu8")]
    suspended, cancelled, requeued, failed = others = [kit.ask("gpu2") for _ in range(4)]
    portal.until_ran(*plain, *others)
    number = {lease.id: str(portal.jobs()[lease.id][0]) for lease in others}
    [share] = kit.seen(failed).placement
    node = f"{share.domain}-{share.tray:02}"
    slurm.run("scontrol", "suspend", number[suspended.id])
    slurm.run("scancel", number[cancelled.id])
    slurm.run("scontrol", "update", f"jobid={number[requeued.id]}", "requeue=1")
    slurm.run("scontrol", "requeue", number[requeued.id])
    waiting = [kit.ask(), kit.ask("gpu4")]
    slurm.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    slurm._answers("scontrol", "update", f"nodename={node}", "state=resume")
    slurm.until(lambda: "State=DOWN" not in slurm.run("scontrol", "-o", "show", "node", node), "the node")
    for lease in waiting:
        # Asked for, submitted perhaps, and given up before it ran, or a moment after.
        kit.desk.end(ADMIN, lease.id)
    since = time.monotonic() + 2
    portal.until(lambda: time.monotonic() > since)
    slurm.run("scontrol", "resume", number[suspended.id])
    portal.until_state(cancelled, requeued, failed, *waiting, state="settled")
    for lease in (*plain, suspended):
        kit.desk.end(ADMIN, lease.id)
    portal.until_state(*plain, suspended, state="settled")
    seen = kit.seen(failed)
    assert (seen.end_reason, seen.refunded) == (EndReason.ENGINE, seen.charged)
    seen = kit.seen(requeued)
    assert (seen.end_reason, seen.refunded) == (EndReason.LOST, 0)
    assert seen.charged > 0
    seen = kit.seen(suspended)
    assert seen.ended_at is not None
    assert seen.started_at is not None
    slurm.until(lambda: portal.recorded(suspended), "the accounting")
    assert seen.charged == 2000 * portal.recorded(suspended)
    # What was put back into the queue is paid for until that was seen.
    slurm.until(lambda: {lease for lease, _, _ in portal.exact()} <= {requeued.id}, "the accounting of all")
    assert portal.differences() == []
    assert portal.differences(since=0) == []


def test_a_difference_is_found_and_given_back(portal: Hand) -> None:
    """Slurm's word is the last: what was charged beyond it goes back by itself."""
    lease = portal.kit.ask("gpu4")
    portal.until_ran(lease)
    portal.kit.desk.end(ADMIN, lease.id)
    portal.until_state(lease, state="settled")
    slurm_counted = portal.kit.seen(lease).charged
    with portal.kit.store.writing() as unit:
        row = unit.lease(lease.id)
        assert row is not None
        unit.correct(row, 4000 * 30, f"settle:{lease.id}", "a wrong hand", ref="x", at=row.asked_at, actor="test")
    [found] = portal.differences()
    assert (found.kind, found.state, found.engine) == ("amount", "closed", slurm_counted // 1000)
    with portal.kit.store.reading() as unit:
        assert unit.paid(lease.id) == slurm_counted
