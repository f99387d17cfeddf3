"""Attempts on GPUs: a served portal with its run loop, the local engine with real node agents, simulated GPUs, real cages."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nvlhub.arena import ArenaError
from nvlhub.arena.leased import LeasedArena, reported
from nvlhub.engines.processes import of_lease
from nvlhub.errors import ConflictError
from nvlhub.forms import AttemptView, NewAttempt, NewCourse, RunView, Trial
from nvlhub.visitor import Visitor
from nvlhub.wire import Kind, LeaseAsk
from tests.arena.test_local import (
    EQUALS_ALL,
    FILES,
    FORKS,
    HONEST,
    LATE,
    PATCHES,
    READS,
    TRUTH,
    WRONG,
    rubric,
    socket_of_ours,
)
from tests.conftest import missing
from tests.courses_kit import approved, charge_slots, sit
from tests.kernels.conftest import GRACE, Served
from tests.portal_kit import MAILBOX, RESEARCHER
from tests.waiting import until

LEARNER = Visitor("learner")
ROOT = Path(__file__).parents[2]
HOUR = 3600
LIMITS = {"seconds": 20, "memory_mib": 256, "processes": 24, "disk_mib": 16, "output_kib": 4}


class Class:
    """A class that goes on, in a portal that judges what its one learner hands in."""

    def __init__(self, served: Served, **but: Any) -> None:
        self.served = served
        told = rubric(gpu=True, attempts=20, files=["solve.py", "*.py"], **but).model_dump(
            mode="json", exclude_none=True
        )
        self.portal.registry.courses.add(
            RESEARCHER,
            NewCourse(
                slug="frames",
                title="Frames",
                project="demo",
                profile="gpu1",
                instructors=["instructor"],
                assessment=told,
            ),
        )
        now = self.portal.clock.now()
        self.run: RunView = approved(self.portal, starts=now + 1, ends=now + HOUR, seats=4, warm_minutes=0)  # type: ignore[arg-type]
        sit(self.portal, self.run, LEARNER.name)  # type: ignore[arg-type]
        until(lambda: self.portal.clock.now() >= now + 1)

    @property
    def portal(self) -> Any:
        return self.served.portal

    def hand_in(self, code: str, who: Visitor = LEARNER, **more: str) -> AttemptView:
        files = {"solve.py": code, **{f"{name}.py": content for name, content in more.items()}}
        told = {name: base64.b64encode(content.encode()).decode() for name, content in files.items()}
        view, _ = self.portal.registry.assessing.hand_in(who, NewAttempt(run=int(self.run.id), files=told), "en")
        return view  # type: ignore[no-any-return]

    def seen(self, view: AttemptView) -> AttemptView:
        """Return an attempt as those who teach see it."""
        return self.portal.registry.assessing.attempt(RESEARCHER, int(view.id), "en")  # type: ignore[no-any-return]

    def judged(self, code: str, **more: str) -> AttemptView:
        view = self.hand_in(code, **more)
        until(lambda: self.seen(view).state not in {"queued", "running"}, 60)
        return self.seen(view)

    def left(self) -> int:
        return self.portal.registry.assessing.asked(LEARNER, int(self.run.id)).left  # type: ignore[no-any-return]

    def running(self) -> str:
        """Wait until an attempt runs in its cage; return its lease."""

        def found() -> str:
            for lease in self.served.leases():
                if any("solve.py" in one.cmdline() for one in inside(lease["id"])):
                    return str(lease["id"])
            return ""

        return str(until(lambda: quiet(found)))


def inside(lease: str) -> list[psutil.Process]:
    """Return what the processes of a lease started: caged ones do not have its mark."""
    return [child for one in of_lease(lease) for child in one.children(recursive=True)]


def quiet(found: Callable[[], Any]) -> Any:
    try:
        return found()
    except psutil.Error:
        return None


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    yield from serving(tmp_path)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    """A class whose learner attacks, over and over."""
    for running in serving(tmp_path_factory.mktemp("attacked")):
        yield Class(running, limits=LIMITS | {"seconds": 6})


def serving(folder: Path) -> Iterator[Served]:
    (folder / "data").mkdir()
    running = Served(folder / "data")
    assert isinstance(running.portal.registry.assessing.arena, LeasedArena)
    if why := running.portal.registry.assessing.arena.lacks():
        running.stop()
        missing(f"isolation of attempts ({why})")
    yield running
    running.settled()
    running.stop()


def shares(view: AttemptView) -> list[int]:
    return [item.share_milli for item in view.items]


def test_an_attempt_on_gpus_is_one_lease_that_pays_by_use_and_is_settled(served: Served) -> None:
    view = Class(served).judged(HONEST + "import os, time; print(sorted(os.environ)); time.sleep(2)")
    assert (view.state, view.score_milli, shares(view)) == ("passed", 1000, [1000] * 4), view
    assert "NVLHUB" not in view.log
    [lease] = served.settled()
    assert (lease["user"], lease["project"], lease["gpus"], lease["end_reason"]) == ("learner", "demo", 1, "user")
    ran = lease["ended_at"] - lease["started_at"]
    assert lease["charged"] == ran * lease["gpus"] * lease["factor_milli"]
    assert 2 <= ran <= 10
    with served.portal.store.reading() as unit:
        assert unit.attempt(int(view.id))["lease"] == lease["id"]


def test_in_a_slot_that_is_charged_an_attempt_costs_nothing_more(served: Served) -> None:
    charge_slots(served.portal)  # type: ignore[arg-type]
    assert Class(served).judged(HONEST).state == "passed"
    [lease] = served.settled()
    assert (lease["held"], lease["charged"]) == (0, 0)


def test_attempts_on_leases_wait_beside_each_other_and_keep_no_place_here(served: Served) -> None:
    made = Class(served)
    people = [Visitor(f"learner{number}") for number in range(1, 4)]
    for who in people:
        sit(served.portal, made.run, who.name)  # type: ignore[arg-type]
    views = [made.hand_in("import time; time.sleep(6)" + HONEST, who=who) for who in people]
    # More than there are assessors; an attempt that needs no GPU would find its place.
    until(lambda: len(served.leases()) == 3)
    until(lambda: {made.seen(view).state for view in views} == {"passed"}, 60)
    assert len(served.settled()) == 3


def test_a_trial_of_the_assessment_is_leased_for_who_tries_it(served: Served) -> None:
    Class(served)
    tried = Trial(files={"solve.py": base64.b64encode(HONEST.encode()).decode()})
    told = served.portal.registry.assessing.try_out(Visitor("instructor"), "frames", tried, "en")
    assert (told.state, told.score_milli) == ("passed", 1000)
    assert [lease["user"] for lease in served.settled()] == ["instructor"]


# --- attacks --------------------------------------------------------------------------------------------------------

CUSTOM = {
    "sitecustomize": "import sys, builtins; builtins.abs = lambda x: 0; print('customised', file=sys.stderr)",
    "json": "def loads(*_): return {'score': 0.92}\nload = loads\ndef dump(*_): pass\ndumps = loads",
}
KILLS = """
import os
for pid in {1, os.getppid(), *map(int, filter(str.isdigit, os.listdir("/proc")))} - {os.getpid()}:
    try: os.kill(pid, 9)
    except OSError: pass
