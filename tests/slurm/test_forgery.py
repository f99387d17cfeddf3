"""What the users of a cluster can write on, and do to, jobs: nothing of it stops the portal, or has GPUs for nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from nvlhub.engines.slurm.commands import Commands
from nvlhub.engines.slurm.private import Slurm
from nvlhub.text import say
from nvlhub.visitor import Visitor
from nvlhub.wire import EndReason, LeaseView
from tests.portal_kit import ADMIN
from tests.slurm.kit import A, B, Hand, as_root

pytestmark = [pytest.mark.slurm, as_root]


def job_by_hand(slurm: Slurm, *options: str, user: str = B) -> str:
    """Submit a job outside the portal; return its number."""
    return slurm.run(
        "sbatch", "--parsable", "--output=/dev/null", *options, "--wrap", "sleep 120", user=user
    ).strip()  # fmt: skip


def running(theirs: Hand, profile: str = "gpu1") -> tuple[LeaseView, int]:
    """Return a lease of A's that runs, and its job."""
    lease = theirs.kit.ask(profile, who=Visitor(A, server=f"{A}/"))
    theirs.until_ran(lease)
    [job] = theirs.jobs()[lease.id]
    return lease, job


def ended(theirs: Hand, lease: LeaseView) -> LeaseView:
    theirs.kit.desk.end(ADMIN, lease.id)
    theirs.until_state(lease, state="settled")
    return theirs.kit.seen(lease)


@pytest.mark.parametrize(
    "options",
    [
        ["--job-name=x Nodes=a[b] GRES=gpu:1", "--gres=gpu:4"],
        ["--job-name=x Nodes=nvl001-09 GRES=gpu:1(IDX:0)", "--gres=gpu:4"],
        ["--job-name=x\\ny\u2028z", "--gres=gpu:4"],
        ["--gpus=4"],
        ["--gpus-per-task=4", "--ntasks=1"],
    ],
)
def test_what_strangers_hold_is_seen_whatever_they_call_it(theirs: Hand, options: list[str]) -> None:
    job_by_hand(theirs.slurm, *(option.replace("\\n", "\n") for option in options), "--nodelist=nvl001-01")
    theirs.until(lambda: theirs.kit.free() == 68)
    lease, _ = running(theirs)
    assert theirs.kit.seen(lease).placement[0].tray != 1
    assert ended(theirs, lease).charged > 0


def test_many_strangers_with_nasty_names_are_seen_at_once(theirs: Hand) -> None:
    job_by_hand(theirs.slurm, "--job-name=x Nodes=a[1-90000]b[1-90000] GRES=gpu:1(IDX:0-2000000000)", "--partition=cpu")
    for number in range(9):
        job_by_hand(theirs.slurm, "--gres=gpu:1", f"--job-name=x Nodes=nvl001-18 GRES=gpu:4(IDX:0-3) {number}")
    theirs.until(lambda: theirs.kit.free() == 63)


def test_who_puts_their_own_job_back_into_the_queue_pays(theirs: Hand) -> None:
    lease, job = running(theirs)
    theirs.slurm.run("scontrol", "update", f"JobId={job}", "Requeue=1", user=A)
    theirs.slurm.run("scontrol", "requeue", str(job), user=A)
    theirs.until_state(lease, state="settled")
    seen = theirs.kit.seen(lease)
    assert (seen.end_reason, seen.refunded) == (EndReason.LOST, 0)
    assert seen.charged >= 1000


