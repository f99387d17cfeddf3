"""What every engine keeps to: one suite over all of them."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pwd
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import zmq

from nvlhub.engines.base import Engine, EngineError, Handle, Sight, Task
from nvlhub.engines.cgroups import Cgroups
from nvlhub.engines.floor import MachineFloor, SimulatedFloor
from nvlhub.engines.local import LocalEngine
from nvlhub.engines.processes import of_lease
from nvlhub.engines.registry import make_engine
from nvlhub.engines.scripted import Script, ScriptedEngine
from nvlhub.engines.slurm.commands import Commands
from nvlhub.engines.slurm.engine import SlurmEngine
from nvlhub.engines.slurm.job import Site as SlurmSite
from nvlhub.engines.slurm.private import Slurm
from nvlhub.settings import Settings, SettingsError
from nvlhub.wire import Kind, Mailbox, Share
from tests.waiting import until

FLOOR = SimulatedFloor(2)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """Something to dial; it never answers."""
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    public, secret = zmq.curve_keypair()
    socket.curve_server, socket.curve_secretkey, socket.curve_publickey = True, secret, public
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    yield Mailbox(address=f"tcp://127.0.0.1:{port}", public_key=public.decode(), token="t" * 40)
    socket.close(0)
    context.term()


@pytest.fixture(params=["local", "scripted", pytest.param("slurm", marks=pytest.mark.slurm)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "slurm":
        slurm = request.getfixturevalue("slurm")
        yield slurm_engine(slurm, tmp_path)
        slurm.cancel_all()
        return
    yield plain_engine(request.param, tmp_path)


def slurm_engine(slurm: Slurm, path: Path) -> SlurmEngine:
    """An engine with a mark of its own on its jobs: accounting remembers those of earlier tests."""
    site = SlurmSite(f"p{path.name[-30:]}{uuid.uuid4().hex[:6]}", python=sys.executable, simulated=True)
    return SlurmEngine(Commands(slurm.conf, as_user=False), site)


def plain_engine(kind: str, tmp_path: Path) -> Engine:
    if kind == "local":
        return LocalEngine(FLOOR, tmp_path / "tasks", python=sys.executable, bind="127.0.0.1", grace=15, as_user=False)
    return ScriptedEngine(FLOOR, {"*": Script()})


def task(mailbox: Mailbox) -> Task:
    where = (Share(domain="nvl001", tray=3, gpus=(2, 3)),)
    return Task(str(uuid.uuid4()), Kind.KERNEL, "researcher", where, mailbox, 3600)


def until_seen(engine: Engine, lease: str, handle: Handle, sight: Sight) -> None:
    until(lambda: engine.look({lease: handle})[lease].sight is sight)


def until_stopped(engine: Engine, lease: str, handle: Handle) -> None:
    def gone() -> bool:
        engine.stop(lease, handle)
        return engine.look({lease: handle})[lease].sight is Sight.GONE

    until(gone)


def test_capacity_names_every_gpu_once(engine: Engine) -> None:
    names = [
        name
        for domain in engine.capacity()
        for tray in domain.trays
        for name in engine.devices((Share(domain=domain.name, tray=tray.index, gpus=tuple(sorted(tray.free))),))
    ]
    assert len(names) == len(set(names)) == sum(domain.size for domain in engine.capacity()) > 70


def test_a_task_starts_runs_and_stops(engine: Engine, mailbox: Mailbox) -> None:
    started = task(mailbox)
    handles = list(engine.start(started))
    until_seen(engine, started.lease_id, handles[-1], Sight.RUNNING)
    assert engine.strays(frozenset({started.lease_id})) == frozenset()
    assert engine.strays(frozenset()) == {started.lease_id}
    until_stopped(engine, started.lease_id, handles[-1])
    assert of_lease(started.lease_id) == []
    assert engine.strays(frozenset()) == frozenset()


def test_records_tell_what_ran_from_when_until_when(engine: Engine, mailbox: Mailbox) -> None:
    before = int(time.time())
    started, other = task(mailbox), task(mailbox)
    [*_, handle] = engine.start(started)
    [*_, last] = engine.start(other)
    until_seen(engine, started.lease_id, handle, Sight.RUNNING)
    until_seen(engine, other.lease_id, last, Sight.RUNNING)
    began = time.monotonic()
    running = {record.lease_id: record for record in engine.records(before + 3600)}
    assert set(running) == {started.lease_id, other.lease_id}
    record = running[started.lease_id]
    assert (record.gpus, record.ended_at) == (2, None)
    assert before <= record.started_at <= int(time.time()) + 1
    time.sleep(1.5)
    until_stopped(engine, started.lease_id, handle)
    took = time.monotonic() - began
    records = {record.lease_id: record for record in engine.records(before)}
    assert records[other.lease_id].ended_at is None
    ended = records[started.lease_id].ended_at
    assert ended is not None
    assert records[started.lease_id].started_at == record.started_at
    assert abs(ended - record.started_at - took) <= 2
    assert started.lease_id not in {record.lease_id for record in engine.records(ended + 1)}
    until_stopped(engine, other.lease_id, last)


def test_a_task_that_never_ran_has_no_record(engine: Engine, mailbox: Mailbox) -> None:
    started = task(mailbox)
    steps = engine.start(started)
    first = next(steps)
    steps.close()  # type: ignore[attr-defined]
    until_stopped(engine, started.lease_id, first)
    assert list(engine.records(0)) == []


def test_a_task_whose_last_handle_was_not_saved_is_found(engine: Engine, mailbox: Mailbox) -> None:
    started = task(mailbox)
    handles = list(engine.start(started))
    until_seen(engine, started.lease_id, handles[0], Sight.RUNNING)
    until_stopped(engine, started.lease_id, handles[0])


def test_a_start_that_is_broken_off_leaves_nothing(engine: Engine, mailbox: Mailbox) -> None:
    started = task(mailbox)
    steps = engine.start(started)
    first = next(steps)
    steps.close()  # type: ignore[attr-defined]
    until_stopped(engine, started.lease_id, first)


def test_stopping_twice_or_the_unknown_does_no_harm(engine: Engine, mailbox: Mailbox) -> None:
    started = task(mailbox)
    [*_, handle] = engine.start(started)
    until_stopped(engine, started.lease_id, handle)
    engine.stop(started.lease_id, handle)
    engine.stop("unknown", {})
    assert engine.look({"unknown": {}})["unknown"].sight is Sight.GONE


def test_a_killed_agent_is_seen_as_gone(tmp_path: Path, mailbox: Mailbox) -> None:
    engine = LocalEngine(FLOOR, tmp_path / "tasks", python=sys.executable, bind="127.0.0.1", grace=15, as_user=False)
    started = task(mailbox)
    [*_, handle] = engine.start(started)
    psutil.Process(int(str(handle["pid"]))).kill()
    until_seen(engine, started.lease_id, handle, Sight.GONE)


def test_records_survive_the_portal_and_what_ended_meanwhile_ends_when_noticed(
    tmp_path: Path, mailbox: Mailbox
) -> None:
    options = {"python": sys.executable, "bind": "127.0.0.1", "grace": 15, "as_user": False}
    engine = LocalEngine(FLOOR, tmp_path / "tasks", **options)  # type: ignore[arg-type]
    died, unknown = task(mailbox), task(mailbox)
    [*_, handle] = engine.start(died)
    [*_, last] = engine.start(unknown)
    for one in (handle, last):
        agent = psutil.Process(int(str(one["pid"])))
        agent.kill()
    for child in engine._children.values():
        child.wait(60)
    again = LocalEngine(FLOOR, tmp_path / "tasks", **options)  # type: ignore[arg-type]
    assert {record.ended_at for record in again.records(0)} == {None}
    time.sleep(1)
    now = int(time.time())
    until_seen(again, died.lease_id, handle, Sight.GONE)
    # Nobody looks for the other one any more: its lease is not known.
    assert again.strays(frozenset()) == frozenset()
    for record in again.records(0):
        assert record.ended_at is not None
        assert 0 <= record.ended_at - now <= 2
    assert (tmp_path / "accounting.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_task_that_a_dying_portal_did_not_write_down_is_accounted_for_when_seen(
    tmp_path: Path, mailbox: Mailbox
) -> None:
    options = {"python": sys.executable, "bind": "127.0.0.1", "grace": 15, "as_user": False}
    engine = LocalEngine(FLOOR, tmp_path / "tasks", **options)  # type: ignore[arg-type]
    started = task(mailbox)
    [first, *_] = engine.start(started)
    [written] = engine.records(0)
    (tmp_path / "accounting.jsonl").unlink()
    again = LocalEngine(FLOOR, tmp_path / "tasks", **options)  # type: ignore[arg-type]
    until_seen(again, started.lease_id, first, Sight.RUNNING)
    [found] = again.records(0)
    assert (found.lease_id, found.gpus, found.ended_at) == (written.lease_id, 2, None)
    assert abs(found.started_at - written.started_at) <= 1
    until_stopped(again, started.lease_id, first)
    engine._children[started.lease_id].wait(60)


def test_a_lease_that_is_started_again_has_a_record_of_each_run(tmp_path: Path, mailbox: Mailbox) -> None:
    engine = LocalEngine(FLOOR, tmp_path / "tasks", python=sys.executable, bind="127.0.0.1", grace=15, as_user=False)
    started = task(mailbox)
    [*_, handle] = engine.start(started)
    child = engine._children[started.lease_id]
    child.kill()
    child.wait(60)
    [*_, handle] = engine.start(started)
    assert [record.ended_at is None for record in engine.records(0)] == [False, True]
    until_stopped(engine, started.lease_id, handle)


def test_an_accounting_that_cannot_be_read_is_no_answer(tmp_path: Path) -> None:
    engine = LocalEngine(FLOOR, tmp_path / "tasks", python=sys.executable, bind="127.0.0.1", grace=15, as_user=False)
    (tmp_path / "accounting.jsonl").mkdir()
    with pytest.raises(EngineError, match="accounting cannot be read"):
        list(engine.records(0))


def test_a_pid_that_is_used_again_is_not_the_task(tmp_path: Path) -> None:
    engine = LocalEngine(FLOOR, tmp_path / "tasks", python=sys.executable, bind="127.0.0.1", grace=15, as_user=False)
    handle = {"pid": os.getpid(), "created": 1.0}
    assert engine.look({"l": handle})["l"].sight is Sight.GONE


def test_an_agent_that_cannot_be_started_says_why(tmp_path: Path, mailbox: Mailbox) -> None:
    engine = LocalEngine(
        FLOOR, tmp_path / "tasks", python="/nonexistent/python", bind="127.0.0.1", grace=15, as_user=False
    )
    with pytest.raises(EngineError, match="No such file"):
        list(engine.start(task(mailbox)))
    assert list((tmp_path / "tasks").iterdir()) == []


def test_nothing_secret_is_in_arguments_or_environment(
    tmp_path: Path, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret-of-the-portal")
    engine = LocalEngine(FLOOR, tmp_path / "tasks", python=sys.executable, bind="127.0.0.1", grace=15, as_user=False)
    started = task(mailbox)
    [*_, handle] = engine.start(started)
    agent = psutil.Process(int(str(handle["pid"])))
    seen = " ".join([*agent.cmdline(), *agent.environ().values()])
    assert mailbox.token not in seen
    assert "secret-of-the-portal" not in seen
    until_stopped(engine, started.lease_id, handle)


def test_a_machine_without_gpus_has_no_domains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nvlhub.engines.floor._by_nvml", lambda: ((), "no GPU"))
    assert MachineFloor().domains() == ()


def test_real_gpus_are_named_by_uuid_in_trays_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    uuids = tuple(f"GPU-{number}" for number in range(6))
    monkeypatch.setattr("nvlhub.engines.floor._by_nvml", lambda: (uuids, "H100"))
    floor = MachineFloor()
    assert [tray.size for tray in floor.domains()[0].trays] == [4, 2]
    assert floor.device("local", 2, 1) == "GPU-5"


def test_an_unknown_engine_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="local, scripted"):
        make_engine(Settings(data=tmp_path, engine="slrum", simulate=1))


def test_a_task_never_runs_under_another_account_than_its_users(
    tmp_path: Path, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LocalEngine(FLOOR, tmp_path / "tasks", python=sys.executable, bind="127.0.0.1", grace=15, as_user=True)
    with pytest.raises(EngineError, match="no account 'researcher'"):
        list(engine.start(task(mailbox)))
    here = dataclasses.replace(task(mailbox), user="daemon")
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(EngineError, match="not root"):
            list(engine.start(here))
    asked: dict[str, object] = {}

    def popen(*_command: object, **more: object) -> None:
        asked.update(more)
        raise OSError(1, "seen enough")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda *_what: None)
    monkeypatch.setattr("nvlhub.engines.local.subprocess.Popen", popen)
    with pytest.raises(EngineError, match="seen enough"):
        list(engine.start(here))
    account = pwd.getpwnam("daemon")
    assert (asked["user"], asked["group"]) == (account.pw_uid, account.pw_gid)
    assert asked["env"]["HOME"] == account.pw_dir  # type: ignore[index]
    assert list((tmp_path / "tasks").iterdir()) == []


HIDE = """
import os, subprocess, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(300)", "hidden-%s"], {})
    os._exit(0)
