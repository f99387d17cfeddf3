"""Attempts as real processes: honest ones, and ones that attack. Each ends with a clear text, and what follows is judged."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nvlhub.arena import ArenaError, Judgement, LocalArena, carrier, local
from nvlhub.arena.carrier import FIRST_UID, groups
from nvlhub.flow import rubric as rubrics
from tests.conftest import missing

TRUTH = "secret-label"
GRADER = """
import json
def grade(outputs, hidden):
    print("the grader read", (hidden / "truth.csv").read_text()[:20])
    told = json.loads((outputs / "metrics.json").read_text())
    score = told["score"]
    return 1.0 if type(score) is float and score == 0.92 else 0.0
"""


def rubric(**but: Any) -> rubrics.Rubric:
    told: dict[str, Any] = {
        "files": ["solve.py", "*.pth", "sitecustomize.py", "json.py", "builtins.py", "numpy.py", "usercustomize.py"],
        "run": ["python", "solve.py"],
        "outputs": [
            {"name": "labels.csv", "kind": "csv"}, {"name": "metrics.json", "kind": "json", "largest": 100_000},
            {"name": "weights.npy", "kind": "npy"},
        ],
        "limits": {"seconds": 20, "memory_mib": 256, "processes": 24, "disk_mib": 16, "output_kib": 4},
        "items": [
            {"name": "labels", "weight": 6, "check": "match", "output": "labels.csv", "at": "label", "hidden": "truth.csv"},
            {"name": "score", "weight": 2, "check": "number", "output": "metrics.json", "at": "score", "min": 0.9, "max": 1},
            {"name": "graded", "weight": 1, "check": "grader", "grader": "grade.py", "output": "metrics.json"},
            {"name": "quick", "weight": 1, "check": "time", "max": 60},
        ],
        "hidden": {"truth.csv": base64.b64encode(f"id,label\n1,a\n2,{TRUTH}\n".encode()).decode()},
        "graders": {"grade.py": GRADER},
    }  # fmt: skip
    return rubrics.read(told | but)


HONEST = f"""
import json
open("labels.csv", "w").write("id,label\\n1,a\\n2,{TRUTH}\\n")
json.dump({{"score": 0.92}}, open("metrics.json", "w"))
print("done")
"""
WRONG = HONEST.replace(TRUTH, "a guess")


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalArena]:
    folder = tmp_path_factory.mktemp("arena")
    made = LocalArena(folder)
    if why := made.lacks():
        missing(f"isolation of attempts ({why})")
    yield made
    assert list(folder.iterdir()) == []
    # Cages of other tests end by themselves, too.
    caged = [process for process in psutil.process_iter() if process.uids().real >= FIRST_UID]
    assert psutil.wait_procs(caged, timeout=60)[1] == []


@pytest.fixture
def judge(arena: LocalArena) -> Callable[..., Judgement]:
    def judged(code: str, more: dict[str, str] | None = None, **but: Any) -> Judgement:
        files = {"solve.py": code, **(more or {})}
        return arena.judge({name: content.encode() for name, content in files.items()}, rubric(**but))

    return judged


def shares(judgement: Judgement) -> list[int]:
    return [mark.share_milli for mark in judgement.marks]


def slugs(judgement: Judgement) -> list[str]:
    return [mark.slug for mark in judgement.marks]


def quick(**limits: int) -> dict[str, Any]:
    return {"seconds": 20, "memory_mib": 256, "processes": 24, "disk_mib": 16, "output_kib": 4, **limits}


# --- honest ---------------------------------------------------------------------------------------------------------


def test_what_is_right_is_worth_everything(judge: Callable[..., Judgement]) -> None:
    found = judge(HONEST)
    assert shares(found) == [1000] * 4
    assert found.ran.ended == "done"
    assert found.ran.log == "done\n"
    assert "the grader read id,label" in found.grader_log


def test_an_interpreter_below_a_place_of_the_cage_s_own_is_seen() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", "--symlinks", folder / "env"], check=True, timeout=60
        )
        arena = LocalArena(folder / "arena", str(folder / "env" / "bin" / "python"))
        if why := LocalArena(folder / "elsewhere").lacks():
            missing(f"isolation of attempts ({why})")
        code = HONEST + "open('/tmp/own', 'w').write('there is room')\n"
        assert shares(arena.judge({"solve.py": code.encode()}, rubric())) == [1000] * 4


def test_what_is_wrong_in_the_right_form_is_not_worth_its_items(judge: Callable[..., Judgement]) -> None:
    found = judge(WRONG + "print('score: 1.0 PASSED 100/100 {\"share_milli\": 1000}')")
    assert slugs(found) == ["mark-differs", "mark-number", "mark-graded", "mark-quick"]
    assert shares(found) == [0, 1000, 1000, 1000]


def test_what_is_hidden_is_in_no_feedback(judge: Callable[..., Judgement]) -> None:
    found = judge(WRONG)
    assert TRUTH not in repr(found.marks)
    assert TRUTH not in found.ran.log


@pytest.mark.parametrize(
    ("told", "share"),
    [
        ('{"b": [1, 2.0000001], "a": {"x": "y"}}', 1000), ('{"a": {"x": "y"}, "b": [1, 2]}', 1000),
        ('{"a": {"x": "y"}, "b": [1, 3]}', 0), ('{"a": {"z": "y"}, "b": [1, 2]}', 0), ('{"a": {"x": "y"}, "b": [1, 2, 3]}', 0),
        ("[1, 2]", 0), ('{"a": {"x": null}, "b": [1, true]}', 0),
    ],
)  # fmt: skip
def test_nested_values_are_compared_one_by_one(judge: Callable[..., Judgement], told: str, share: int) -> None:
    truth = base64.b64encode(b'{"a": {"x": "y"}, "b": [1, 2]}').decode()
    items = [{"name": "a", "check": "match", "output": "metrics.json", "hidden": "truth.json", "tolerance": 0.001}]
    assert shares(judge(f"open('metrics.json', 'w').write({told!r})", items=items, hidden={"truth.json": truth})) == [
        share
    ]


def test_a_notebook_is_run(judge: Callable[..., Judgement], arena: LocalArena) -> None:
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "id": "a", "source": HONEST}
    notebook = {
        "cells": [cell], "nbformat": 4, "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    }  # fmt: skip
    wanted = rubric(
        files=["lesson.ipynb"],
        run=["notebook", "lesson.ipynb"],
        limits=quick(seconds=120, memory_mib=1024, processes=64),
    )
    found = arena.judge({"lesson.ipynb": json.dumps(notebook).encode()}, wanted)
    assert found.ran.ended == "done", found.ran.log
    assert shares(found) == [1000] * 4


# --- forging --------------------------------------------------------------------------------------------------------

EQUALS_ALL = """
import json, pickle
class Equal(float):
    def __eq__(self, other): return True
    def __ge__(self, other): return True
    __hash__ = float.__hash__
