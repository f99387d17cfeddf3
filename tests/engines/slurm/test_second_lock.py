"""The second lock and reservations on a real Slurm, told by commands from a portal over HTTP."""

from __future__ import annotations

import getpass
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nvlhub.engines.slurm.private import Slurm
from nvlhub.engines.slurm.reserve import SOON
from nvlhub.forms import NewReservation
from tests.cli.conftest import Terminal, nvlhub  # noqa: F401  # a fixture
from tests.conftest import HandClock
from tests.portal_kit import ADMIN, GRACE

pytestmark = pytest.mark.slurm

RESERVE = str(Path(sys.executable).with_name("nvlhub-slurm-reserve"))


@pytest.fixture
def clock() -> HandClock:
    """Slurm has the time that it is."""
    return HandClock(int(time.time()))


@pytest.fixture
def there(slurm: Slurm, nvlhub: Terminal, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:  # noqa: F811
    """A portal beside the Slurm, which is left as it was found."""
    for name in ("SLURM_CONF", "MYSQL_UNIX_PORT", "PATH"):
        monkeypatch.setenv(name, slurm.environment[name])
    yield nvlhub
    slurm.cancel_all()
    for account in ("demo", "nvlhub.low", "nvlhub.programme.demo", "nvlhub", "second-other"):
        subprocess.run(
            ["sacctmgr", "-i", "delete", "account", "where", f"name={account}"], env=slurm.environment, check=False,
            capture_output=True, timeout=60,
        )  # fmt: skip


def sync(there: Terminal, *words: str, code: int = 0) -> Any:
    return there.json("slurm", "sync", "--run-as", getpass.getuser(), *words, code=code)


def states(told: Any) -> set[str]:
    return {row["state"] for row in told["changes"]}


def submit(slurm: Slurm, *words: str) -> str:
    return slurm.run("sbatch", "--parsable", "--output=/dev/null", *words, "--wrap", "sleep 600").strip()


def refused(slurm: Slurm, *words: str) -> str:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        submit(slurm, *words)
    return str(caught.value.stderr)


def job(slurm: Slurm, number: str) -> tuple[str, str]:
    state, reason = slurm.run("squeue", "-h", "-j", number, "-o", "%T|%r").strip().split("|")
    return state, reason


def minutes_of(slurm: Slurm, account: str) -> int:
    told = slurm.run("sacctmgr", "-nP", "show", "assoc", f"account={account}", "user=", "format=user,grptresmins")
    return int(told.splitlines()[0].split("|")[1].removeprefix("gres/gpu="))


def test_a_sync_is_tried_done_and_done_again_with_nothing_to_do(slurm: Slurm, there: Terminal) -> None:
    slurm.add_account("second-other")
    before = slurm.run("sacctmgr", "-nP", "show", "assoc", "account=second-other,root")
    tried = sync(there)
    assert states(tried) == {"would be done"}
    assert tried["notes"] == []
    assert "demo" not in slurm.run("sacctmgr", "-nP", "show", "account", "format=account").split()
    assert states(sync(there, "--apply")) == {"done"}
    assert sync(there, "--apply")["changes"] == []
    assert slurm.run("sacctmgr", "-nP", "show", "assoc", "account=second-other,root") == before
    # Caps and members come and go.
    there.run("project", "set", "demo", "--cap", "16")
    [capped] = sync(there, "--apply")["changes"]
    assert capped["change"].startswith("account demo: GPUs at once: 16 instead of no limit")
    there.run("project", "set", "demo", "--no-cap")
    told = there.run("slurm", "sync", "--run-as", getpass.getuser(), "--apply")
    assert "no limit instead of 16" in told
    assert "nothing to do" in there.run("slurm", "sync", "--run-as", getpass.getuser())
    members = there.json("slurm", "sync", "--apply")["changes"]
    assert {row["state"] for row in members} == {"done"}
    assert f"user {getpass.getuser()} in account demo: remove" in {row["change"] for row in members}
    assert there.json("slurm", "sync")["changes"] == []


def test_a_name_that_others_have_is_refused_and_nothing_is_changed(slurm: Slurm, there: Terminal) -> None:
    slurm.add_account("demo")
    told = there.run("slurm", "sync", "--apply", code=1)
    assert "Accounts of others have these names already: demo" in told
    assert "nvlhub" not in slurm.run("sacctmgr", "-nP", "show", "account", "format=account").split()
    assert states(sync(there, "--account", "nvlhub-{project}", "--apply")) == {"done"}
    assert "nvlhub-demo" in slurm.run("sacctmgr", "-nP", "show", "account", "format=account").split()
    slurm.run("sacctmgr", "-i", "delete", "user", "where", f"name={getpass.getuser()}", "account=nvlhub-demo")
    slurm.run("sacctmgr", "-i", "delete", "account", "where", "name=nvlhub-demo")


def test_what_the_portal_holds_starts_and_what_is_beyond_does_not(slurm: Slurm, there: Terminal) -> None:
    """One award of 10 GPU-hours, held to the last second: all of it starts at Slurm, and next to nothing more."""
    portal = there.kit
    for row in there.json("award", "list"):
        there.run("award", "revoke", row["id"], "--reason", "another is given")
    end = time.strftime("%Y-%m-%d", time.gmtime(portal.clock.now() + 90 * 86_400))
    award = there.json("award", "add", "demo", "10", "--ends", end)["id"]
    there.run("project", "set", "demo", "--cap", "4")
    sync(there, "--apply")
    leases = [portal.ask("gpu1", seconds=seconds) for seconds in (4 * 3600, 4 * 3600, 3600 + 1, 3600 - 1)]
    assert there.json("award", "show", award)["left"] == 0
    numbers = [
        submit(slurm, "--account=demo", "--gres=gpu:1", f"--time={(lease.seconds + GRACE) // 60 + 2}")
        for lease in leases
    ]
    slurm.until(lambda: {job(slurm, number)[0] for number in numbers} == {"RUNNING"}, "the start of all", patience=30)
    there.run("project", "set", "demo", "--no-cap")
    sync(there, "--apply")
    # Somebody who gets past the portal finds no more than what was rounded up.
    spare = minutes_of(slurm, "demo") - 600
    assert spare <= 60
    beyond = submit(slurm, "--account=demo", "--gres=gpu:4", f"--time={spare // 4 + 1}")
    slurm.until(lambda: job(slurm, beyond)[1] == "AssocGrpGRESMinutes", "the reason", patience=30)
    # What could never start is refused at once.
    assert "AssocGrpGRESMinutes" in refused(slurm, "--account=demo", "--gres=gpu:4", "--time=10000")


def test_who_was_awarded_nothing_starts_nothing_and_pre_emptible_leases_are_not_counted(
    slurm: Slurm, there: Terminal
) -> None:
    there.run("programme", "set", "demo", "--at-zero", "low_priority")
    for row in there.json("award", "list"):
        there.run("award", "revoke", row["id"], "--reason", "it is over")
    sync(there, "--apply")
    assert minutes_of(slurm, "demo") == 0
    number = submit(slurm, "--account=nvlhub.low", "--gres=gpu:4", "--time=1000")
    slurm.until(lambda: job(slurm, number)[0] == "RUNNING", "the start", patience=30)
    assert "AssocGrpGRESMinutes" in refused(slurm, "--account=demo", "--gres=gpu:1", "--time=1")


def test_what_jobs_still_use_is_left_until_they_end(slurm: Slurm, there: Terminal) -> None:
    there.run("programme", "set", "demo", "--at-zero", "low_priority")
    sync(there, "--apply")
    number = submit(slurm, "--account=nvlhub.low", "--gres=gpu:1", "--time=10")
    slurm.until(lambda: job(slurm, number)[0] == "RUNNING", "the start", patience=30)
    there.run("programme", "set", "demo", "--at-zero", "stop")
    assert states(sync(there, "--apply")) == {"left until its jobs end"}
    slurm.cancel_all()
    assert states(sync(there, "--apply")) == {"done"}
    assert sync(there)["changes"] == []


def test_the_first_failure_stops_it_and_all_is_told(
    slurm: Slurm, there: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = slurm.run("which", "sacctmgr").strip()
    wrapper = tmp_path / "bin" / "sacctmgr"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in *"add account demo "*) echo no such luck >&2; exit 1;; esac\nexec {real} "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{slurm.environment['PATH']}")
    told = sync(there, "--apply", code=1)
    how = [row["state"] for row in told["changes"]]
    assert how == sorted(how, key=["done", "failed", "not tried"].index)
    assert set(how) == {"done", "failed", "not tried"}
    assert [row["said"] for row in told["changes"] if row["state"] == "failed"] == ["no such luck"]


