"""Between accounts: what one of them cannot read, reach, forge or smuggle in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pwd
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.engines.base import EngineError, Sight, Task
from nvlhub.engines.slurm.abilities import Abilities
from nvlhub.engines.slurm.commands import Commands
from nvlhub.engines.slurm.engine import SlurmEngine
from nvlhub.engines.slurm.inventory import inventory
from nvlhub.engines.slurm.job import HINTS, Site, arguments, script
from nvlhub.engines.slurm.private import Slurm
from nvlhub.engines.slurm.reading import Node
from nvlhub.flow.request import Profile
from nvlhub.visitor import Visitor
from nvlhub.wire import API_PATH, Kind, Mailbox, Share, Span
from tests.conftest import missing
from tests.kernels import conftest as people
from tests.portal_kit import ADMIN, MAILBOX
from tests.slurm.kit import A, B, Hand, ServedBySlurm, as_root, hand, kernel, settings

NASTY = {
    "A": "$(touch {0}) `touch {0}` ' \" \\ ;touch {0};",
    "B": "END_OF_LETTER\n#SBATCH --uid=0\ntouch {0}\n",
    "C": "\u2028\u0000é\x7f",
    "LD_PRELOAD": "{0}.so",
}


# --- what reaches a command -------------------------------------------------------------------------------------------

ONE = (Share(domain="nvl001", tray=7, gpus=(2, 3)),)
HERE = inventory([Node("nvl001-07", "h", frozenset({"IDLE"}), 4, "gb300", frozenset({"nvl001"}))], {})
WORDS = st.text(max_size=40)


def task(**more: Any) -> Task:
    return Task(str(uuid.uuid4()), Kind.KERNEL, A, (Share(domain="nvl001", tray=1, gpus=(2, 3)),), MAILBOX, 600, **more)


@given(
    st.dictionaries(st.sampled_from([*HINTS]) | WORDS, WORDS | st.integers() | st.booleans(), max_size=4),
    st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True),
    st.dictionaries(WORDS, WORDS, max_size=3),
)
def test_no_word_of_anybodys_becomes_an_option(
    hints: Mapping[str, Any], project: str, environment: Mapping[str, str]
) -> None:
    asked = task(hints=hints, project=project, environment=environment)
    site = Site("main", account="{project}", pin="any")
    try:
        words = arguments(asked, site, HERE, Abilities((22, 5)))
    except EngineError:
        # A hint with signs that options do not have.
        return
    plain = arguments(task(project="p"), site, HERE, Abilities((22, 5)))
    allowed = {word.split("=")[0] for word in plain} | set(HINTS.values())
    assert {word.split("=")[0] for word in words} <= allowed
    assert not any(re.search(r"[\s;$`'\"\\<>\x00-\x1f]", word) for word in words)


@pytest.mark.slurm
def test_nasty_values_arrive_as_they_are_and_nothing_else_happens(cluster: Slurm, tmp_path: Path) -> None:
    harm = str(tmp_path / "harm")
    nasty = {name: value.replace("{0}", harm) for name, value in NASTY.items()}
    portal = hand(cluster, tmp_path / "portal")
    with portal.kit.store.writing() as unit:
        unit.publish(
            "nasty", unit.add_profile(Profile("nasty", 0, "x", portal.settings.pool, 1, Span.DOMAIN, 600, environment=nasty))
        )  # fmt: skip
    sleeper = Path(portal.settings.kernel_python)
    sleeper.write_text(
        f"#!/bin/sh\ncat > {tmp_path}/letter.new\nmv {tmp_path}/letter.new {tmp_path}/letter\nexec sleep 900\n"
    )
    lease = portal.kit.ask("nasty", label="'; touch x; '")
    portal.until_state(lease)
    cluster.until((tmp_path / "letter").exists, "the letter")
    told = json.loads((tmp_path / "letter").read_text())["environment"]
    assert {name: told[name] for name in nasty} == nasty
    assert not Path(harm).exists()
    done = subprocess.run(
        ["sh", "-n"], input=script(task(environment=nasty), Site("main"), {}), text=True, capture_output=True, check=True
    )  # fmt: skip
    assert done.stderr == ""
    portal.settled()
    portal.kit.store.close()


@pytest.mark.slurm
def test_what_is_sent_beside_an_ask_is_refused_and_starts_nothing(served: ServedBySlurm) -> None:
    body = {"project": "demo", "profile": "gpu1", "mailbox": MAILBOX.model_dump()}
    for extra in (
        {"hints": {"slurm": {"partition": "cpu"}}}, {"environment": {"LD_PRELOAD": "x"}}, {"options": ["--uid=0"]},
        {"account": "root"}, {"mailbox": {**MAILBOX.model_dump(), "grace": 9999}},
        {"mailbox": {**MAILBOX.model_dump(), "address": "tcp://127.0.0.1:1\nEND_OF_LETTER"}},
        {"profile": "gpu1 --uid=0"}, {"project": "demo;id"},
    ):  # fmt: skip
        answer = httpx.post(
            f"{served.url}{API_PATH}/leases", json=body | extra,
            headers={"Authorization": "token t-researcher", "Idempotency-Key": str(uuid.uuid4())},
        )  # fmt: skip
        assert answer.status_code in {400, 404, 422}, (extra, answer.text)
    assert served.leases(state="all") == []
    assert served.jobs("all") == {}


# --- what another account sees ----------------------------------------------------------------------------------------


def refused(slurm: Slurm, *command: str) -> bool:
    try:
        slurm.run(*command, user=B)
    except subprocess.CalledProcessError:
        return True
    return False


def seen_by(slurm: Slurm, *command: str) -> str:
    """Return what another account gets to read, errors left out."""
    with contextlib.suppress(subprocess.CalledProcessError):
        return slurm.run(*command, user=B)
    return ""


@pytest.fixture
def python_of_all() -> Iterator[Path]:
    """An interpreter that every account may run, with our packages: that of the tests may lie in somebody's home."""
    version = subprocess.run(["/usr/bin/python3", "-V"], capture_output=True, text=True, check=False).stdout.split()[
        -1:
    ]
    if not version or version[0].split(".")[:2] != [str(part) for part in sys.version_info[:2]]:
        missing("a python3 of the system, of the version of the tests")
    root = Path(__file__).parents[2]
    path = ":".join(
        str(place) for place in (*(root / part for part in ("hub", "kernels")), sysconfig.get_path("purelib"))
    )
    directory = Path(tempfile.mkdtemp(prefix="nvlhub-python-"))
    directory.chmod(0o755)
    file, kept = directory / "python", directory / "ipython"
    # Whose home it is has none that it may write to.
    kept.mkdir()
    kept.chmod(0o777)
    file.write_text(f'#!/bin/sh\nexport PYTHONPATH={path} IPYTHONDIR={kept}\nexec /usr/bin/python3 "$@"\n')
    file.chmod(0o755)
    yield file
    shutil.rmtree(directory)