os.wait()
import time; time.sleep(300)
"""


def hidden(mark: str) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if f"hidden-{mark}" in (process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


@pytest.mark.parametrize("cgroups", [True, False])
@pytest.mark.parametrize("agent", ["lives", "stopped"])
async def test_what_hides_from_its_lease_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cgroups: bool, agent: str
) -> None:
    from nvlkernels.mailbox import Mailbox as Line  # noqa: PLC0415  # the notebook side, for this test alone

    if not cgroups:
        monkeypatch.setattr("nvlhub.engines.local.Cgroups.find", lambda _tasks: None)
    engine = LocalEngine(FLOOR, tmp_path / "tasks", python=sys.executable, bind="127.0.0.1", grace=15, as_user=False)
    mail = Line("127.0.0.1")
    started = task(mail.address)
    [*_, handle] = engine.start(started)
    line = mail.line(started.lease_id)
    await line.hello
    await line.run().start(argv=[sys.executable, "-c", HIDE % started.lease_id], env={}, conn=None)
    for _ in range(100):
        if hidden(started.lease_id):
            break
        await asyncio.sleep(0.1)
    assert hidden(started.lease_id)
    if agent == "stopped":
        psutil.Process(int(str(handle["pid"]))).suspend()
    await asyncio.to_thread(until_stopped, engine, started.lease_id, handle)
    assert hidden(started.lease_id) == []
    mail.close()


def test_cgroups_are_found_again_while_tasks_run(tmp_path: Path, mailbox: Mailbox) -> None:
    found = Cgroups.find(tmp_path / "tasks")
    if found is None:
        pytest.skip("no cgroups can be made here: that needs cgroup version 2 and the right to write it")
    options = {"python": sys.executable, "bind": "127.0.0.1", "grace": 15, "as_user": False}
    engine = LocalEngine(FLOOR, tmp_path / "tasks", **options)  # type: ignore[arg-type]
    started = task(mailbox)
    [*_, handle] = engine.start(started)
    assert engine._cgroups is not None
    assert engine._cgroups.pids(started.lease_id) == [handle["pid"]]
    again = LocalEngine(FLOOR, tmp_path / "tasks", **options)  # type: ignore[arg-type]
    assert again._cgroups is not None
    assert again._cgroups.pids(started.lease_id) == [handle["pid"]]
    until_stopped(again, started.lease_id, handle)
    assert not again._cgroups._base.exists()
    engine._children[started.lease_id].wait(60)


def test_nothing_in_a_users_directory_is_followed(
    tmp_path: Path, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the portal")
    engine = LocalEngine(FLOOR, tmp_path / "tasks", python=sys.executable, bind="127.0.0.1", grace=15, as_user=False)
    started = task(mailbox)
    left = tmp_path / "tasks" / started.lease_id
    left.mkdir()
    (left / "agent.log").symlink_to(secret)
    [*_, handle] = engine.start(started)
    assert not (left / "agent.log").is_symlink()
    until_stopped(engine, started.lease_id, handle)
    assert secret.read_text() == "of the portal"