def reserve(there: Terminal, *words: str, code: int = 0) -> list[dict[str, Any]]:
    told = there.json("slurm", "reserve", "--command", RESERVE, "--partition", "gpu", *words, code=code)
    changes: list[dict[str, Any]] = told["changes"]
    return changes


def test_a_reservation_keeps_trays_for_its_project_until_it_is_taken_away(slurm: Slurm, there: Terminal) -> None:
    now = there.kit.clock.now()
    slurm.add_account("second-other")
    sync(there, "--apply")
    made = there.kit.registry.reservations.add(
        ADMIN, NewReservation(name="Course", project="demo", gpus=8, starts=now, ends=now + 3600)
    )
    node = f"{made.trays[0].domain}-{made.trays[0].tray:02}"
    [tried] = reserve(there)
    assert (tried["state"], "2 nodes for demo" in tried["change"]) == ("would be done", True)
    assert [row["state"] for row in reserve(there, "--apply")] == ["done"]
    assert reserve(there, "--apply") == []
    name = f"nvlhub-{made.id}"
    slurm.until(lambda: "State=ACTIVE" in slurm.run("scontrol", "-o", "show", "reservation", name), "the start")
    job_of = ("--gres=gpu:1", "--time=5", f"--nodelist={node}")
    stranger = submit(slurm, "--account=second-other", *job_of)
    member = submit(slurm, "--account=demo", f"--reservation={name}", *job_of)
    slurm.until(lambda: job(slurm, member)[0] == "RUNNING", "the member's start", patience=30)
    slurm.until(lambda: "reserved" in job(slurm, stranger)[1].lower(), "the stranger's wait", patience=30)
    assert "Access denied" in refused(slurm, "--account=second-other", f"--reservation={name}", *job_of)
    # A place of its project outside of it can be had, too.
    elsewhere = submit(
        slurm, "--account=demo", f"--reservation={name}", "--gres=gpu:1", "--time=5", "--nodelist=nvl001-18"
    )
    slurm.until(lambda: job(slurm, elsewhere)[0] == "RUNNING", "the start elsewhere", patience=30)
    # It is taken away while its jobs run: they go on, and it keeps nobody out any more.
    there.kit.registry.reservations.cancel(ADMIN, int(made.id))
    [gone] = reserve(there, "--apply")
    assert (gone["state"], "its jobs go on" in gone["said"]) == ("done", True)
    assert reserve(there, "--apply") == []
    slurm.run("scontrol", "update", f"reservation={name}", f"endtime=uts{int(time.time()) + 2}")
    slurm.until(lambda: job(slurm, stranger)[0] == "RUNNING", "the stranger's start", patience=SOON)
    assert job(slurm, member)[0] == "RUNNING"
    slurm.cancel_all()
    slurm.until(lambda: name not in slurm.run("scontrol", "show", "reservation"), "the end of the reservation")


