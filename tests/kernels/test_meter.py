"""What a node agent measures, and what becomes of it on the way to the portal."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from nvlhub.wire import Beat, BeatAnswer, GpuSample, State
from nvlkernels import mailbox as mailbox_module
from nvlkernels import meter
from nvlkernels import provisioner as provisioning
from nvlkernels.mailbox import Line, Mailbox
from nvlkernels.meter import Meter, Processes, below, of_gpus
from nvlkernels.provisioner import LeaseProvisioner

BURN = "import sys; print(flush=True)\nwhile True: pass"
HOLD = "x = bytearray(80_000_000); print(flush=True); input()"


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does something; it has begun."""
    made = subprocess.Popen([sys.executable, "-c", request.param], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert made.stdout is not None
    made.stdout.readline()
    yield made
    made.kill()
    made.wait()
    made.stdout.close()
    assert made.stdin is not None
    made.stdin.close()


@pytest.mark.parametrize("child", [BURN], indirect=True)
def test_a_process_below_that_computes_is_seen(child: subprocess.Popen[bytes]) -> None:
    looking = Processes(1)
    sample = looking.sample(0.5)
    assert sample["real"] is False
    assert sample["busy"] is None
    [[busy, memory, total]] = sample["gpus"]
    assert 10 <= busy <= 100
    assert 0 < memory < total
    [[spread, _, _]] = Processes(100).sample(0.5)["gpus"]
    assert spread <= 3


@pytest.mark.parametrize("child", [HOLD], indirect=True)
def test_memory_is_that_of_all_processes_below(child: subprocess.Popen[bytes]) -> None:
    assert below(os.getpid())[1] > 80_000_000


def test_a_child_of_a_thread_is_seen_and_what_has_ended_is_not_lost() -> None:
    before, _ = below(os.getpid())
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    threading.Thread(target=subprocess.run, args=([sys.executable, "-c", burn],)).run()
    after, _ = below(os.getpid())
    assert after - before >= 0.25


class Nvml(ModuleType):
    """A driver of two GPUs, one at work."""

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.shut = 0
        self.nvmlInit = lambda: None
        self.nvmlShutdown = self._shutdown
        self.nvmlDeviceGetHandleByUUID = self._handle
        self.nvmlDeviceGetHandleByIndex = lambda number: ["GPU-a", "GPU-b"][number]
        self.nvmlDeviceGetUtilizationRates = lambda uuid: SimpleNamespace(gpu=60 if uuid == "GPU-a" else 0)
        self.nvmlDeviceGetMemoryInfo = lambda _uuid: SimpleNamespace(used=5, total=10)

    def _shutdown(self) -> None:
        self.shut += 1

    def _handle(self, uuid: str) -> str:
        if uuid == "GPU-gone":
            raise RuntimeError("GPU is lost")
        return uuid


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Nvml:
    made = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", made)
    return made


def test_real_gpus_are_asked_for_by_uuid(nvml: Nvml) -> None:
    assert of_gpus(["GPU-a", "GPU-b"], every=0.01) == {"real": True, "busy": True, "gpus": [[60, 5, 10], [0, 5, 10]]}
    assert of_gpus(["GPU-b"], every=0.01)["busy"] is False
    assert nvml.shut == 2


def test_gpus_of_a_job_are_asked_for_by_the_number_by_which_its_processes_see_them(
    nvml: Nvml, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(meter, "of_gpus", lambda devices: of_gpus(devices, every=0.01))
    given = {"NVLHUB_DEVICES": "n1/3,n1/2", "CUDA_VISIBLE_DEVICES": "1,0", "NVLHUB_SIMULATED": "0"}
    measure = Meter(given)._measure()
    assert measure is not None
    assert measure()["gpus"] == [[0, 5, 10], [60, 5, 10]]
    assert nvml.shut == 1


def test_a_driver_that_fails_costs_the_figure_and_nothing_else(nvml: Nvml, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails, works again, and then its module is gone, which ends the thread."""
    looks: list[str] = []

    def init() -> None:
        looks.append("look")
        if len(looks) == 1:
            raise RuntimeError("driver not loaded")
        if len(looks) > 2:
            raise ImportError

    monkeypatch.setattr(nvml, "nvmlInit", init)
    monkeypatch.setattr(meter, "EVERY", 0.01)
    monkeypatch.setattr(meter, "of_gpus", lambda devices: of_gpus(devices, every=0.01))
    made = Meter({"NVLHUB_DEVICES": "GPU-a", "NVLHUB_SIMULATED": "0"})
    made.start()
    made.join(10)
    assert not made.is_alive()
    assert made.take() == {"real": True, "busy": True, "gpus": [[60, 5, 10]]}


def test_a_gpu_that_is_lost_is_an_error_and_the_driver_is_let_go(nvml: Nvml) -> None:
    with pytest.raises(RuntimeError, match="lost"):
        of_gpus(["GPU-gone"], every=0.01)
    assert nvml.shut == 1


@pytest.mark.parametrize("environment", [{}, {"NVLHUB_DEVICES": ""}])
def test_where_nothing_can_be_measured_the_thread_ends(environment: dict[str, str]) -> None:
    made = Meter(environment)
    made.start()
    made.join(10)
    assert not made.is_alive()


def test_a_sample_is_taken_once() -> None:
    made = Meter({})
    made._newest = {"real": False}
    assert (made.take(), made.take()) == ({"real": False}, None)


# --- at the other end ---------------------------------------------------------------------------------------------------


async def line_with(frame: object) -> tuple[Mailbox, Line]:
    mailbox = Mailbox("127.0.0.1")
    line = mailbox.line("lease-1")
    line.hear(b"agent", {"kind": "hb", "sample": frame})
    return mailbox, line


async def test_a_sample_goes_along_with_the_next_sign_of_life_and_no_further() -> None:
    mailbox, line = await line_with({"real": True, "busy": True, "gpus": [[60, 5, 10], [0, 5, 10]]})
    beat = line.beat("running", 7)
    assert (beat.phase, beat.idle_seconds, beat.gpu_busy) == ("running", 7, True)
    assert beat.sample is not None
    assert beat.sample.gpus == (
        GpuSample(busy=60, memory=5, memory_total=10),
        GpuSample(busy=0, memory=5, memory_total=10),
    )
    assert line.beat("running", 7).sample is None
    mailbox.close()


async def test_of_simulated_gpus_nobody_says_that_they_work() -> None:
    mailbox, line = await line_with({"real": False, "busy": True, "gpus": [[60, 5, 10]]})
    beat = line.beat("running", 7)
    assert (beat.gpu_busy, beat.sample is not None and beat.sample.real) == (None, False)
    mailbox.close()


@pytest.mark.parametrize(
    "frame",
    [
        None, 7, [], {}, {"real": True}, {"real": True, "gpus": []}, {"real": 1, "gpus": [[1, 1, 1]]},
        {"real": True, "gpus": [[101, 1, 1]]}, {"real": True, "gpus": [[1, -1, 1]]}, {"real": True, "gpus": [[1, 1]]},
        {"real": True, "gpus": [["50", 1, 1]]}, {"real": True, "gpus": [[0.5, 1, 1]]}, {"real": True, "gpus": 5},
        {"real": True, "gpus": [[1, 1, 1]] * 73}, {"real": True, "gpus": [None]}, {"gpus": {"a": 1}, "real": True},
    ],
)  # fmt: skip
async def test_what_is_no_sample_is_dropped_and_the_sign_of_life_stays(frame: object) -> None:
    mailbox, line = await line_with(frame)
    beat = line.beat("starting", 0)
    assert (beat.phase, beat.sample, beat.gpu_busy) == ("starting", None, None)
    mailbox.close()


async def test_what_was_measured_long_ago_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox, line = await line_with({"real": True, "busy": True, "gpus": [[60, 5, 10]]})
    monkeypatch.setattr(mailbox_module, "SILENT", -60.0)
    assert line.beat("running", 0).sample is None
    mailbox.close()


async def test_an_agent_measures_its_tasks_and_says_so(tmp_path: Any) -> None:
    """A real agent: its first sample is there some seconds after the first sign of life."""
    import json  # noqa: PLC0415

    mailbox = Mailbox("127.0.0.1")
    letter = {
        **mailbox.address.model_dump(), "grace": 30, "bind": "127.0.0.1", "directory": str(tmp_path),
        "environment": {"NVLHUB_DEVICES": "SIM-a,SIM-b", "NVLHUB_SIMULATED": "1"},
    }  # fmt: skip
    code = "import nvlkernels.meter as m; m.EVERY = 0.3; import nvlkernels.agent as a, sys; m.Processes.sample.__defaults__ = (0.3,); sys.exit(a.main())"
    agent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, "lease-1", stdin=subprocess.PIPE)
    assert agent.stdin is not None
    agent.stdin.write((json.dumps(letter) + "\n").encode())
    agent.stdin.close()
    line = mailbox.line("lease-1")
    await asyncio.wait_for(line.hello, 60)
    run = line.run()
    await run.start(argv=[sys.executable, "-c", "while True: pass"], env=dict(os.environ), conn=None)
    sample = None
    async with asyncio.timeout(60):
        while sample is None or sample.gpus[0].busy < 5:
            await asyncio.sleep(0.05)
            sample = line.beat("running", 0).sample or sample
    assert (sample.real, len(sample.gpus)) == (False, 1)
    assert sample.gpus[0].busy <= 60
    line.say("exit")
    assert await asyncio.wait_for(agent.wait(), 60) == 0
    mailbox.close()


async def test_a_kernels_sign_of_life_carries_the_sample_and_brings_the_warning_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the portal warns of is what the notebook's extension reads; one answer that nobody understands ends nothing."""
    monkeypatch.setattr(provisioning, "BEAT", 0.01)
    mailbox, line = await line_with({"real": True, "busy": False, "gpus": [[0, 5, 10]]})
    heard: list[Beat] = []
    answered = asyncio.Event()

    async def beat(_lease: str, said: Beat) -> BeatAnswer:
        heard.append(said)
        if len(heard) == 1:
            raise ValueError("what is this?")
        answered.set()
        return BeatAnswer(state=State.RUNNING, warn="This lease is given back in 4 min.", now=1)

    provisioner = LeaseProvisioner()
    provisioner._portal = SimpleNamespace(beat=beat)  # type: ignore[assignment]
    provisioner._line = line
    provisioner.lease = SimpleNamespace(id="lease-1", now=1, model_copy=lambda update: provisioner.lease)  # type: ignore[assignment]
    beating = asyncio.create_task(provisioner._beat())
    await asyncio.wait_for(answered.wait(), 60)
    beating.cancel()
    assert [(said.gpu_busy, said.sample is not None and said.sample.real) for said in heard] == [
        (False, True),
        (None, False),
    ]
    assert provisioner.warning == "This lease is given back in 4 min."
    mailbox.close()