def test_a_record_counts_by_number_and_account_alone(theirs: Hand) -> None:
    lease, job = running(theirs)
    name = f"nvlhub-{theirs.settings.pool}-{lease.id}"
    forged = [
        job_by_hand(theirs.slurm, f"--job-name={name}", "--nodes=3", "--gres=gpu:4", user=user) for user in (A, B)
    ]
    theirs.until(lambda: theirs.kit.free() == 47)
    # The words of its own job, changed, make no record less.
    theirs.slurm.run("scontrol", "update", f"JobId={job}", "JobName=x\ny", user=A)
    seen = ended(theirs, lease)
    # Accounting has nothing of a job that ran for less than a second.
    listed = f"--jobs={','.join(forged)}"
    theirs.until(lambda: "0:00" not in theirs.slurm.run("squeue", "-h", listed, "-o", "%M").split())
    for number in forged:
        theirs.slurm.run("scancel", number)
    called = {job, *map(int, forged)}
    theirs.slurm.until(lambda: {record.task["job"] for record in theirs.engine.records(0)} >= called, "the accounting")
    assert {record.lease_id for record in theirs.engine.records(0) if record.task["job"] in called} == {lease.id}
    assert theirs.differences() == []
    assert theirs.kit.seen(lease).charged == seen.charged


def test_a_lease_does_not_go_on_with_another_job(theirs: Hand) -> None:
    lease, job = running(theirs)
    twin = job_by_hand(theirs.slurm, "--gres=gpu:4", user=A)
    theirs.slurm.run("scancel", str(job), user=A)
    mark = f"nvlhub:{theirs.settings.pool}:{lease.id}"
    theirs.slurm.run("scontrol", "update", f"JobId={twin}", f"Comment={mark}", user=A)
    theirs.until_state(lease, state="settled")
    assert theirs.kit.seen(lease).end_reason is EndReason.LOST
    theirs.slurm.until(lambda: not theirs.slurm.run("squeue", "-h", "-t", "R", "-j", twin), "the end of the twin")


def test_many_jobs_with_our_mark_are_ended_in_one_go(theirs: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    told = watched(monkeypatch)
    pool = theirs.settings.pool
    for number in range(12):
        marks = f"--comment=nvlhub:{pool}:00000000-0000-4000-8000-{number:012}"
        job_by_hand(theirs.slurm, "--hold", "--gres=gpu:1", marks)
    theirs.until(lambda: theirs.jobs() == {})
    assert len([words for words in told if words[0] == "scancel"]) <= 2


def test_nobody_is_root(theirs: Hand) -> None:
    with theirs.kit.store.writing() as unit:
        unit.know_user("root", theirs.kit.clock.now())
        unit.set_member("demo", "root", "member")
    lease = theirs.kit.ask(who=Visitor("root", server="root/"))
    theirs.until_state(lease, state="settled")
    assert say("slurm-no-root", "en") in theirs.kit.seen(lease).detail
    assert theirs.slurm.run("squeue", "-h", "-u", "root") == ""


def test_one_answer_without_a_job_ends_nothing(theirs: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    lease, _ = running(theirs)
    empty = [1]
    altered(monkeypatch, lambda words, said: "" if words[0] == "squeue" and empty and empty.pop() else said)
    since = time.monotonic() + 1.5
    theirs.until(lambda: time.monotonic() > since)
    assert not empty
    assert theirs.kit.seen(lease).state.value == "running"


def test_a_state_that_nobody_knows_ends_nothing_and_can_be_ended(theirs: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    lease, _ = running(theirs)
    altered(monkeypatch, lambda words, said: said.replace("RUNNING", "POWER_UP_NODE") if words[0] == "squeue" else said)
    since = time.monotonic() + 1.5
    theirs.until(lambda: time.monotonic() > since)
    assert theirs.kit.seen(lease).state.value == "running"
    theirs.kit.desk.end(ADMIN, lease.id)
    theirs.until_state(lease, state="settled")
    assert theirs.jobs() == {}


def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Return the commands that are told to Slurm from now on."""
    told: list[tuple[str, ...]] = []
    tell = Commands.tell

    def watched_tell(self: Commands, account: str, *command: str, **more: Any) -> str:
        told.append(command)
        return tell(self, account, *command, **more)

    monkeypatch.setattr(Commands, "tell", watched_tell)
    return told


def altered(monkeypatch: pytest.MonkeyPatch, answer: Callable[[tuple[str, ...], str], str]) -> None:
    """Have Slurm say other things than it does."""
    ask = Commands.ask
    monkeypatch.setattr(Commands, "ask", lambda self, *words: answer(words, ask(self, *words)))