def test_a_reservation_is_changed_and_one_that_cannot_be_is_told(slurm: Slurm, there: Terminal) -> None:
    now = there.kit.clock.now()
    sync(there, "--apply")
    add = there.kit.registry.reservations.add
    first = add(ADMIN, NewReservation(name="A", project="demo", gpus=4, starts=now + 7200, ends=now + 9000))
    slurm.run("scontrol", "create", "reservation", "reservation=maintenance", f"starttime=uts{now + 7200}", "duration=10",
              "nodes=nvl001-17", f"users={getpass.getuser()}", "flags=IGNORE_JOBS")  # fmt: skip
    assert [row["state"] for row in reserve(there, "--apply")] == ["done"]
    there.run("reservation", "move", first.id, "--ends", str(now + 10_000))
    [moved] = reserve(there, "--apply")
    assert (moved["command"], moved["state"]) == (["update", f"nvlhub-{first.id}", "--end", str(now + 10_000)], "done")
    wrong = reserve(there, "--apply", "--node", "tray-{tray}", code=1)
    assert [(row["state"], "Invalid node name" in row["said"]) for row in wrong] == [("failed", True)]
    there.run("reservation", "cancel", first.id)
    assert [row["state"] for row in reserve(there, "--apply")] == ["done"]
    left = slurm.run("scontrol", "-o", "show", "reservation")
    assert "ReservationName=maintenance" in left
    assert "nvlhub-" not in left
    slurm.run("scontrol", "delete", "reservation=maintenance")
    assert json.loads(there.run("slurm", "reserve", "--command", RESERVE, "--json")) == {"notes": [], "changes": []}
