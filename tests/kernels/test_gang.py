"""A gang whose lease lies on two nodes: real agents and real workers, started as a job's step starts them."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from nvlhub.engines.base import Task
from nvlhub.engines.local import LocalEngine
from nvlhub.engines.processes import of_lease
from nvlkernels import Cluster
from nvlkernels import cluster as cluster_module
from nvlkernels import mailbox as mailbox_module
from tests.kernels.conftest import GRACE, Served
from tests.waiting import until

STEP = """#!{python}
# What srun does: the agent on every node, each with the whole of stdin, and its own variables.
import os, signal, subprocess, sys
letter = sys.stdin.buffer.read()
agents = [
    subprocess.Popen(
        [{python!r}, *sys.argv[1:]], stdin=subprocess.PIPE,
        env={{**os.environ, "SLURM_JOB_ID": "7", "SLURM_NODEID": str(node), "SLURM_STEP_NUM_NODES": "2",
              "SLURMD_NODENAME": f"nvl001-0{{node + 1}}", "SLURM_STEP_GPUS": gpu, "CUDA_VISIBLE_DEVICES": "0", "TMPDIR": {scratch!r}}},
    )
    for node, gpu in enumerate("03")
]
signal.signal(signal.SIGTERM, lambda *_: [agent.terminate() for agent in agents])
for agent in agents:
    agent.stdin.write(letter)
    agent.stdin.close()
for agent in agents:
    agent.wait()
"""


@pytest.fixture
def on_two_nodes(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The portal, with an engine that starts two agents for each lease, one GPU each."""
    step = tmp_path / "step"
    step.write_text(STEP.format(python=sys.executable, scratch=str(tmp_path)))
    step.chmod(step.stat().st_mode | stat.S_IXUSR)
    engine = served.portal.engine
    assert isinstance(engine, LocalEngine)
    letter = engine._letter

    def job_letter(task: Task, directory: Path) -> bytes:
        told = letter(task, directory).decode()
        return told.replace('"bind": "127.0.0.1"', '"bind": "auto", "given": "slurm"').encode().replace(
            str(directory).encode(), b""
        )  # fmt: skip

    monkeypatch.setattr(engine, "_python", str(step))
    monkeypatch.setattr(engine, "_quick", ())
    monkeypatch.setattr(engine, "_letter", job_letter)
    monkeypatch.setattr(cluster_module, "BEAT", 0.3)
    return served


def environment() -> dict[str, str]:
    return dict(os.environ)


def gang() -> Cluster:
    return Cluster(2, gang=True, project="demo", quiet=True)


def agents(lease: str, node: str) -> list[psutil.Process]:
    return [
        process
        for process in of_lease(lease)
        if "nvlkernels.agent" in process.cmdline() and process.environ().get("SLURMD_NODENAME") == node
    ]


def test_each_gpu_of_a_gang_has_its_worker_on_its_own_node(on_two_nodes: Served) -> None:
    with gang() as cluster, cluster.get_client() as client:
        client.wait_for_workers(2)
        [lease] = on_two_nodes.leases()
        assert lease["gpus"] == 2
        told = client.run(environment).values()
        assert {(one["NVLHUB_NODE"], one["NVLHUB_DEVICES"]) for one in told} == {
            ("nvl001-01", "nvl001-01/0"),
            ("nvl001-02", "nvl001-02/3"),
        }
        assert {one["CUDA_VISIBLE_DEVICES"] for one in told} == {""}
        assert client.gather(client.map(abs, range(-20, 0))) == list(range(20, 0, -1))
    on_two_nodes.settled()


@pytest.mark.parametrize("grace", [GRACE])
def test_a_gang_that_loses_a_node_loses_its_lease_and_another_one_is_asked_for(
    on_two_nodes: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_module, "SILENT", 2.0)
    with gang() as cluster, cluster.get_client() as client:
        client.wait_for_workers(2)
        [first] = on_two_nodes.leases()
        [agent] = agents(first["id"], "nvl001-02")
        agent.kill()
        [second] = until(lambda: [lease for lease in on_two_nodes.leases() if lease["id"] != first["id"]], 60)
        client.wait_for_workers(2)
        assert second["gpus"] == 2
        assert on_two_nodes.api("GET", f"/leases/{first['id']}")["end_reason"] == "lost"
    on_two_nodes.settled()


def test_a_node_that_has_fewer_gpus_than_its_lease_is_a_sentence_and_the_lease_is_given_back(
    on_two_nodes: Served, tmp_path: Path
) -> None:
    step = tmp_path / "step"
    step.write_text(step.read_text().replace('"SLURM_STEP_NUM_NODES": "2"', '"SLURM_STEP_NUM_NODES": "1"'))
    with gang() as cluster:
        until(lambda: not on_two_nodes.leases())
        said: Any = "\n".join(text for _, text in cluster._cluster_manager_logs)
        assert "gave 1 GPU(s) to a lease of 2" in said