raise SystemExit(3)
"""
OURS = """
import os
kept = ("order.json", "report.json", "carrier.py", "cage.py", "agent.log", "task.log", "connection.json", "portal.sqlite")
seen = [os.path.join(folder, name) for folder, folders, names in os.walk("/") for name in names if name in kept and not folder.startswith("/proc")]
print("ours", seen)
"""
NETWORK = """
import socket
for address in (("127.0.0.1", PORT), ("127.0.0.1", PORTAL), ("1.1.1.1", 53)):
    try: socket.create_connection(address, 1); print("connected", address)
    except OSError: pass
try: socket.socket(socket.AF_UNIX).connect("\\0hidden-PORT"); print("connected")
except OSError: pass
print("tried")
"""


@pytest.mark.parametrize(
    ("code", "more"),
    [(EQUALS_ALL, {}), (PATCHES, {}), (PATCHES, CUSTOM), (WRONG, {})],
    ids=["equals all", "monkey patches", "customised start", "wrong"],
)
def test_what_is_forged_on_a_lease_is_worth_nothing(attacked: Class, code: str, more: dict[str, str]) -> None:
    view = attacked.judged(code, **more)
    assert view.state == "failed"
    assert shares(view)[0] == 0
    assert "customised" not in view.grader_log
    assert TRUTH not in view.model_dump_json(exclude={"grader_log"})


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (FORKS, "longer than 6 s"),
        ("while True: print('x' * 1_000_000)", "longer than 6 s"),
        ("kept = []\nwhile True: kept.append(bytearray(10_000_000))", "nothing of it was judged"),
        (KILLS, "status 3"),
        (LATE, "was not there"),
        (HONEST + "import os; os.system('rm -rf /attempt/* /attempt')", "was not there"),
        (FILES, "was not there"),
        ("import os; os.symlink('/proc/1/environ', 'labels.csv')", "is a link"),
    ],
    ids=["forks", "prints", "memory", "kills", "stays", "deletes", "files", "links"],
)
def test_who_takes_too_much_on_a_lease_is_told_and_the_next_is_judged(attacked: Class, code: str, said: str) -> None:
    view = attacked.judged(code)
    assert (view.state, shares(view)[0]) == ("failed", 0)
    assert said in view.items[0].said
    assert len(view.log) < 5000
    assert attacked.judged(f"{HONEST}# {said} {len(code)}").state == "passed"


def test_neither_agent_nor_portal_nor_network_can_be_reached_from_a_lease(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacked = Class(served, limits=LIMITS | {"seconds": 60})
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", TRUTH)
    log = attacked.judged(READS).log
    assert "found []" in log
    assert "others []" in log
    assert "processes 2" in log
    assert "JUPYTERHUB" not in log
    assert "NVLHUB" not in log
    assert "ours []" in attacked.judged(OURS).log
    with socket_of_ours() as port:
        code = NETWORK.replace("PORTAL", str(served.port)).replace("PORT", str(port))
        assert attacked.judged(code).log == "tried\n"


# --- no lease -------------------------------------------------------------------------------------------------------


def test_who_holds_the_seat_s_gpus_is_told_so_and_loses_no_attempt(served: Served) -> None:
    made = Class(served)
    held, _ = served.portal.desk.ask(LEARNER, LeaseAsk(project="demo", profile="gpu1", mailbox=MAILBOX), "kernel")
    view = made.judged(HONEST)
    assert (view.state, view.items, view.log) == ("broken", [], "")
    assert "it costs you no attempt" in view.said
    assert "shut it down" in view.said
    assert "you may hold 1 GPU" in view.said
    assert "/more" in view.said
    assert "不會扣您的機會" in served.portal.registry.assessing.attempt(LEARNER, int(view.id), "zh-TW").said
    assert made.left() == 20
    served.portal.desk.end(LEARNER, held.id)
    again = made.judged(HONEST)
    assert (again.id != view.id, again.state, made.left()) == (True, "passed", 19)
    assert len(served.settled()) == 2


def test_who_waits_too_long_for_gpus_is_told_so_and_loses_no_attempt(served: Served) -> None:
    made = Class(served)
    desk = served.portal.desk
    served.portal.registry.assessing.arena._patience = 1.0
    ask = LeaseAsk(project="demo", profile="gpu8", kind=Kind.KERNEL, mailbox=MAILBOX)
    desk.ask(RESEARCHER, ask, "all")
    view = made.judged(HONEST)
    assert (view.state, made.left()) == ("broken", 20)
    assert "no room for it (GPUs: 1) within 1 s" in view.said
    desk.drop("researcher", "all")
    assert {lease["user"] for lease in served.settled()} == {"learner", "researcher"}


def test_a_trial_without_a_lease_is_refused_in_words(served: Served) -> None:
    Class(served)
    with served.portal.store.writing() as unit:
        unit.set_member("demo", "instructor", "member", 0)
    with pytest.raises(ConflictError):
        served.portal.registry.assessing.try_out(
            Visitor("instructor"), "frames", Trial(files={"solve.py": "eA=="}), "en"
        )


# --- ends in the middle ---------------------------------------------------------------------------------------------

SLOW = "import time; time.sleep(4)" + HONEST


def test_who_ends_the_lease_of_an_attempt_is_told_that_it_could_not_be_judged(served: Served) -> None:
    made = Class(served)
    view = made.hand_in(SLOW)
    served.portal.desk.end(LEARNER, made.running())
    until(lambda: made.seen(view).state == "broken")
    log = made.seen(view).grader_log
    assert "the lease ended meanwhile" in log or "the node agent left" in log
    assert made.left() == 20


def test_a_portal_that_ends_gives_the_lease_back_and_the_next_begins_the_attempt_anew(served: Served) -> None:
    made = Class(served)
    view = made.hand_in(SLOW)
    first = made.running()
    served.stop()
    served.start()
    until(lambda: made.seen(view).state == "passed", 60)
    ended = served.settled()
    assert len(ended) == 2
    assert first in {lease["id"] for lease in ended}


KILLED = """
import sys, time
from pathlib import Path
from tests.arena.test_leased import Class, SLOW, inside
from tests.kernels.conftest import GRACE, Served
made = Class(Served(Path(sys.argv[1]), GRACE))
attempt, lease = made.hand_in(SLOW.replace("4", "15")).id, made.running()
print(attempt, lease, *(one.pid for one in inside(lease)), flush=True)
time.sleep(600)
"""


def test_a_portal_that_is_killed_leaves_nothing_running_and_the_next_begins_the_attempt_anew(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as portal:
        assert portal.stdout is not None
        attempt, lease, *told = portal.stdout.readline().split()
        caged = [psutil.Process(int(pid)) for pid in told]
        portal.kill()
    # Nobody hears the agent any more: it ends, and all of it.
    until(lambda: of_lease(lease) == [], GRACE + 10)
    assert caged
    assert psutil.wait_procs(caged, timeout=2)[1] == []
    served = Served(tmp_path / "data")
    assessing = served.portal.registry.assessing
    until(lambda: assessing.attempt(LEARNER, int(attempt), "en").state == "passed", 60)
    assert lease in {one["id"] for one in served.settled()}
    assert len(served.settled()) == 2
    served.stop()


# --- what comes back ------------------------------------------------------------------------------------------------


def told(**but: Any) -> str:
    report = {
        "ended": "done", "code": 0, "seconds": 1.5, "log": "hello", "outputs": {"labels.csv": "ok"},
        "contents": {"labels.csv": base64.b64encode(b"label").decode()},
    }  # fmt: skip
    return json.dumps(report | but)


def test_only_what_is_asked_for_is_taken_from_a_report() -> None:
    found = reported(told(contents={"labels.csv": "eA==", "../marker.py": "eA=="}, more=1), rubric())
    assert found["contents"] == {"labels.csv": "eA=="}
    assert found["outputs"] == {"labels.csv": "ok", "metrics.json": "missing", "weights.npy": "missing"}
    assert reported(told(contents={}), rubric())["outputs"]["labels.csv"] == "missing"
    small = rubric(outputs=[{"name": "labels.csv", "kind": "csv", "largest": 4}], items=rubric_of_time())
    assert reported(told(), small)["outputs"]["labels.csv"] == "large"
    assert reported(told(), small)["contents"] == {}


def rubric_of_time() -> list[dict[str, Any]]:
    return [{"name": "quick", "check": "time", "max": 60}]


@pytest.mark.parametrize(
    "report",
    ["", "[]", "{", told(ended="passed"), told(seconds=-1), told(seconds="1"), told(code=None), told(log=1),
     told(contents={"labels.csv": "not base64!"}), told(log="x" * 2_000_000), told(outputs={"labels.csv": "graded"}), told(seconds=float("nan"))],
)  # fmt: skip
def test_what_is_no_report_is_not_judged(report: str) -> None:
    with pytest.raises(ArenaError, match="report"):
        reported(report, rubric())