@as_root
@pytest.mark.slurm
async def test_another_account_reads_none_of_a_kernels_secrets(
    accounts: Slurm, tmp_path: Path, python_of_all: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(people.PEOPLE, "t-secret-of-a", Visitor(A, server=f"{A}/"))
    (tmp_path / "data").mkdir()
    told = settings(
        tmp_path / "data", accounts, demo=True, tick=0.2, run_as="user", kernel_python=str(python_of_all)
    )  # fmt: skip
    served = ServedBySlurm(tmp_path / "data", slurm=accounts, told=told)
    for name, value in (
        ("NVLHUB_PORTAL_URL", served.url),
        ("JUPYTERHUB_API_TOKEN", "t-secret-of-a"),
        ("NVLHUB_KERNEL_PYTHON", str(python_of_all)),
    ):
        monkeypatch.setenv(name, value)
    with served.portal.store.writing() as unit:
        unit.know_user(A, served.portal.clock.now())
        unit.set_member("demo", A, "member")
    async with kernel() as notebook:
        ask = "import os, json; print(json.dumps([os.getuid(), os.environ['SLURM_JOB_ID'], os.getpid()]))"
        uid, job, pid = json.loads(await notebook.run(ask))
        assert uid == pwd.getpwnam(A).pw_uid
        provisioner = notebook.manager.provisioner
        connection = provisioner._connection()
        keys = [provisioner._mailbox.address.token, connection["key"], connection["curve_secretkey"]]
        running = psutil.Process(pid)
        processes = [running, running.parents()[0]]
        assert any("nvlkernels.agent" in process.cmdline() for process in processes)
        shown = [
            seen_by(accounts, "scontrol", "show", "job", "-d", job), seen_by(accounts, "squeue", "-o", "%all"),
            seen_by(accounts, "sacct", "-a", "-j", job, "-P", "-o", "ALL"),
            # Arguments can be read by everybody.
            *(" ".join(process.cmdline()) for process in processes),
        ]  # fmt: skip
        assert all(len(text) > 20 for text in shown)
        assert not any(secret in text for secret in [*keys, "t-secret-of-a"] for text in shown)
        script_shown = seen_by(accounts, "scontrol", "write", "batch_script", job, "-")
        assert "nvlkernels" not in script_shown
        assert "nvlkernels" in accounts.run("scontrol", "write", "batch_script", job, "-")
        assert all(refused(accounts, "cat", f"/proc/{process.pid}/environ") for process in processes)
        # The script of the job has the token, the connection file the keys: both lie somewhere below these.
        directory = Path(running.cmdline()[-1]).parent
        assert directory.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in directory.iterdir()} == {0o600}
        for key in keys:
            look = ("grep", "-rlsa", "-F", "--", key, str(accounts.directory), str(directory))
            # Files of Slurm's come and go meanwhile: grep says then that it has not seen all.
            found = await asyncio.to_thread(subprocess.run, look, capture_output=True, text=True, check=False)
            assert found.stdout.split() != []
            assert seen_by(accounts, *look) == ""
        assert refused(accounts, "scancel", job)
        assert await notebook.run("print(1)") == "1"
    await asyncio.to_thread(served.settled)
    served.stop()


