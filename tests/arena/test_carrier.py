"""What a carrier asks of the machine that it runs on: which devices are the GPUs of a lease, and that they come into the cage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nvlhub.arena import carrier
from nvlhub.arena.local import MIB, PROGRAMS, ordered
from tests.conftest import missing


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    """The device and driver directories of a machine with three GPUs."""
    dev, driver = tmp_path / "dev", tmp_path / "gpus"
    (dev / "nvidia-caps").mkdir(parents=True)
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm", "nvidia-modeset", "null"):
        (dev / name).touch()
    for minor, bus in ((2, "0000:01:00.0"), (0, "0000:02:00.0"), (1, "0000:03:00.0")):
        (driver / bus).mkdir(parents=True)
        told = f"Model: \t\t NVIDIA GB300\nIRQ:   \t\t 1\nGPU UUID: \t GPU-{minor:04}\nDevice Minor: \t {minor}\n"
        (driver / bus / "information").write_text(told)
    return dev, driver


@pytest.mark.parametrize(
    ("visible", "own"),
    [
        (["GPU-0002"], ["nvidia2"]), (["GPU-0001", "GPU-0000"], ["nvidia1", "nvidia0"]),
        (["0"], ["nvidia0", "nvidia1", "nvidia2"]), (["MIG-1"], ["nvidia0", "nvidia1", "nvidia2"]),
    ],
)  # fmt: skip
def test_the_gpus_of_a_lease_are_the_devices_that_the_driver_names(
    machine: tuple[Path, Path], visible: list[str], own: list[str]
) -> None:
    found = [Path(path).name for path in carrier.gpu_devices(visible, *machine)]
    assert found == [*own, "nvidiactl", "nvidia-uvm", "nvidia-caps"]


def test_without_gpus_there_are_no_devices(machine: tuple[Path, Path]) -> None:
    assert carrier.gpu_devices([], *machine) == []


CODE = """
import os, resource
print(os.environ.get("CUDA_VISIBLE_DEVICES"), sorted(os.listdir("/dev")), resource.getrlimit(resource.RLIMIT_DATA)[0])
try: os.write(os.open("/dev/full", os.O_WRONLY), b"x")
except OSError as error: print(error.errno)
"""


def test_devices_work_in_the_cage_and_addresses_are_not_limited_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``/dev/full`` stands for a GPU: a device that tells when it is really asked."""
    monkeypatch.setattr(carrier, "gpu_devices", lambda visible: ["/dev/full"] if visible else [])
    assert caged(tmp_path / "with", {"CUDA_VISIBLE_DEVICES": "GPU-1"}).splitlines() == [
        "GPU-1 ['fd', 'full', 'null', 'random', 'shm', 'urandom', 'zero'] -1", "28",
    ]  # fmt: skip
    assert caged(tmp_path / "without", {}).splitlines() == [
        f"None ['fd', 'null', 'random', 'shm', 'urandom', 'zero'] {256 * MIB}", "2",
    ]  # fmt: skip


def caged(folder: Path, environment: dict[str, str]) -> str:
    folder.mkdir()
    limits = {"seconds": 20, "memory": 256 * MIB, "processes": 8, "disk": MIB, "output": 4096}
    told = carrier.carried(folder, ordered([sys.executable, "-c", CODE], {}, limits, {}), environment)
    if told["ended"] == "cage":
        missing(f"isolation of attempts ({told['log']})")
    assert told["ended"] == "done", told
    return str(told["log"])


def report_of(folder: Path, **but: Any) -> dict[str, Any]:
    """Run a carrier as a program, as the node agent does: strict about who may read what it writes."""
    folder.mkdir(mode=0o700)
    for name in ("carrier.py", "cage.py"):
        (folder / name).write_text((PROGRAMS / name).read_text())
    limits = {"seconds": 20, "memory": 256 * MIB, "processes": 8, "disk": 4 * MIB, "output": 4096}
    code = "open('a.txt', 'w').write('x' * 1000); open('b.txt', 'w').write('y' * 1000)"
    order = ordered([sys.executable, "-c", code], {}, limits, {"a.txt": 2000, "b.txt": 2000}) | but
    (folder / "order.json").write_text(json.dumps(order))
    done = subprocess.run(
        [sys.executable, "-I", "-S", folder / "carrier.py", folder],
        env={}, cwd="/", check=True, capture_output=True, preexec_fn=lambda: os.umask(0o077) and None,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"", b"")
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def test_a_carrier_needs_nothing_but_the_cage_beside_it_and_brings_so_much_at_most(tmp_path: Path) -> None:
    told = report_of(tmp_path / "all")
    if told["ended"] == "cage":
        missing(f"isolation of attempts ({told['log']})")
    assert (told["ended"], told["outputs"]) == ("done", {"a.txt": "ok", "b.txt": "ok"})
    some = report_of(tmp_path / "some", most=1500)
    assert (some["outputs"], list(some["contents"])) == ({"a.txt": "ok", "b.txt": "large"}, ["a.txt"])


def test_an_interpreter_that_is_not_there_is_told(tmp_path: Path) -> None:
    told = report_of(tmp_path / "none", argv=["/absent/python", "x.py"])
    assert (told["ended"], told["code"]) == ("cage", carrier.NO_ANSWER)
    assert "/absent/python" in told["log"]
