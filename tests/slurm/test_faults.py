"""What fails around a portal on Slurm: the controller, nodes, accounting, jobs touched by hand, the portal itself."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nvlhub.engines.base import EngineError, Handle, Task
from nvlhub.engines.processes import of_lease
from nvlhub.engines.registry import make_engine
from nvlhub.engines.slurm.private import Slurm
from nvlhub.errors import FailedError
from nvlhub.forms import NewReconciliation
from nvlhub.text import say
from nvlhub.wire import EndReason, Kind, LeaseView, Share
from tests.faults import Crash
from tests.portal_kit import ADMIN, MAILBOX
from tests.slurm.kit import Hand, ServedBySlurm, hand, kernel, settings
from tests.waiting import until

pytestmark = pytest.mark.slurm


def breakable(directory: Path, says: str) -> Path:
    """Return a directory of Slurm's commands that do `says` first while a file ``broken`` is in it."""
    directory.mkdir()
    for name in ("sbatch", "squeue", "scancel", "scontrol", "sacct"):
        (directory / name).write_text(
            f'#!/bin/sh\nif [ -e {directory}/broken ]; then {says}; fi\nexec /usr/bin/{name} "$@"\n'
        )
        (directory / name).chmod(0o755)
    return directory


def job_of(portal: Hand, lease: LeaseView) -> str:
    [number] = portal.jobs()[lease.id]
    return str(number)


def node_of(portal: Hand, lease: LeaseView) -> str:
    [share] = portal.kit.seen(lease).placement
    return f"{share.domain}-{share.tray:02}"


# --- the controller ---------------------------------------------------------------------------------------------------


async def test_kernels_live_while_the_controller_is_away_and_starts_wait(served: ServedBySlurm) -> None:
    def alive(lease: str) -> dict[str, str]:
        return served.api("POST", f"/leases/{lease}/heartbeat", "t-instructor", json={})  # type: ignore[no-any-return]

    async with kernel() as notebook:
        pid = await notebook.run("import os; x = 1; print(os.getpid())")
        served.slurm.stop_controller()
        try:
            await asyncio.to_thread(until, lambda: served.portal.desk.board.away)
            waiting = served.api(
                "POST", "/leases", "t-instructor", headers={"Idempotency-Key": "waits"},
                json={"project": "demo", "profile": "gpu2", "mailbox": MAILBOX.model_dump()},
            )["id"]  # fmt: skip
            back = time.monotonic() + 6
            while time.monotonic() < back:
                assert await notebook.run("print(os.getpid(), x)") == f"{pid} 1"
                states = {lease["id"]: lease["state"] for lease in served.leases()}
                assert states == {notebook.lease: "running", waiting: "held"}
                assert alive(waiting)["state"] == "held"
                await asyncio.sleep(0.3)
            shown = served.api("GET", f"/leases/{waiting}", headers={"Accept-Language": "en"})["detail"]
            assert shown == say("engine-away-waiting", "en")
        finally:
            # Without waiting for it here: the kernel's signs of life come from this loop.
            served.slurm._start("slurmctld", "slurmctld", "-D")
            await asyncio.to_thread(until, lambda: "is UP" in served.slurm._said("scontrol", "ping"))
        await asyncio.to_thread(until, lambda: alive(waiting)["state"] == "running")
        assert served.portal.desk.board.away is False
        assert {lease: len(found) for lease, found in served.jobs().items()} == {notebook.lease: 1, waiting: 1}
        served.api("DELETE", f"/leases/{waiting}")
    ended = await asyncio.to_thread(served.settled)
    assert {lease["end_reason"] for lease in ended} == {"user", "admin"}
    assert served.portal.registry.reconciling.run(ADMIN, NewReconciliation()).found == []


