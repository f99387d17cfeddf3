"""What GPUs did: counted with samples and without, saved, gone on with after a restart; idle leases are given back."""

from __future__ import annotations

import logging

import pytest

from nvlhub.flow.activity import QUARTER
from nvlhub.forms import ActivityAsk, LeaseUse
from nvlhub.store import Store
from nvlhub.telemetry import KEPT
from nvlhub.wire import Beat, EndReason, GpuSample, LeaseView, Sample, State
from tests.conftest import HandClock
from tests.portal_kit import ADMIN, RESEARCHER, Kit, kit

GB = 10**9


def process(busy: int = 50, memory: int = GB) -> Sample:
    return Sample(real=False, gpus=(GpuSample(busy=busy, memory=memory, memory_total=8 * GB),))


def real(*busy: int) -> Sample:
    return Sample(real=True, gpus=tuple(GpuSample(busy=one, memory=GB, memory_total=2 * GB) for one in busy))


@pytest.fixture
def portal(store: Store, clock: HandClock) -> Kit:
    return kit(store, clock)


@pytest.fixture
def on_gpus(portal: Kit, monkeypatch: pytest.MonkeyPatch) -> Kit:
    """The same with GPUs that are taken for real ones."""
    monkeypatch.setattr(portal.engine, "simulated", False)
    return portal