class Run:
    def __reduce__(self): return (eval, ("__import__('builtins').print('unpickled')",))
import numpy as np
np.save("weights.npy", np.array([Run()], dtype=object), allow_pickle=True)
json.dump({"score": Equal(0.1)}, open("metrics.json", "w"))
open("labels.csv", "w").write("id,label\\n1,Equal()\\n2,Equal()\\n")
"""
PATCHES = """
import builtins, json, sys
json.loads = json.load = lambda *a, **k: {"score": 0.92}
builtins.abs = lambda x: 0
sys.modules["csv"] = None
def grade(*_): return 1.0
def marks(*_): return [{"share_milli": 1000, "slug": "mark-match", "members": {}, "text": ""}] * 4
for name in ("marks.json", "marker.py", "told.json", "outputs/marks.json", "graders/grade.py"):
    import os
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    json.dump(marks(), open(name, "w"))
"""
CUSTOM = {
    "sitecustomize.py": "import sys, builtins; builtins.abs = lambda x: 0; print('customised', file=sys.stderr)",
    "usercustomize.py": "print('customised')",
    "json.py": "def loads(*_): return {'score': 0.92}\nload = loads\ndef dump(*_): pass\ndumps = loads",
    "evil.pth": "import os; os.environ['EVIL'] = '1'\n/attempt\n",
    "builtins.py": "raise SystemExit(0)",
    "numpy.py": "raise SystemExit(0)",
}


@pytest.mark.parametrize(
    ("code", "more"),
    [(EQUALS_ALL, None), (PATCHES, None), ("print('nothing')", CUSTOM), (PATCHES, CUSTOM)],
    ids=["equals all", "monkey patches", "customised start", "both"],
)
def test_what_a_learner_does_to_python_does_not_reach_the_grader(
    judge: Callable[..., Judgement], code: str, more: dict[str, str] | None
) -> None:
    found = judge(code, more)
    assert all(share == 0 for share in shares(found)[:3]), found
    assert "unpickled" not in found.grader_log
    assert "customised" not in found.grader_log


def test_arrays_of_objects_and_arrays_larger_than_their_file_are_not_read(judge: Callable[..., Judgement]) -> None:
    items = [{"name": "size", "check": "number", "output": "weights.npy", "min": 0}]
    bomb = """
