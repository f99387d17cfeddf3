"""Servers as Slurm jobs: what is submitted, what is believed, and what is told."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jupyterhub.spawner import Spawner, SpawnException
from tornado import web
from tornado.httputil import HTTPHeaders
from traitlets import HasTraits
from traitlets.config import Config

from nvlhub.engines.base import EngineError
from nvlhub.engines.slurm.commands import SlurmAwayError, SlurmRefusedError
from nvlhub.portal import configure, slurm_queue, slurm_spawner
from nvlhub.portal.embedded import server_partition
from nvlhub.portal.slurm_queue import tail
from nvlhub.portal.slurm_spawner import PortHandler, SlurmSpawner, log_name, script
from nvlhub.portal.spawner import LeaseSpawnerMixin
from nvlhub.text import LANGUAGES
from tests.portal.slurm_kit import FakeCommands, line, spawner, started

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NASTY = [
    "$(touch X)",
    "`touch X`",
    "a;touch X",
    "--wrap=touch X",
    "-u",
    "a\nNVLHUB\ntouch X\n",
    "'",
    '"',
    "a|b",
    "../..",
    "é漢",
]


@pytest.fixture
def patch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


# --- what is submitted --------------------------------------------------------------------------------------------


async def test_a_server_is_one_job_that_is_not_started_twice(patch: pytest.MonkeyPatch) -> None:
    slurm = FakeCommands()
    one = spawner(
        slurm, patch, server="second", partition="cpu", account="science", time_limit=90, mem_limit="4G", cpu_limit=1.5,
        sbatch_options=["--qos=lab", "--requeue"], directory="/home/{username}",
    )  # fmt: skip
    assert await started(one) == "http://10.0.0.9:5000"
    [(_, argv, text)] = slurm.of("sbatch")
    for option in (
        "--partition=cpu", "--account=science", "--time=2", "--mem=4096M", "--cpus-per-task=2", "--qos=lab", "--parsable",
        "--job-name=nvlhub-server", "--comment=nvlhub-server:ann/second", "--chdir=/home/ann", "--nodes=1",
        f"--output=/home/ann/{log_name('second')}",
    ):  # fmt: skip
        assert option in argv
    # The last word counts, and it is ours.
    assert argv.index("--no-requeue") > argv.index("--requeue")
    letter = json.loads(text.splitlines()[2])
    assert letter["env"]["HOME"] == "/home/ann"
    assert letter["env"]["JUPYTERHUB_API_TOKEN"] == "t" * 32
    assert "t" * 32 not in " ".join(argv)


PARTITIONS = (
    "PartitionName=gpu AllowGroups=ALL Default=YES MaxNodes=UNLIMITED MaxTime=UNLIMITED State=UP\n"
    "PartitionName=cpu AllowGroups=ALL Default=NO DefaultTime=01:00:00 MaxNodes=UNLIMITED MaxTime=7-00:00:00 State=UP\n"
    "PartitionName=short AllowGroups=ALL Default=NO MaxTime=12:00:00 State=UP\n"
)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"partition": "cpu"}, ["--time=7-00:00:00"]),
        ({}, ["--time=UNLIMITED"]),
        ({"sbatch_options": ["--partition=cpu"]}, ["--time=7-00:00:00"]),
        ({"sbatch_options": ["-p", "short"]}, ["--time=12:00:00"]),
        # Each of them can be the one that takes it.
        ({"partition": "gpu,cpu,short"}, ["--time=12:00:00"]),
        ({"partition": "nowhere"}, []),
        ({"partition": "cpu", "time_limit": 61}, ["--time=2"]),
        ({"partition": "cpu", "sbatch_options": ["--time=90", "--time-min=9"]}, ["--time=90", "--time-min=9"]),
        ({"partition": "cpu", "sbatch_options": ["-t", "90"]}, []),
    ],
)
async def test_without_a_time_limit_a_server_runs_as_long_as_its_partition_allows(
    patch: pytest.MonkeyPatch, told: dict[str, Any], words: list[str]
) -> None:
    slurm = FakeCommands()
    slurm.tell = (
        lambda account, *command, text="": (  # type: ignore[method-assign]
            PARTITIONS
            if command[-2:] == ("show", "partition")
            else FakeCommands.tell(slurm, account, *command, text=text)
        )
    )
    assert await started(spawner(slurm, patch, **told))
    assert [word for word in slurm.of("sbatch")[0][1] if word.startswith("--time")] == words


async def test_options_of_a_user_change_nothing(patch: pytest.MonkeyPatch) -> None:
    plain, dressed = FakeCommands(), FakeCommands()
    await started(spawner(plain, patch))
    options = dict.fromkeys((*SlurmSpawner.class_trait_names(), "gres", "options", "script", "environment"), "touch X")
    await started(spawner(dressed, patch, user_options=options))
    assert plain.of("sbatch") == dressed.of("sbatch")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(user=TEXT.filter(bool) | st.sampled_from(NASTY), server=TEXT | st.sampled_from(NASTY))
def test_a_name_is_a_part_of_one_word_and_never_a_word_of_its_own(
    patch: pytest.MonkeyPatch, user: str, server: str
) -> None:
    usual = spawner(FakeCommands(), patch, directory="/home/{username}").arguments(None)
    words = spawner(FakeCommands(), patch, user=user, server=server, directory="/home/{username}").arguments(None)
    assert [word.partition("=")[0] for word in words] == [word.partition("=")[0] for word in usual]
    by_name = dict(word.partition("=")[::2] for word in words)
    assert set(by_name["--comment"]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%_.~:/-")
    assert by_name["--comment"].count("/") == 1
    # Nobody's server starts in somebody else's directory.
    home = by_name["--chdir"]
    assert Path(os.path.normpath(home)).parent == Path("/home")


@settings(max_examples=60, deadline=None)
@given(value=TEXT | st.sampled_from(NASTY))
def test_what_is_in_the_letter_is_nothing_to_the_shell(value: str) -> None:
    letter = {"argv": [value], "env": {"JUPYTERHUB_USER": value}}
    echo = "import sys; sys.stdout.write(sys.stdin.read())"
    text = script(sys.executable, letter).replace("-P -m nvlkernels.server", f"-S -c {shlex.quote(echo)}")
    done = subprocess.run(["/bin/sh"], input=text, capture_output=True, text=True, timeout=20, check=True)
    assert json.loads(done.stdout) == letter
    assert done.stderr == ""


def test_the_interpreter_of_an_administrator_may_have_spaces_in_its_path() -> None:
    assert (
        script("/opt/my python", {})
        .splitlines()[1]
        .startswith("exec '/opt/my python' -P -m nvlkernels.server <<'NVLHUB'")
    )


# --- whose job it is ----------------------------------------------------------------------------------------------


async def test_a_job_is_submitted_and_cancelled_as_its_user(patch: pytest.MonkeyPatch) -> None:
    slurm = FakeCommands()
    one = spawner(slurm, patch, user="nobody", run_as="user")
    await started(one)
    slurm.says["squeue"] = line("CANCELLED")
    await one.stop()
    assert [account for account, _, _ in slurm.of("sbatch") + slurm.of("scancel")] == ["nobody", "nobody"]
    # What only reads is the hub's own.
    assert {account for account, _, _ in slurm.of("squeue") + slurm.of("scontrol")} == {""}


def test_all_servers_of_a_hub_share_one_look(patch: pytest.MonkeyPatch) -> None:
    real = slurm_spawner.scheduler
    first, second, other = (
        spawner(FakeCommands(), patch, user=user, slurm_conf=conf, as_user=["sudo", "-n", "-u", "{username}", "--"])
        for user, conf in (("ann", "/a"), ("bob", "/a"), ("ann", "/b"))
    )
    patch.setattr(slurm_spawner, "scheduler", real)
    assert first._scheduler is second._scheduler
    assert first._scheduler is not other._scheduler
    assert first._scheduler._commands.run == ("sudo", "-n", "-u", "{user}", "--")


@pytest.mark.parametrize(
    ("user", "slug"), [("no-such-account", "servers-no-account-here"), ("a\0b", "servers-no-account-here"), ("root", "servers-not-root")]
)  # fmt: skip
async def test_who_has_no_account_or_is_root_gets_no_server(patch: pytest.MonkeyPatch, user: str, slug: str) -> None:
    slurm = FakeCommands()
    with pytest.raises(SpawnException) as refused:
        await started(spawner(slurm, patch, user=user, run_as="user"))
    assert refused.value.reason == slug
    assert slurm.ran == []


async def test_a_hub_that_may_not_change_accounts_says_so(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(slurm_spawner.os, "geteuid", lambda: 12345)
    with pytest.raises(SpawnException) as refused:
        await started(spawner(FakeCommands(), patch, user="nobody", run_as="user"))
    assert refused.value.reason == "servers-not-permitted"


# --- a start ------------------------------------------------------------------------------------------------------


async def test_the_host_is_what_slurm_says_of_the_node(patch: pytest.MonkeyPatch) -> None:
    slurm = FakeCommands(scontrol="NodeName=cpu001 CoresPerSocket=64 NodeAddr=fd00::9 NodeHostName=evil State=IDLE\n")
    assert await started(spawner(slurm, patch), 6000) == "http://[fd00::9]:6000"
    assert slurm.of("scontrol")[-1][1][-1] == "cpu001"


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (line("FAILED", "NonZeroExitCode"), "ended with an error"),
        (line("OUT_OF_MEMORY", "OutOfMemory"), "memory"),
        (line("NODE_FAIL", "NodeDown"), "a node failed"),
        (line("CANCELLED"), "cancelled"),
        ("", "completed"),
    ],
)
async def test_a_job_that_dies_ends_the_start_at_once_with_words(
    patch: pytest.MonkeyPatch, tmp_path: Path, seen: str, words: str
) -> None:
    (tmp_path / log_name("")).write_text("one\nModuleNotFoundError: no module named 'jupyterhub'\n")
    one = spawner(FakeCommands(squeue=seen), patch, directory=str(tmp_path))
    with pytest.raises(SpawnException) as failed:
        await asyncio.wait_for(one.start(), 5)
    assert failed.value.reason == "servers-ended"
    assert words in failed.value.message
    assert "no module named 'jupyterhub'" in failed.value.message
    # The hub asks before it clears up: there is nothing to stop.
    assert await one.poll() is not None


async def test_what_accounting_knows_is_told_when_the_queue_has_forgotten(patch: pytest.MonkeyPatch) -> None:
    one = spawner(FakeCommands(squeue="", sacct="CANCELLED by 1000|None\n"), patch)
    with pytest.raises(SpawnException, match="cancelled"):
        await asyncio.wait_for(one.start(), 5)


@pytest.mark.parametrize(
    ("said", "slug"),
    [
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified", "servers-refused-account"),
        ("sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy", "servers-refused-limit"),
        ("sbatch: error: invalid partition specified: cpu", "servers-refused"),
        ("sbatch: error: Requested node configuration is not available", "servers-refused"),
        ("sbatch: error: something new", "servers-refused"),
    ],
)  # fmt: skip
async def test_a_job_that_slurm_does_not_take_is_told_with_its_reason(
    patch: pytest.MonkeyPatch, said: str, slug: str
) -> None:
    one = spawner(FakeCommands(sbatch=SlurmRefusedError(said)), patch)
    with pytest.raises(SpawnException) as refused:
        await one.start()
    assert refused.value.reason == slug
    assert await one.poll() == 0


async def test_without_a_scheduler_nothing_is_started_and_nothing_ends(patch: pytest.MonkeyPatch) -> None:
    slurm = FakeCommands()
    one = spawner(slurm, patch)
    await started(one)
    slurm.says |= {"squeue": SlurmAwayError("slurm-away"), "sbatch": SlurmAwayError("slurm-away")}
    patch.setattr(slurm_queue, "FRESH", 0)
    assert await one.poll() is None
    with pytest.raises(SpawnException) as refused:
        await spawner(slurm, patch, user="bob").start()
    assert (refused.value.reason, refused.value.status_code) == ("servers-no-scheduler", 503)


async def told(one: SlurmSpawner, text: str) -> dict[str, Any]:
    """Wait until this is told of a start."""
    async with asyncio.timeout(60):
        async for event in one.progress():
            if text in event["message"]:
                return event
    raise AssertionError(text)


async def test_a_scheduler_that_is_away_for_a_while_delays_a_start(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(slurm_queue, "FRESH", 0)
    slurm = FakeCommands(squeue=SlurmAwayError("slurm-away"))
    one = spawner(slurm, patch)
    start = asyncio.ensure_future(one.start())
    assert await told(one, "does not answer")
    one.take_port(5000)
    slurm.says["squeue"] = line()
    assert await asyncio.wait_for(start, 60) == "http://10.0.0.9:5000"


async def test_a_server_that_does_not_answer_is_given_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(slurm_spawner, "MARGIN", 600)
    one = spawner(FakeCommands(squeue=line("PENDING", "Resources", "")), patch)
    with pytest.raises(SpawnException) as late:
        await asyncio.wait_for(one.start(), 5)
    assert late.value.reason == "servers-waited"
    assert "no room" in late.value.message


@pytest.mark.parametrize("lang", LANGUAGES)
async def test_what_a_start_waits_for_is_told_in_the_readers_language(patch: pytest.MonkeyPatch, lang: str) -> None:
    patch.setattr(slurm_spawner.time, "time", lambda: 1000)
    one = spawner(FakeCommands(squeue=line("PENDING", "Priority", "", "1970-01-01T00:21:30")), patch)
    one.handler = SimpleNamespace(request=SimpleNamespace(cookies={}, headers={"Accept-Language": lang}))
    start = asyncio.ensure_future(one.start())
    event = await told(one, {"en": "queue. Expected to start in 5 min.", "zh-TW": "工作。預計 5 分後啟動。"}[lang])
    assert event["html_message"].startswith(f'<span lang="{lang}">')
    assert event["progress"] == 20
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start


# --- afterwards ---------------------------------------------------------------------------------------------------


async def test_a_restarted_hub_knows_its_jobs(patch: pytest.MonkeyPatch) -> None:
    slurm = FakeCommands()
    before, after = spawner(slurm, patch), spawner(slurm, patch)
    assert await after.poll() == 0
    await started(before)
    after.load_state(json.loads(json.dumps(before.get_state())))
    assert await after.poll() is None
    slurm.says["squeue"] = line("CANCELLED")
    assert await spawner(slurm, patch).poll() == 0
    patch.setattr(slurm_queue, "FRESH", 0)
    assert await after.poll() == 1
    after.clear_state()
    assert set(after.get_state()) == {"last"}
    after.load_state({"job": "7; rm"})
    assert after.job == ""


async def test_a_stop_asks_the_server_to_end_before_it_cancels_the_job(patch: pytest.MonkeyPatch) -> None:
    states = iter(["RUNNING", "RUNNING", "COMPLETING", "COMPLETED"])
    slurm = FakeCommands()
    one = spawner(slurm, patch)
    await started(one)
    patch.setattr(slurm_queue, "FRESH", 0)
    slurm.says["squeue"] = lambda: line(next(states))
    await asyncio.wait_for(one.stop(), 5)
    assert next(states, None) is None
    assert [words for _, words, _ in slurm.of("scancel")] == [("scancel", "--signal=INT", "--batch", "7")]
    assert one.get_state() == {"job": "7"}


@pytest.mark.parametrize(("now", "waits"), [(False, True), (True, False), (False, False)])
async def test_a_stop_cancels_a_job_that_does_not_end_itself_and_waits_until_it_is_gone(
    patch: pytest.MonkeyPatch, *, now: bool, waits: bool
) -> None:
    slurm = FakeCommands()
    one = spawner(slurm, patch, interrupt_timeout=0)
    await started(one)
    patch.setattr(slurm_queue, "FRESH", 0)
    words = [("scancel", "--signal=INT", "--batch", "7")] * (waits and not now) + [("scancel", "7")]

    def states() -> str:
        cancelled = [said for _, said, _ in slurm.of("scancel")]
        state = "RUNNING" if waits or now else "PENDING"
        return line("CANCELLED" if ("scancel", "7") in cancelled else state)

    slurm.says["squeue"] = states
    await asyncio.wait_for(one.stop(now=now), 5)
    assert [said for _, said, _ in slurm.of("scancel")] == words


async def test_a_server_that_may_not_be_asked_to_end_is_cancelled(patch: pytest.MonkeyPatch) -> None:
    slurm = FakeCommands()
    one = spawner(slurm, patch)
    await started(one)
    patch.setattr(slurm_queue, "FRESH", 0)
    tell = slurm.tell

    def told(account: str, *command: str, text: str = "") -> str:
        if "--signal=INT" in command:
            raise SlurmRefusedError("sudo: a password is required")
        if command[0] == "scancel":
            slurm.says["squeue"] = line("CANCELLED")
        return tell(account, *command, text=text)

    slurm.tell = told  # type: ignore[method-assign]
    await asyncio.wait_for(one.stop(), 5)
    assert slurm.of("scancel")[-1][1] == ("scancel", "7")


@pytest.mark.parametrize(
    ("states", "words"),
    [
        (["TIMEOUT"], "ended 0 s ago by itself: its time limit in the cluster was reached."),
        (["COMPLETING", "CANCELLED"], "ended 0 s ago by itself: its job was cancelled in the cluster."),
        # As JupyterLab's own menu ends it.
        (["COMPLETED"], ""),
    ],
)
async def test_how_a_server_ended_by_itself_is_told_until_the_next_one_starts(
    patch: pytest.MonkeyPatch, states: list[str], words: str
) -> None:
    slurm = FakeCommands()
    before = spawner(slurm, patch)
    await started(before)
    patch.setattr(slurm_queue, "FRESH", 0)
    left = iter(states)
    slurm.says["squeue"] = lambda: line(next(left))
    assert await before.poll() is not None
    before.clear_state()
    after = spawner(slurm, patch)
    after.load_state(json.loads(json.dumps(before.get_state())))
    assert after.end_in_words("en") == (f"Your last server (job 7 of the cluster) {words}" if words else "")
    slurm.says["squeue"] = line()
    await started(after)
    assert after.end_in_words("en") == ""
    assert after.get_state() == {"job": "7"}


def left_behind(slurm: FakeCommands, patch: pytest.MonkeyPatch, ago: int = 5, **more: Any) -> SlurmSpawner:
    """Return the spawner of a server that ended by itself on cpu001."""
    one = spawner(slurm, patch)
    one.load_state({"last": {"job": "6", "state": "TIMEOUT", "node": "cpu001", "at": int(time.time()) - ago, **more}})
    patch.setattr(slurm_queue, "FRESH", 0)
    return one


def nodes_wanted(slurm: FakeCommands) -> list[list[str]]:
    return [[word for word in words if word.startswith("--nodelist")] for _, words, _ in slurm.of("sbatch")]


async def test_a_server_after_one_that_ended_by_itself_starts_where_that_was(patch: pytest.MonkeyPatch) -> None:
    slurm = FakeCommands()
    await started(left_behind(slurm, patch))
    assert nodes_wanted(slurm) == [["--nodelist=cpu001"]]


@pytest.mark.parametrize("last", [{"ago": 3600}, {"node": ""}, {"node": "cpu001,x"}])
async def test_after_a_while_it_starts_anywhere(patch: pytest.MonkeyPatch, last: dict[str, Any]) -> None:
    slurm = FakeCommands()
    await started(left_behind(slurm, patch, **last))
    assert nodes_wanted(slurm) == [[]]


async def test_a_server_that_gets_no_place_where_the_last_one_was_starts_anywhere(patch: pytest.MonkeyPatch) -> None:
    slurm = FakeCommands()
    patch.setattr(slurm_spawner, "NEAR", 0.1)
    one = left_behind(slurm, patch)

    def squeue() -> str:
        if len(slurm.of("sbatch")) == 2:
            return line(job=8)
        return line("CANCELLED" if slurm.of("scancel") else "PENDING", "ReqNodeNotAvail")

    slurm.says |= {"squeue": squeue, "sbatch": lambda: f"{6 + len(slurm.of('sbatch'))}\n"}
    start = asyncio.ensure_future(one.start())
    while not slurm.of("scancel"):
        # The first one began in the last moment: its port is nobody's.
        one.take_port(4000)
        await asyncio.sleep(0.001)
    while one.job != "8":
        await asyncio.sleep(0.001)
    assert one.take_port(5000)
    assert await start == "http://10.0.0.9:5000"
    assert nodes_wanted(slurm) == [["--nodelist=cpu001"], []]
    assert slurm.of("scancel")[0][1] == ("scancel", "7")


async def test_a_node_that_slurm_refuses_is_asked_for_once(patch: pytest.MonkeyPatch) -> None:
    slurm = FakeCommands()
    one = left_behind(slurm, patch)

    def sbatch() -> str:
        if "--nodelist=cpu001" in slurm.of("sbatch")[-1][1]:
            raise SlurmRefusedError("sbatch: error: Requested node configuration is not available")
        return "7\n"

    slurm.says["sbatch"] = sbatch
    await started(one)
    assert nodes_wanted(slurm) == [["--nodelist=cpu001"], []]


async def test_one_look_serves_all_servers(patch: pytest.MonkeyPatch) -> None:
    slurm = FakeCommands(squeue="".join(line(job=number) for number in range(100)))
    many = []
    for number in range(100):
        one = spawner(slurm, patch, user=f"u{number}")
        one.load_state({"job": str(number)})
        many.append(one)
    assert await asyncio.gather(*(one.poll() for one in many)) == [None] * 100
    assert len(slurm.ran) == 1


async def test_only_a_nodes_name_is_asked_about() -> None:
    slurm = FakeCommands()
    with pytest.raises(EngineError, match="no node's name"):
        await slurm.scheduler.address("--help")
    assert slurm.ran == []


# --- the log ------------------------------------------------------------------------------------------------------


def test_a_log_that_is_a_link_or_somebody_elses_is_not_read(tmp_path: Path) -> None:
    secret, log = tmp_path / "secret", tmp_path / "log"
    secret.write_text("root:x")
    log.symlink_to(secret)
    assert tail(log, os.geteuid()) == ""
    assert tail(secret, os.geteuid()) == "root:x"
    assert tail(secret, os.geteuid() + 1) == ""
    os.mkfifo(tmp_path / "pipe")
    assert tail(tmp_path / "pipe", os.geteuid()) == ""
    assert tail(tmp_path, os.geteuid()) == ""
    assert tail(tmp_path / "none", os.geteuid()) == ""
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


# --- the port -----------------------------------------------------------------------------------------------------


class Post(PortHandler):
    """The handler without a hub: who came, and with what."""

    def __init__(self, person: Any, token: str, body: bytes) -> None:
        self._jupyterhub_user = person
        self.request = SimpleNamespace(
            headers=HTTPHeaders({"Authorization": f"token {token}"} if token else {}), body=body
        )
        self.status = 0

    def set_status(self, status_code: int, reason: str | None = None) -> None:
        self.status = status_code


async def post(one: Any, token: str, body: bytes) -> int:
    handler = Post(one.user if one else None, token, body)
    try:
        await handler.post()
    except web.HTTPError as error:
        return error.status_code
    return handler.status


@pytest.fixture
async def waiting(patch: pytest.MonkeyPatch) -> Any:
    """A server whose start waits for its port."""
    one = spawner(FakeCommands(), patch)
    start = asyncio.ensure_future(one.start())
    while not one.job:
        await asyncio.sleep(0.001)
    yield one, start
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"5000", b"[5000]", b"{}", b'{"port": "5000"}', b'{"port": 5000.0}', b'{"port": true}', b'{"port": null}',
        b'{"port": 1023}', b'{"port": 65536}', b'{"port": -1}', b'{"port": 5000, "cmd": "x"}', b'{"port": 5000, "ip": "10.0.0.1"}',
        b'{"exec_prefix": "x"}', b'[["port", 5000]]', b'{"port": 5000', b"\xff\xfe", b'{"port": NaN}', b'{"port":5000}' + b" " * 100,
        b'{"Port": 5000}', b'{"port": [5000]}', b"port=5000",
    ],
)  # fmt: skip
async def test_a_body_that_is_not_exactly_a_port_is_refused(waiting: Any, body: bytes) -> None:
    one, start = waiting
    before = dict(one.trait_values())
    assert await post(one, one.api_token, body) == 400
    assert dict(one.trait_values()) == before
    assert not start.done()


async def test_a_port_is_taken_once_and_with_the_servers_own_token_alone(
    waiting: Any, patch: pytest.MonkeyPatch
) -> None:
    one, start = waiting
    body = b'{"port": 5000}'
    other = spawner(FakeCommands(), patch, user="bob", api_token="b" * 32)
    assert await post(None, "", body) == 403
    assert await post(one, "", body) == 403
    assert await post(one, "another token of ann's", body) == 403
    assert await post(one, "é", body) == 403
    # Somebody else's server, which does not start now.
    assert await post(other, other.api_token, body) == 409
    assert await post(other, one.api_token, body) == 403
    assert await post(one, one.api_token, body) == 204
    assert await post(one, one.api_token, b'{"port": 5001}') == 409
    patch.setattr(slurm_spawner, "scheduler", lambda _commands: FakeCommands().scheduler)
    assert await start == "http://10.0.0.9:5000"
    assert await post(one, one.api_token, body) == 409


async def test_a_server_without_a_token_yet_is_nobodys(patch: pytest.MonkeyPatch) -> None:
    one = spawner(FakeCommands(), patch, api_token="")
    assert await post(one, "", b'{"port": 5000}') == 403


# --- the hub's configuration --------------------------------------------------------------------------------------


def test_the_way_of_the_port_is_there_only_with_this_spawner(tmp_path: Path) -> None:
    c, other = Config(), Config()
    c.JupyterHub.spawner_class = SlurmSpawner
    configure(c, data=tmp_path)
    configure(other, data=tmp_path)
    assert [path for path, _ in c.JupyterHub.extra_handlers] == ["/nvlhub-server/port"]
    assert "extra_handlers" not in other.JupyterHub
    assert c.JupyterHub.spawner_class.__name__ == "LeaseSlurmSpawner"


def test_the_mixin_of_leases_and_the_spawner_share_no_name_by_accident() -> None:
    ours = set(vars(SlurmSpawner)) - set(vars(type("Plain", (HasTraits,), {})))
    assert ours & set(dir(LeaseSpawnerMixin)) == {"get_env", "stop"}
    hooks = {"start", "stop", "poll", "progress", "get_env", "get_state", "load_state", "clear_state", "start_timeout"}
    assert ours & set(dir(Spawner)) == hooks


@pytest.mark.parametrize(
    ("environment", "partition"),
    [
        ({}, ""),
        ({"NVLHUB_ENGINE": "slurm"}, ""),
        ({"NVLHUB_ENGINE": "local", "NVLHUB_SLURM__SIMULATED": "true"}, ""),
        ({"NVLHUB_ENGINE": "slurm", "NVLHUB_SLURM__SIMULATED": "true"}, "cpu"),
        ({"NVLHUB_ENGINE": "slurm", "NVLHUB_SLURM__SIMULATED": "true", "NVLHUB_SERVER_PARTITION": ""}, ""),
        ({"NVLHUB_SERVER_PARTITION": "batch"}, "batch"),
    ],
)
def test_under_up_servers_are_jobs_where_there_are_nodes_for_them(
    patch: pytest.MonkeyPatch, environment: dict[str, str], partition: str
) -> None:
    for name in ("NVLHUB_ENGINE", "NVLHUB_SLURM__SIMULATED", "NVLHUB_SERVER_PARTITION"):
        patch.delenv(name, raising=False)
    for name, value in environment.items():
        patch.setenv(name, value)
    assert server_partition() == partition