def live(portal: Kit, lease: LeaseView, seconds: int, sample: Sample | None = None, **beat: object) -> None:
    """Let a lease run, with a sign of life every 5 seconds."""
    for _ in range(seconds // 5):
        portal.clock.forward(5)
        portal.desk.beat(RESEARCHER, lease.id, Beat(sample=sample, **beat), "en")  # type: ignore[arg-type]
        portal.runner.step()


def of(portal: Kit, lease: LeaseView) -> LeaseUse:
    return portal.registry.telemetry.of_lease(RESEARCHER, lease.id, "en")


def quarters(portal: Kit) -> tuple[int, int, int]:
    """Return what is saved of all quarters: held, busy, measured."""
    found = portal.registry.telemetry.activity(ADMIN, ActivityAsk(hours=168, everything=True)).items
    return sum(one.held for one in found), sum(one.busy for one in found), sum(one.measured for one in found)


def test_work_is_gpus_times_time_times_utilisation(portal: Kit) -> None:
    lease = portal.ask("gpu4")
    live(portal, lease, 100, process(25))
    use = of(portal, lease)
    assert (use.real, use.held, use.measured, use.busy, use.efficiency) == (False, 400, 400, 100, 0.25)
    assert (use.memory_peak, use.memory_total, use.charge) == (GB, 8 * GB, 400_000)
    assert [point.busy for point in use.points] == [25] * len(use.points)


def test_each_real_gpu_counts_for_itself(on_gpus: Kit, clock: HandClock) -> None:
    lease = on_gpus.ask("gpu2")
    live(on_gpus, lease, 100, real(100, 0))
    use = of(on_gpus, lease)
    assert (use.real, use.measured, use.busy, use.memory_peak) == (True, 200, 100, 2 * GB)
    share = lease.placement[0]
    at = {(share.domain, share.tray, gpu): busy for gpu, busy in zip(share.gpus, (100, 0), strict=True)}
    assert on_gpus.desk.telemetry.busy(clock.now()) == at
    assert on_gpus.desk.telemetry.busy(clock.now() + 60) == {}


def test_what_says_it_is_real_is_not_believed_where_gpus_are_simulated(portal: Kit) -> None:
    lease = portal.ask("gpu1")
    live(portal, lease, 20, real(100))
    assert of(portal, lease).measured == 0


def test_more_gpus_than_the_lease_has_are_not_counted(on_gpus: Kit) -> None:
    lease = on_gpus.ask("gpu1")
    live(on_gpus, lease, 20, real(100, 100, 100))
    assert of(on_gpus, lease).measured == 20


def test_a_gap_between_samples_is_held_and_not_measured(portal: Kit) -> None:
    lease = portal.ask("gpu1")
    live(portal, lease, 20, process())
    live(portal, lease, 100)
    live(portal, lease, 5, process())
    use = of(portal, lease)
    assert (use.held, use.measured) == (125, 25)


def test_a_lease_without_samples_is_held_all_the_same(portal: Kit) -> None:
    lease = portal.ask("gpu4")
    live(portal, lease, 50)
    portal.desk.telemetry.keep()
    assert quarters(portal) == (200, 0, 0)
    assert (of(portal, lease).real, of(portal, lease).efficiency) == (None, None)


def test_quarters_hold_what_leases_held_to_the_second(portal: Kit, clock: HandClock) -> None:
    clock.forward(QUARTER - clock.now() % QUARTER - 30)
    first, second = portal.ask("gpu1"), portal.ask("gpu2")
    for _ in range(4):
        live(portal, first, 15, process(100))
        portal.desk.beat(RESEARCHER, second.id, Beat(), "en")
        portal.desk.telemetry.keep()
    portal.desk.end(RESEARCHER, first.id)
    portal.desk.end(RESEARCHER, second.id)
    portal.step(1)
    portal.desk.telemetry.keep()
    portal.desk.telemetry.keep()
    assert quarters(portal) == (3 * 60, 60, 60)
    found = [one for one in portal.registry.telemetry.activity(RESEARCHER, ActivityAsk(hours=1)).items if one.held]
    assert [(one.held, one.busy) for one in found] == [(90, 30), (90, 30)]


def test_a_restart_goes_on_from_the_rows(portal: Kit) -> None:
    lease = portal.ask("gpu1")
    live(portal, lease, 60, process(100))
    portal.desk.telemetry.keep()
    portal.restart()
    live(portal, lease, 60, process(0))
    use = of(portal, lease)
    assert (use.held, use.measured, use.busy, use.memory_peak) == (120, 120, 60, GB)
    assert sum(point.seconds for point in use.points) >= 110
    portal.desk.telemetry.keep()
    portal.restart()
    portal.desk.end(RESEARCHER, lease.id)
    portal.step(1)
    portal.desk.telemetry.keep()
    assert quarters(portal) == (120, 60, 120)
    use = of(portal, lease)
    assert (use.held, use.measured, use.busy) == (120, 120, 60)
    assert {point.busy for point in use.points} >= {0, 100}


def test_what_ended_before_a_portal_died_is_counted_by_the_next_one(portal: Kit) -> None:
    before, seen = portal.ask("gpu2"), portal.ask("gpu1")
    live(portal, seen, 15, process(100))
    portal.desk.telemetry.keep()
    portal.desk.beat(RESEARCHER, before.id, Beat(), "en")
    live(portal, seen, 10, process(100))
    for lease in (before, seen):
        portal.desk.end(RESEARCHER, lease.id)
    portal.step(1)
    portal.restart()
    portal.desk.telemetry.keep()
    assert quarters(portal)[0] == 3 * 25
    # The last ten seconds of samples died with the portal; what was saved is not lost.
    assert (of(portal, seen).measured, of(portal, seen).busy) == (15, 15)


def test_a_failed_saving_loses_nothing(portal: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = portal.ask("gpu1")
    live(portal, lease, 30, process(100))
    writing = portal.store.writing
    monkeypatch.setattr(portal.store, "writing", lambda: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        portal.desk.telemetry.keep()
    monkeypatch.setattr(portal.store, "writing", writing)
    portal.desk.telemetry.keep()
    assert quarters(portal) == (30, 30, 30)


def test_the_thread_survives_a_database_that_is_away(
    portal: Kit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lease = portal.ask("gpu1")
    live(portal, lease, 30, process(100))
    monkeypatch.setattr(portal.store, "reading", lambda: (_ for _ in ()).throw(OSError("away")))
    with caplog.at_level(logging.ERROR):
        portal.desk.telemetry.stop()
    assert "could not be saved" in caplog.text


def test_old_quarters_are_forgotten(portal: Kit, clock: HandClock) -> None:
    lease = portal.ask("gpu1")
    live(portal, lease, 30)
    portal.desk.end(RESEARCHER, lease.id)
    portal.step(1)
    portal.desk.telemetry.keep()
    with portal.store.writing() as unit:
        assert unit.forget_activity(clock.now() - KEPT) == 0
        assert unit.forget_activity(clock.now() + KEPT) == 1


def test_what_the_site_measures_counts_more_than_what_a_holder_says(on_gpus: Kit, clock: HandClock) -> None:
    lease = on_gpus.ask("gpu1")
    telemetry = on_gpus.desk.telemetry
    known = on_gpus.runner.board.leases[lease.id]
    clock.forward(5)
    telemetry.take(known, {0: GpuSample(busy=0)}, real=True, site=True)
    live(on_gpus, lease, 20, real(100), gpu_busy=True, idle_seconds=1000)
    use = of(on_gpus, lease)
    assert (use.measured, use.busy) == (5, 0)
    assert on_gpus.runner.board.leases[lease.id].idle_seconds == 25


# --- the idle rule ------------------------------------------------------------------------------------------------------


def wait(portal: Kit, lease: LeaseView, seconds: int, **beat: object) -> list[str]:
    """Let time pass with a sign of life every 10 s from a kernel that does nothing; return what its user reads."""
    told = []
    begun = portal.clock.now() - (portal.runner.board.leases[lease.id].started_at or 0)
    for passed in range(10, seconds + 1, 10):
        portal.clock.forward(10)
        said = Beat(idle_seconds=begun + passed, **beat)  # type: ignore[arg-type]
        told.append(portal.desk.beat(RESEARCHER, lease.id, said, "en").warn)
        portal.runner.step()
    return told


def test_a_kernel_that_waits_for_its_gpu_is_kept(on_gpus: Kit) -> None:
    lease = on_gpus.ask("gpu1")
    # Its profile's idle time is an hour.
    told = wait(on_gpus, lease, 4000, sample=real(90), gpu_busy=True)
    assert set(told) == {""}
    assert on_gpus.seen(lease).state is State.RUNNING


def test_who_uses_neither_kernel_nor_gpu_is_warned_for_five_minutes_and_loses_the_lease(on_gpus: Kit) -> None:
    lease = on_gpus.ask("gpu1")
    wait(on_gpus, lease, 3500, sample=real(90), gpu_busy=True)
    # The kernel has been idle for nearly its whole hour; the GPU stops only now.
    told = wait(on_gpus, lease, 3590, sample=real(0), gpu_busy=False)
    assert set(told[: (3600 - 300) // 10 - 1]) == {""}
    assert all("given back in" in one for one in told[(3600 - 300) // 10 :])
    assert on_gpus.seen(lease).state is State.RUNNING
    wait(on_gpus, lease, 10, sample=real(0), gpu_busy=False)
    on_gpus.runner.step()
    ended = on_gpus.seen(lease)
    assert (ended.state, ended.end_reason, ended.charged) == (State.SETTLED, EndReason.IDLE, 7100 * 1000)
    use = of(on_gpus, lease)
    assert 3590 <= use.idle <= 3610
    assert [event.kind for event in use.events] == ["asked", "placed", "started", "warned", "ended", "settled"]
    on_gpus.desk.telemetry.keep()
    assert of(on_gpus, lease).idle == use.idle


def test_a_gpu_that_works_again_takes_the_warning_back(on_gpus: Kit) -> None:
    lease = on_gpus.ask("gpu1")
    assert wait(on_gpus, lease, 3400, sample=real(0), gpu_busy=False)[-1]
    assert wait(on_gpus, lease, 10, sample=real(50), gpu_busy=True) == [""]
    assert set(wait(on_gpus, lease, 3000, sample=real(0), gpu_busy=False)) == {""}


def test_idleness_goes_on_over_a_restart_and_does_not_jump(on_gpus: Kit) -> None:
    lease = on_gpus.ask("gpu1")
    wait(on_gpus, lease, 3590, sample=real(90), gpu_busy=True)
    on_gpus.runner.stop()
    on_gpus.restart()
    assert wait(on_gpus, lease, 20, gpu_busy=False)[-1] == ""
    assert on_gpus.runner.board.leases[lease.id].idle_seconds <= 30