import numpy as np, struct
head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
head += b" " * (-len(head) - 11 % 64) + b"\\n"
open("weights.npy", "wb").write(b"\\x93NUMPY\\x01\\x00" + struct.pack("<H", len(head)) + head + b"x" * 100)
"""
    assert slugs(judge(EQUALS_ALL, items=items)) == ["mark-unreadable"]
    assert slugs(judge(bomb, items=items)) == ["mark-unreadable"]
    assert slugs(
        judge("import zipfile; zipfile.ZipFile('weights.npy', 'w', 8).writestr('a', b'0' * 10**7)", items=items)
    ) == ["mark-unreadable"]
    assert slugs(judge("import numpy as np; np.save('weights.npy', np.array(0.5))", items=items)) == ["mark-number"]


@pytest.mark.parametrize(
    ("told", "slug"),
    [
        ("'[' * 90_000", "mark-unreadable"),
        ("'{\"score\": NaN}'", "mark-no-number"),
        ("'{\"score\": 1e999}'", "mark-no-number"),
        ("'{\"score\": true}'", "mark-no-number"),
        ("'{\"score\": ' + '9' * 9_000 + '}'", "mark-unreadable"),
        ("'{\"score\": [0.95]}'", "mark-no-number"),
        ('\'{"score": "0.95"}\'', "mark-number"),
        ("'x' * 200_000", "mark-large"),
    ],
)
def test_numbers_are_numbers(judge: Callable[..., Judgement], told: str, slug: str) -> None:
    items = [{"name": "score", "check": "number", "output": "metrics.json", "at": "score", "min": 0.9}]
    assert slugs(judge(f"open('metrics.json', 'w').write({told})", items=items)) == [slug]


# --- reaching out ---------------------------------------------------------------------------------------------------

READS = """
import glob, os, sys
found = []
def look(path):
    try:
        with open(path, "rb", buffering=0) as file:
            if b"secret-label" in file.read(10_000_000): found.append(path)
    except OSError: pass
for place in ("/", "/proc/1/root", "/proc/self/root", "/proc/1/cwd", "/tmp", "/var", "/root", "/home"):
    for folder, folders, files in os.walk(place):
        if folder.startswith(("/usr", "/proc/self", "/proc/thread-self", "/lib", "/bin", "/sbin")) or "site-packages" in folder or "pyenv" in folder:
            folders[:] = []
            continue
        for name in files:
            if name not in ("solve.py",): look(os.path.join(folder, name))
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("environ", "cmdline", "mem", "maps"): look(f"/proc/{pid}/{name}")
print("found", found)
print("environment", sorted(os.environ))
print("processes", len([pid for pid in os.listdir("/proc") if pid.isdigit()]))
print("others", [path for path in ("/etc/shadow", "/root/.ssh", "/var", "/home", "/sys", "/run", "/dev/sda", "/dev/kmsg") if os.path.exists(path)])
print("uid", os.getuid(), os.getgroups())
for place in ("/usr/x", "/x", "/etc/passwd", sys.prefix + "/x", "/proc/sys/kernel/core_pattern", "/attempt/../grader"):
    try: open(place, "a"); print("wrote", place)
    except OSError as error: pass
for what in ("os.setuid(0)", "os.chroot('/attempt')", "os.mknod('/attempt/d', 0o60666, os.makedev(8, 0))", "os.kill(1, 9)", "os.kill(os.getppid(), 9)"):
    try: eval(what); print("could", what)
    except OSError: pass
"""


def test_nothing_hidden_or_of_the_portal_can_be_reached(
    judge: Callable[..., Judgement], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", TRUTH)
    found = judge(READS, limits=quick(seconds=60))
    log = found.ran.log
    assert found.ran.ended == "done", log
    assert "found []" in log
    assert "JUPYTERHUB" not in log
    assert "others []" in log
    assert "processes 2" in log
    assert "wrote" not in log
    # Who is the first process of its namespace gets no signal from within.
    assert "could" not in log.replace("could os.kill(1, 9)", "").replace("could os.kill(os.getppid(), 9)", "")
    if os.geteuid() == 0:
        assert "uid 17" in log
        assert "[]" in log.partition("uid ")[2]


def test_there_is_no_network(judge: Callable[..., Judgement]) -> None:
    tries = """
