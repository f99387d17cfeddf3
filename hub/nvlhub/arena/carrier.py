"""Has one command run in a cage on the machine that this runs on, and tells what it left.

    python carrier.py FOLDER

A program of its own, like the cage beside it (standard library alone): on the portal's machine it is run where it lies; on a node it
comes as text through the node agent, where nothing of the portal is installed. What is to be done stands in ``order.json`` of
the folder, what came of it in ``report.json``:

    order     files {name: base64} · folders · argv · limits {seconds, memory, processes, disk, output} · outputs [{name, largest}] · most
    report    ended · code · seconds · log · outputs {name: ok, or what is wrong with it} · contents {name: base64}

`most`: bytes of all outputs together that are brought; what is beyond counts as too large. Everything else is asked of this machine: where
its interpreter lives, whether there are accounts to become, where memory can be limited, and which devices are the GPUs that
``CUDA_VISIBLE_DEVICES`` names.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/sbin", "/etc/ld.so.cache", "/etc/alternatives")
"""What of the machine can be read inside, beside the interpreter's own directories."""
FIRST_UID, UIDS = 1_750_000_000, 1 << 22
"""Numbers that no account has: one for each cage, so that cages cannot reach each other either."""
NOBODY = 65_534
SLACK = 30
"""Seconds beyond its limit after which a cage itself is given up."""
NO_ANSWER = -1
"""Status of a report about a cage that gave none."""
PDEATHSIG = 1
DEV = Path("/dev")
CONTROL = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-caps", "nvidia-caps-imex-channels")
"""Devices that every program on a GPU needs, as far as they are there."""
DRIVER = Path("/proc/driver/nvidia/gpus")


def carried(folder: Path, order: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Carry an order out; return the report."""
    for name in ("in", "out", *(f"in/{name}" for name in order["folders"])):
        (folder / name).mkdir()
    for name, content in order["files"].items():
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(content))
    visible = [name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    told = caged(spec(folder, order, visible))
    contents, room = {}, int(order["most"])
    for name, how in told["outputs"].items():
        if how == "ok":
            room -= (folder / "out" / name).stat().st_size
            if room < 0:
                told["outputs"][name] = "large"
            else:
                contents[name] = base64.b64encode((folder / "out" / name).read_bytes()).decode()
    return {**told, "contents": contents}


def spec(folder: Path, order: Mapping[str, Any], visible: list[str]) -> dict[str, Any]:
    """Return what the cage is told: the order, and what is so on this machine. Raises `OSError`, `ValueError`."""
    python = order["argv"][0]
    gpus = {"CUDA_VISIBLE_DEVICES": ",".join(visible), "CUDA_CACHE_PATH": "/tmp"} if visible else {}  # noqa: S108
    return {
        **order["limits"], "folder": str(folder), "argv": order["argv"], "outputs": order["outputs"],
        "env": {**inside(python), **gpus}, "binds": [*SYSTEM, *prefixes(python)], "devices": gpu_devices(visible),
        "uid": FIRST_UID + os.getpid() % UIDS if all_uids() else NOBODY, "groups": groups(),
    }  # fmt: skip


def caged(told: Mapping[str, Any]) -> dict[str, Any]:
    """Run the cage. Raises `subprocess.SubprocessError`, `OSError`, `ValueError` for one that gives no answer."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(Path(__file__).with_name("cage.py"))], input=json.dumps(told).encode(), env={},
        capture_output=True, timeout=told["seconds"] + SLACK, check=True, cwd="/",
    )  # fmt: skip
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def inside(python: str) -> dict[str, str]:
    """Return all of the environment inside: nothing of the portal's, or of the lease's."""
    return {
        "PATH": f"{Path(python).parent}:/usr/local/bin:/usr/bin:/bin", "HOME": "/attempt", "TMPDIR": "/tmp",  # noqa: S108
        "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2",
    }  # fmt: skip


def prefixes(python: str) -> tuple[str, ...]:
    """Return the directories that an interpreter lives in, beside those of the system."""
    ask = "import json, sys; print(json.dumps([sys.base_prefix, sys.prefix]))"
    told = subprocess.run([python, "-I", "-c", ask], capture_output=True, check=True, timeout=30).stdout
    found = dict.fromkeys(map(str, json.loads(told)))
    return tuple(path for path in found if not path.startswith(("/usr/", "/bin")) and path not in SYSTEM)


def groups() -> tuple[str, ...]:
    """Return directories below which a group with limited memory may be made: tried in order, none has to work."""
    if os.geteuid() != 0:
        return ()
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines())
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split()[:3]
        point = left.split()[4]
        if kind == "cgroup2":
            found += [f"{point}{own.get('', '/')}", point]
        elif kind == "cgroup" and "memory" in options.split(","):
            found.append(f"{point}{own.get('memory', '/')}")
    return tuple(found)


def all_uids() -> bool:
    """Tell whether any uid can be become: a container may have but a few."""
    lines = Path("/proc/self/uid_map").read_text(encoding="ascii").split()
    return os.geteuid() == 0 and lines[:1] == ["0"] and int(lines[2]) > FIRST_UID + UIDS


def gpu_devices(visible: Iterable[str], dev: Path = DEV, driver: Path = DRIVER) -> list[str]:
    """Return the devices of GPUs, named as in ``CUDA_VISIBLE_DEVICES``, and what every GPU needs; none for none.

    Numbers count the GPUs that can be opened: leaving one out would make them mean others. Where numbers are used (Slurm), the
    job's own device group keeps the other GPUs away, as it does from kernels.
    """
    names = list(visible)
    if not names:
        return []
    minors = _minors(driver)
    if all(name in minors for name in names):
        own = [dev / f"nvidia{minors[name]}" for name in names]
    else:
        own = sorted(path for path in dev.glob("nvidia*") if path.name.removeprefix("nvidia").isdecimal())
    return [str(path) for path in (*own, *(dev / name for name in CONTROL)) if path.exists()]


def _minors(driver: Path) -> dict[str, str]:
    """Return the number in the name of its device for each GPU's UUID, as the driver tells it."""
    found = {}
    for file in driver.glob("*/information"):
        with contextlib.suppress(OSError):
            pairs = (line.partition(":") for line in file.read_text(encoding="utf-8").splitlines())
            told = {name.strip(): value.strip() for name, _, value in pairs}
            found[told.get("GPU UUID", "")] = told.get("Device Minor", "")
    return found


def main() -> None:
    """Do what stands in the folder, and end with whoever started this."""
    ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)
    folder = Path(sys.argv[1])
    try:
        report = carried(folder, json.loads((folder / "order.json").read_bytes()), os.environ)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        why = f"a cage gave no answer ({type(error).__name__}: {error})"[:500]
        report = {"ended": "cage", "code": NO_ANSWER, "seconds": 0.0, "log": why, "outputs": {}, "contents": {}}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main()