@as_root
@pytest.mark.slurm
def test_a_mark_on_a_strangers_job_makes_it_nobodys_lease(theirs: Hand) -> None:
    lease = theirs.kit.ask(who=Visitor(A, server=f"{A}/"))
    theirs.until_state(lease)
    [number], pool, free = theirs.jobs()[lease.id], theirs.settings.pool, theirs.kit.free()
    line = "|".join(
        [str(number), "COMPLETED", A, *["2026-01-01T00:00:00"] * 3, "0:01", "nvl001-01", "1", "gres:gpu:1", "None", f"nvlhub:{pool}:{lease.id}"]
    )  # fmt: skip
    forged = (
        f"nvlhub:{pool}:{lease.id}",
        f"x\n{line}",
        f"x\nJobId={number} JobName=x Nodes=nvl001-18 CPU_IDs=0 Mem=0 GRES=gpu:gb300:1(IDX:3) Comment=nvlhub:{pool}:{lease.id}",
    )
    for words in forged:
        theirs.slurm.run(
            "sbatch", f"--comment={words}", f"--job-name=nvlhub-{pool}-{lease.id}", "--output=/dev/null", "--gres=gpu:4",
            "--wrap", "sleep 60", user=B,
        )  # fmt: skip
    # What they hold is a stranger's, whatever it says.
    theirs.until(lambda: theirs.kit.free() == free - 12)
    assert theirs.kit.seen(lease).state.value == "running"
    assert theirs.kit.seen(lease).placement == lease.placement or theirs.kit.seen(lease).devices[0].startswith(
        "nvl001-01"
    )
    theirs.restart()
    theirs.kit.step()
    assert theirs.kit.runner.board.leases[lease.id].handle["job"] == number
    assert {record.lease_id for record in theirs.engine.records(0)} == {lease.id}
    theirs.kit.desk.end(ADMIN, lease.id)
    theirs.until_state(lease, state="settled")
    assert theirs.slurm.run("squeue", "-h", "-u", B, "-t", "R").count("\n") >= 2


@as_root
@pytest.mark.slurm
def test_a_portal_of_one_account_ends_nobody_elses_job(accounts: Slurm, portal: Hand) -> None:
    pool = portal.settings.pool
    words = f"nvlhub:{pool}:{uuid.uuid4()}"
    wrapped = ("--output=/dev/null", "--gres=gpu:4", "--wrap", "sleep 60")
    accounts.run("sbatch", f"--comment={words}", *wrapped, user=A)
    accounts.run("sbatch", f"--comment=nvlhub:{pool}:{uuid.uuid4()}", *wrapped)
    portal.until(lambda: portal.kit.free() == 68)
    portal.until(lambda: len(portal.jobs()) == 1)
    assert accounts.run("squeue", "-h", "-u", A, "-t", "R").count("\n") == 1
    assert words.rpartition(":")[2] not in {record.lease_id for record in portal.engine.records(0)}
    accounts.cancel_all()


@pytest.mark.slurm
def test_an_agent_that_meets_another_key_says_nothing_and_leaves(cluster: Slurm) -> None:
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    other, secret = zmq.curve_keypair()
    socket.curve_server, socket.curve_secretkey, socket.curve_publickey = True, secret, other
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    public, _ = zmq.curve_keypair()
    mailbox = Mailbox(address=f"tcp://127.0.0.1:{port}", public_key=public.decode(), token="t" * 40)
    told = settings(Path("/nonexistent"), cluster)
    engine = SlurmEngine(
        Commands(cluster.conf, as_user=False), Site(told.pool, python=told.kernel_python, grace=2, simulated=True)
    )
    asked = Task(str(uuid.uuid4()), Kind.KERNEL, "x", ONE, mailbox, 600)
    [*_, handle] = engine.start(asked)
    cluster.until(
        lambda: engine.look({asked.lease_id: handle})[asked.lease_id].sight is Sight.GONE, "the end of the agent", patience=15
    )  # fmt: skip
    assert socket.poll(0) == 0
    code = cluster.run("scontrol", "show", "job", str(handle["job"]))
    assert "ExitCode=75:0" in code
    socket.close(0)
    context.term()