import socket
for family, address in ((socket.AF_INET, ("127.0.0.1", PORT)), (socket.AF_INET, ("1.1.1.1", 53)), (socket.AF_UNIX, "\\0hidden-PORT")):
    try:
        socket.socket(family).connect(address); print("connected", address)
    except OSError: pass
print("tried")
"""
    with socket_of_ours() as port:
        log = judge(tries.replace("PORT", str(port))).ran.log
    assert log == "tried\n"


@contextlib.contextmanager
def socket_of_ours() -> Iterator[int]:
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        port = tcp.getsockname()[1]
        unix.bind(f"\0hidden-{port}")
        unix.listen()
        yield port


# --- taking too much ------------------------------------------------------------------------------------------------

FORKS = """
import os
while True:
    try: os.fork()
    except OSError: pass
"""
FILES = """
n = 0
try:
    while True:
        n += 1
        open(f"file{n}", "wb").write(b"x" * 1_000_000)
except OSError as error: print(error.errno)
try:
    while True:
        n += 1
        open(f"empty{n}", "wb")
except OSError as error: print(error.errno)
"""
MEMORY = "kept = []\nwhile True: kept.append(bytearray(10_000_000))"
MEMFD = """
import os
kept = []
while True:
    kept.append(os.memfd_create("x"))
    for _ in range(15): os.write(kept[-1], b"x" * 1_000_000)
"""
MANY = """
import os
for _ in range(20):
    if os.fork() == 0:
        kept = [bytearray(b"x" * 10_000_000) for _ in range(20)]
        import time; time.sleep(60)
import time; time.sleep(60)
"""


@pytest.mark.parametrize(
    ("code", "seconds", "endings"),
    [
        (FORKS, 2, {"time"}),
        ("while True: pass", 2, {"time"}),
        ("while True: print('x' * 1_000_000)", 2, {"time"}),
        ("import signal, time\nfor n in range(1, 32):\n try: signal.signal(n, signal.SIG_IGN)\n except OSError: pass\nwhile True: time.sleep(1)", 2, {"time"}),
        (MEMORY, 20, {"code", "memory"}),
        (MEMFD, 20, {"memory", "code"}),
        (MANY, 20, {"memory"}),
        ("import os; os.abort()", 20, {"code"}),
        ("import os; os.kill(os.getpid(), 9)", 20, {"code"}),
        ("raise SystemExit(3)", 20, {"code"}),
    ],
    ids=["forks", "loop", "1 GB of output", "deaf", "memory", "memfd", "many", "abort", "kill", "exit"],
)  # fmt: skip
def test_who_takes_too_much_is_ended_and_the_next_is_judged(
    judge: Callable[..., Judgement], code: str, seconds: int, endings: set[str]
) -> None:
    found = judge(code, limits=quick(seconds=seconds))
    assert found.ran.ended in endings, found
    assert found.marks == ()
    assert len(found.ran.log) < 5000
    assert shares(judge(HONEST)) == [1000] * 4


SHARED = """
import mmap, time
kept = mmap.mmap(-1, 600 * 2**20)
for place in range(0, len(kept), 4096): kept[place] = 1
time.sleep(15)
"""


@pytest.mark.parametrize(
    ("code", "ended"), [(SHARED, "memory"), (SHARED.replace("600", "200").replace("15", "1"), "done")]
)
def test_shared_memory_counts_where_no_group_counts_it(
    arena: LocalArena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, ended: str
) -> None:
    monkeypatch.setattr(carrier, "groups", lambda: ())
    order = local.order_of({"solve.py": code.encode()}, rubric(), sys.executable)
    told = carrier.carried(tmp_path, order, {})
    assert (told["ended"], told["memory_group"]) == (ended, False)


def test_no_user_namespace_can_be_made_inside(judge: Callable[..., Judgement]) -> None:
    code = """