@pytest.mark.parametrize("late", [False, True])
def test_a_start_that_was_taken_without_an_answer_is_not_lost_and_leaves_no_twin(
    cluster: Slurm, tmp_path: Path, late: bool
) -> None:
    """It may be there at the next look, or come when the start was repeated long since."""
    commands, go = breakable(tmp_path / "bin", "true"), tmp_path / "go"
    (commands / "sbatch").write_text(
        f'#!/bin/sh\n[ "$1" = --parsable ] && [ -e {commands}/broken ] || exec /usr/bin/sbatch "$@"\nrm {commands}/broken\ncat > {tmp_path}/script\n'
        f'(until [ -e {go} ]; do sleep 0.1; done; exec /usr/bin/sbatch "$@" {tmp_path}/script) &\nexec sleep 3\n'
    )
    if not late:
        go.touch()
    portal = hand(cluster, tmp_path / "portal", told={"bin": commands, "timeout": 1})
    (commands / "broken").touch()
    lease = portal.kit.ask("gpu2")
    assert portal.kit.seen(lease).state.value == "placed"
    portal.until_state(lease)
    if late:
        go.touch()
        numbers = portal.until(lambda: len(found := portal.jobs("all")[lease.id]) == 2 and found)
        portal.until(lambda: len(portal.jobs().get(lease.id, ())) == 1)
        # The one that was started knowingly goes on.
        assert portal.jobs()[lease.id] == [min(numbers)]
    portal.until_state(lease)
    assert len(portal.jobs()[lease.id]) == 1
    portal.settled()
    portal.kit.store.close()


def test_of_two_jobs_of_one_lease_the_later_ends(portal: Hand) -> None:
    lease = portal.kit.ask()
    portal.until_state(lease)
    first = portal.jobs()[lease.id]
    words = f"nvlhub:{portal.settings.pool}:{lease.id}"
    portal.slurm.run("sbatch", "--output=/dev/null", f"--comment={words}", "--wrap", "sleep 60")
    assert len(portal.jobs()[lease.id]) == 2
    portal.until(lambda: portal.jobs()[lease.id] == first)
    assert portal.kit.seen(lease).state.value == "running"


NO_MUNGE = (
    "squeue: error: If munged is up, restart with --num-threads=10\\n"
    'squeue: error: Munge encode failed: Failed to access "/run/munge/munge.socket.2": No such file or directory\\n'
    "slurm_load_jobs error: Protocol authentication error"
)
SKEW = "squeue: error: Munge decode failed: Rewound credential\\nsqueue: error: Check for out of sync clocks"
NO_CONTROLLER = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"