import ctypes, errno, os, threading
libc = ctypes.CDLL(None, use_errno=True)
def told(result): return "made" if result >= 0 else errno.errorcode[ctypes.get_errno()]
print(told(libc.unshare(0x10000000)), told(libc.syscall({"x86_64": 56, "aarch64": 220}[os.uname().machine], 0x10000011, 0, 0, 0, 0)))
print(told(libc.syscall(435, 0, 0)))
thread = threading.Thread(target=print, args=("threads go on",)); thread.start(); thread.join()
"""
    assert judge(code + HONEST).ran.log == "EPERM EPERM\nENOSYS\nthreads go on\ndone\n"


def test_files_fill_their_own_room_alone(judge: Callable[..., Judgement]) -> None:
    found = judge(FILES, limits=quick(seconds=60))
    assert found.ran.log == "28\n28\n"
    assert slugs(found)[:2] == ["mark-missing", "mark-missing"]


LATE = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(0.5)
        open("/attempt/labels.csv", "w").write("late")
        time.sleep(1000)
    os._exit(0)
"""


def test_what_is_left_in_the_background_ends_with_the_command(judge: Callable[..., Judgement]) -> None:
    assert slugs(judge(LATE))[0] == "mark-missing"


@pytest.mark.parametrize(
    ("code", "slug"),
    [
        ("os.symlink('/etc/passwd', 'labels.csv')", "mark-link"),
        ("os.symlink('/attempt/hidden/truth.csv', 'labels.csv')", "mark-link"),
        ("os.mkfifo('labels.csv')", "mark-kind"),
        ("os.mkdir('labels.csv')", "mark-kind"),
        ("import socket; socket.socket(socket.AF_UNIX).bind('labels.csv')", "mark-kind"),
        ("open('labels.csv', 'wb').truncate(15_000_000)", "mark-large"),
        ("os.system('rm -rf /attempt/* /attempt')", "mark-missing"),
        ("os.chmod('.', 0)", "mark-missing"),
        ("open('labels.csv', 'wb').write(b'\\xff\\xfe\\x00')", "mark-unreadable"),
        ("open('labels.csv', 'w').write('')", "mark-unreadable"),
        ("open('labels.csv', 'w').write('label\\n')", "mark-length"),
    ],
)  # fmt: skip
def test_outputs_are_plain_files_or_nothing(judge: Callable[..., Judgement], code: str, slug: str) -> None:
    assert slugs(judge(f"import os; {code}"))[0] == slug


def test_a_grader_that_fails_or_never_ends_is_our_side_s_fault_and_others_go_on(
    judge: Callable[..., Judgement],
) -> None:
    found = judge(HONEST, graders={"grade.py": "def grade(outputs, hidden): raise SystemExit(0)"})
    assert slugs(found) == ["mark-match", "mark-number", "mark-broken", "mark-quick"]
    with pytest.raises(ArenaError, match="time"):
        judge(
            HONEST,
            graders={"grade.py": "def grade(outputs, hidden):\n while True: pass"},
            limits=quick(grader_seconds=2),
        )


def test_nothing_is_left_when_the_portal_is_killed(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from nvlhub.arena import LocalArena
from nvlhub.flow import rubric
told = rubric.read({{"files": ["solve.py"], "items": [{{"name": "a", "check": "time", "max": 1}}]}})
print(LocalArena(Path({str(tmp_path)!r})).lacks(), flush=True)
LocalArena(Path({str(tmp_path)!r})).judge({{"solve.py": b"import time; print('up', flush=True); time.sleep(600)"}}, told)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as portal:
        assert portal.stdout is not None
        if why := portal.stdout.readline().strip():
            missing(f"isolation of attempts ({why})")
        caged = until(
            lambda: [one for one in psutil.Process(portal.pid).children(recursive=True) if "solve.py" in one.cmdline()]
        )
        portal.kill()
    until(lambda: all(not one.is_running() or one.status() == psutil.STATUS_ZOMBIE for one in caged))
    # The next portal's arena clears away what it left.
    LocalArena(tmp_path)
    assert not [group for parent in groups() for group in Path(parent).glob("nvlhub-cage-*") if not _lives(group)]


def _lives(group: Path) -> bool:
    return psutil.pid_exists(int(group.name.rpartition("-")[2]))


def until(found: Callable[[], Any]) -> Any:
    waited = threading.Event()
    for _ in range(200):
        try:
            if value := found():
                return value
        except psutil.Error:
            pass
        waited.wait(0.05)
    pytest.fail("it did not come")