@pytest.mark.parametrize(
    ("says", "text"),
    [
        ("exec sleep 60", "slurm-away"),
        (f"printf '{NO_MUNGE}' >&2; exit 1", "slurm-munge"),
        (f"printf '{SKEW}' >&2; exit 1", "slurm-munge"),
        (f"printf '{NO_CONTROLLER}' >&2; exit 1", "slurm-away"),
    ],
)
def test_commands_that_hang_or_fail_lose_nobodys_lease_and_keep_nobody_waiting_long(
    cluster: Slurm, tmp_path: Path, says: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    commands = breakable(tmp_path / "bin", says)
    portal = hand(cluster, tmp_path / "portal", told={"bin": commands, "timeout": 1})
    leases = [portal.kit.ask(), portal.kit.ask("gpu4")]
    portal.until_state(*leases)
    (commands / "broken").touch()
    for _ in range(3):
        # A look and a count of the capacity: each may take as long as one command.
        begun = time.monotonic()
        portal.kit.step()
        assert time.monotonic() - begun < 2.8
    assert portal.kit.runner.board.away
    assert {portal.kit.seen(lease).state.value for lease in leases} == {"running"}
    waiting = portal.kit.ask()
    ending = portal.kit.desk.end(ADMIN, leases[0].id)
    assert (portal.kit.seen(waiting).state.value, ending.state.value) == ("held", "ending")
    assert f"Slurm does not answer: {text}" in caplog.text
    (commands / "broken").unlink()
    portal.until_state(waiting, leases[1])
    portal.until_state(leases[0], state="settled")
    assert portal.differences() == []
    portal.settled()
    portal.kit.store.close()


# --- nodes ------------------------------------------------------------------------------------------------------------


async def gone(manager: Any) -> None:
    """Wait until a kernel is seen as gone: nobody said good-bye, so the next sign of life tells."""
    async with asyncio.timeout(60):
        while await manager.is_alive():
            await asyncio.sleep(0.1)


async def test_a_node_that_fails_under_a_kernel_ends_it_and_refunds_it(served: ServedBySlurm) -> None:
    slurm = served.slurm
    async with kernel("nvlhub-demo.gpu2") as notebook:
        node, lease = await notebook.run("import os; print(os.environ['SLURMD_NODENAME'])"), notebook.lease
        slurm.kill_node(node)
        slurm.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        try:
            [ended] = await asyncio.to_thread(until, lambda: served.leases(state="ended"))
            assert (ended["id"], ended["end_reason"], ended["refunded"]) == (lease, "engine", ended["charged"])
            assert (
                say("slurm-end-node", "en")
                in served.api("GET", f"/leases/{lease}", headers={"Accept-Language": "en"})["detail"]
            )
            with served.portal.store.reading() as unit:
                assert unit.paid(lease) == 0
            # The node lost its daemon, not its power: what ran there ends by itself.
            await asyncio.to_thread(until, lambda: not of_lease(lease))
            await gone(notebook.manager)
            served.portal.runner.capacity_changed()
            await asyncio.to_thread(
                until, lambda: sum(domain.free_gpus for domain in served.portal.desk.board.domains) == 68
            )
        finally:
            slurm.run("scontrol", "update", f"nodename={node}", "state=resume")
            slurm.start_node(node)


def test_a_node_that_is_drained_keeps_its_job_and_gets_no_other(portal: Hand) -> None:
    lease = portal.kit.ask()
    portal.until_state(lease)
    node, before = node_of(portal, lease), portal.kit.free()
    portal.slurm.run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    try:
        portal.until(lambda: portal.kit.free() == before - 3)
        assert portal.kit.seen(lease).state.value == "running"
        other = portal.kit.ask()
        portal.until_state(other)
        assert node_of(portal, other) != node
    finally:
        portal.slurm.run("scontrol", "update", f"nodename={node}", "state=resume")
    portal.until(lambda: portal.kit.free() == before - 1)


def test_a_lease_whose_node_is_drained_before_it_starts_goes_to_another(portal: Hand) -> None:
    """It is held to its node: there it would wait for as long as that is drained."""
    slurm = portal.slurm
    # Somebody has all cores of a tray, and none of its GPUs: the portal places a lease there, and Slurm lets it wait.
    cores = slurm.run("sinfo", "-h", "-n", "nvl001-01", "-o", "%c").split()[0]
    busy = ("sbatch", "--parsable", "-o", "/dev/null", "-w", "nvl001-01", "-n", cores, "--mem=1", "--wrap", "sleep 300")
    blocker = slurm.run(*busy).strip()
    try:
        portal.until(lambda: slurm.run("squeue", "-h", "-j", blocker, "-o", "%T").strip() == "RUNNING")
        lease = portal.kit.ask()
        assert node_of(portal, lease) == "nvl001-01"
        portal.until(lambda: portal.kit.seen(lease).detail)
        slurm.run("scontrol", "update", "nodename=nvl001-01", "state=drain", "reason=test")
        portal.until_state(lease)
        assert node_of(portal, lease) != "nvl001-01"
        seen = portal.kit.seen(lease)
        assert (seen.charged, len(portal.jobs()[lease.id])) == (0, 1)
    finally:
        slurm.run("scancel", blocker)
        slurm.run("scontrol", "update", "nodename=nvl001-01", "state=resume")


def test_a_partition_that_is_closed_is_told_and_what_waits_starts_when_it_opens(portal: Hand) -> None:
    slurm = portal.slurm
    slurm.run("scontrol", "update", "partitionname=gpu", "state=down")
    try:
        pending = slurm.run(
            "sbatch", "--parsable", "-o", "/dev/null", "--gpus=1", "-p", "gpu", "--wrap", "sleep 1"
        ).strip()
        portal.until(lambda: portal.kit.runner.board.closed and portal.kit.runner.board.queue_outside == 1)
        lease = portal.kit.ask()
        portal.kit.step()
        seen = portal.kit.seen(lease)
        assert (seen.state.value, portal.jobs()) == ("held", {})
        assert "partition is closed" in seen.detail
        slurm.run("scancel", pending)
    finally:
        slurm.run("scontrol", "update", "partitionname=gpu", "state=up")
    portal.until_state(lease)
    portal.until(lambda: portal.kit.runner.board.queue_outside == 0)


# --- hands ------------------------------------------------------------------------------------------------------------


def test_what_people_do_to_a_job_by_hand(portal: Hand) -> None:
    cancelled, requeued, suspended, renamed = leases = [portal.kit.ask() for _ in range(4)]
    portal.until_ran(*leases)
    slurm, numbers = portal.slurm, {lease.id: job_of(portal, lease) for lease in leases}
    slurm.run("scancel", numbers[cancelled.id])
    slurm.run("scontrol", "update", f"jobid={numbers[requeued.id]}", "requeue=1")
    slurm.run("scontrol", "requeue", numbers[requeued.id])
    slurm.run("scontrol", "suspend", numbers[suspended.id])
    slurm.run("scontrol", "update", f"jobid={numbers[renamed.id]}", "comment=x", "name=y")
    portal.until_state(cancelled, requeued, state="settled")
    seen = portal.kit.seen(cancelled)
    assert (seen.end_reason, seen.refunded) == (EndReason.LOST, 0)
    assert say("slurm-end-cancelled", "en") in seen.detail
    seen = portal.kit.seen(requeued)
    # Whoever runs a job can do that: it is no way to have GPUs for nothing.
    assert (seen.end_reason, seen.refunded) == (EndReason.LOST, 0)
    assert seen.charged > 0
    assert say("slurm-end-requeued", "en") in seen.detail
    assert {portal.kit.seen(lease).state.value for lease in (suspended, renamed)} == {"running"}
    still = {lease.id: portal.kit.seen(lease).stands_still for lease in (suspended, renamed)}
    assert still == {suspended.id: say("slurm-still", "en"), renamed.id: ""}
    portal.until(lambda: portal.jobs().keys() == {suspended.id})
    # Whatever it is called, it is the lease's and ends with it.
    portal.kit.desk.end(ADMIN, renamed.id)
    portal.until_state(renamed, state="settled")
    assert slurm.run("squeue", "-h", "-j", numbers[renamed.id], "-t", "R,PD") == ""
    slurm.run("scontrol", "resume", numbers[suspended.id])
    portal.until(lambda: portal.kit.seen(suspended).stands_still == "")


def test_accounting_that_is_away_changes_nothing_and_tells_later(portal: Hand) -> None:
    lease = portal.kit.ask()
    portal.until_ran(lease)
    portal.slurm.stop_accounting()
    try:
        portal.kit.desk.end(ADMIN, lease.id)
        portal.until_state(lease, state="settled")
        before = portal.kit.seen(lease).charged
        with pytest.raises(EngineError):
            portal.engine.records(0)
        with pytest.raises(FailedError, match="engine-records"):
            portal.kit.registry.reconciling.run(ADMIN, NewReconciliation())
    finally:
        portal.slurm.start_accounting()
    assert portal.kit.seen(lease).charged == before
    portal.slurm.until(lambda: portal.exact() == [], "the accounting of what ended meanwhile")
    assert portal.differences() == []


# --- the portal -------------------------------------------------------------------------------------------------------


def test_a_portal_that_dies_before_the_number_of_a_job_is_saved_finds_the_job(
    portal: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = portal.engine.start

    def dies(task: Task) -> Iterator[Handle]:
        first, _ = start(task)
        yield first
        raise Crash

    monkeypatch.setattr(portal.engine, "start", dies)
    with pytest.raises(Crash):
        portal.kit.ask("gpu2")
    [[lease_id, [number]]] = portal.jobs().items()
    portal.restart()
    lease = portal.kit.desk.lease(ADMIN, lease_id)
    portal.until_state(lease)
    assert portal.jobs() == {lease_id: [number]}
    assert portal.kit.runner.board.leases[lease_id].handle["job"] == number


def test_a_job_that_ended_and_was_forgotten_while_the_portal_was_down_is_charged_by_the_accounting(
    portal: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = portal.kit.ask()
    portal.until_ran(lease)
    portal.slurm.run("scancel", job_of(portal, lease))
    portal.slurm.until(lambda: not portal.jobs(), "the end of the job")
    portal.slurm.until(lambda: portal.recorded(lease), "the accounting of the job")
    ask = portal.engine._commands.__class__.ask

    def forgetful(commands: object, *words: str) -> str:
        return "" if words[0] == "squeue" else ask(commands, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(portal.engine._commands.__class__, "ask", forgetful)
    portal.restart()
    portal.until_state(lease, state="settled")
    assert portal.kit.seen(lease).charged == 1000 * portal.recorded(lease)


def test_two_portals_on_one_cluster_leave_each_other_alone(portal: Hand, tmp_path: Path) -> None:
    other = hand(portal.slurm, tmp_path / "other")
    mine = portal.kit.ask("gpu4")
    portal.until_state(mine)
    # Its first look: it knows what the other one holds before it places anything.
    other.until(lambda: other.kit.free() == 68)
    theirs = other.kit.ask("gpu2")
    other.until_state(theirs)
    orphan = Task(str(uuid.uuid4()), Kind.KERNEL, "x", (Share(domain="nvl001", tray=17, gpus=(0,)),), MAILBOX, 600)
    list(other.engine.start(orphan))
    assert portal.engine.strays(frozenset()) == {mine.id}
    for _ in range(3):
        portal.kit.step()
    assert other.jobs().keys() == {theirs.id, orphan.lease_id}
    # What the others hold is taken, for each of them.
    portal.until(lambda: portal.kit.free() == 72 - 4 - 2 - 1)
    # Nobody knows this one: its own portal ends it.
    other.until(lambda: other.jobs().keys() == {theirs.id})
    other.settled()
    other.kit.store.close()
    assert portal.jobs().keys() == {mine.id}


def test_hundreds_of_strangers_cost_one_look_a_turn(portal: Hand) -> None:
    slurm = portal.slurm
    for state in ("--hold", "--begin=now+3600"):
        slurm.run("sbatch", "--array=1-250", state, "--output=/dev/null", "--gres=gpu:1", "--wrap", "sleep 60")
    slurm.run("sbatch", "--array=1-3", "--output=/dev/null", "--gres=gpu:4", "--wrap", "sleep 60")
    slurm.until(lambda: slurm.run("squeue", "-h", "-r", "-t", "R").count("\n") == 3, "strangers that run")
    # Held to a node that a stranger took a moment before, a job would wait for it.
    portal.until(lambda: portal.kit.free() == 72 - 12)
    lease = portal.kit.ask()
    portal.until_state(lease)
    portal.until(lambda: portal.kit.free() == 72 - 12 - 1)
    before, turns = slurm.run("sdiag"), 5
    for _ in range(turns):
        time.sleep(0.45)
        portal.kit.step()
    asked = {
        name: counted(slurm.run("sdiag"), name) - counted(before, name)
        for name in ("REQUEST_JOB_INFO", "REQUEST_JOB_INFO_SINGLE", "REQUEST_NODE_INFO", "REQUEST_TOPO_INFO")
    }
    # This loop counts the capacity at every turn; a portal does so every minute.
    assert asked == {
        "REQUEST_JOB_INFO": turns, "REQUEST_JOB_INFO_SINGLE": 0, "REQUEST_NODE_INFO": turns, "REQUEST_TOPO_INFO": turns,
    }  # fmt: skip
    strangers = slurm.run("squeue", "-h", "-r", "-o", "%k").count("\n") - 1
    assert strangers == 503
    portal.settled()
    assert slurm.run("squeue", "-h", "-r").count("\n") == strangers


def counted(said: str, name: str) -> int:
    """Return how often the controller was asked something, as sdiag says."""
    line = next((line for line in said.splitlines() if line.split("(")[0].strip() == name), "count:0")
    return int(line.split("count:")[1].split()[0])


def test_settings_name_a_cluster_that_is_away(cluster: Slurm, tmp_path: Path) -> None:
    from nvlhub.settings import SettingsError  # noqa: PLC0415

    commands = breakable(tmp_path / "bin", "exit 1")
    (commands / "broken").touch()
    with pytest.raises(SettingsError, match="engine `slurm`"):
        make_engine(settings(tmp_path, cluster, told={"bin": commands}))
