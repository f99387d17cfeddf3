"""What an agent reads from the variables of its job."""

from __future__ import annotations

import pytest

from nvlkernels.given import given, own, place

SAID = {"NVLHUB_LEASE": "lease-1", "NVLHUB_SIMULATED": "0", "NVLHUB_DEVICES": "", "SETTING": "of the profile"}
STEP = {
    "SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "0,1,2,3", "SLURM_STEP_GPUS": "2,3", "CUDA_VISIBLE_DEVICES": "0,1",
    "SLURMD_NODENAME": "nvl001-04", "SLURM_STEP_NODELIST": "nvl001-[03-04,18]", "SLURM_JOB_NODELIST": "nvl001-[01-18]",
    "SLURM_STEP_NUM_NODES": "3", "SLURM_NODEID": "1", "SLURM_TOPOLOGY_ADDR": "spine.nvl001.nvl001-04",
    "SLURM_CONF": "/etc/slurm/slurm.conf",
}  # fmt: skip
"""Of a step on three of its job's nodes, with GPUs that a cgroup counts from 0."""


def test_gpus_are_called_by_their_node_and_the_index_that_they_have_there() -> None:
    told = given(STEP, SAID)
    assert told["NVLHUB_DEVICES"] == "nvl001-04/2,nvl001-04/3"
    assert told["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert (told["NVLHUB_NODE"], told["NVLHUB_NODES"]) == ("nvl001-04", "nvl001-03,nvl001-04,nvl001-18")
    assert (told["NVLHUB_DOMAIN"], told["NVLHUB_TRAYS"]) == ("nvl001", "3,4,18")
    assert (told["NVLHUB_LEASE"], told["SETTING"]) == ("lease-1", "of the profile")


@pytest.mark.parametrize(
    ("environ", "devices", "visible"),
    [
        ({"SLURM_JOB_GPUS": "1,3", "CUDA_VISIBLE_DEVICES": "1,3"}, "n/1,n/3", "1,3"),
        ({"SLURM_JOB_GPUS": "0-2", "CUDA_VISIBLE_DEVICES": "0-2"}, "n/0,n/1,n/2", "0,1,2"),
        ({"SLURM_STEP_GPUS": "0,1,2,3", "SLURM_JOB_GPUS": "5", "CUDA_VISIBLE_DEVICES": "0"}, "n/5", "0"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}, "n/GPU-a,n/GPU-b", "GPU-a,GPU-b"),
        ({"SLURM_JOB_GPUS": "2"}, "n/2", "2"),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, "", ""),
        ({}, "", ""),
    ],
)
def test_what_slurm_says_of_gpus_in_its_several_ways(environ: dict[str, str], devices: str, visible: str) -> None:
    told = given({"SLURMD_NODENAME": "n", **environ}, SAID)
    assert (told["NVLHUB_DEVICES"], told["CUDA_VISIBLE_DEVICES"]) == (devices, visible)


def test_simulated_gpus_have_names_and_nothing_to_be_seen() -> None:
    told = given(STEP, {**SAID, "NVLHUB_SIMULATED": "1"})
    assert (told["NVLHUB_DEVICES"], told["CUDA_VISIBLE_DEVICES"]) == ("nvl001-04/2,nvl001-04/3", "")


def test_what_the_portal_says_of_the_place_stands() -> None:
    told = given(STEP, {**SAID, "NVLHUB_DOMAIN": "rack-7", "NVLHUB_TRAYS": "11"})
    assert (told["NVLHUB_DOMAIN"], told["NVLHUB_TRAYS"]) == ("rack-7", "11")


@pytest.mark.parametrize(
    ("nodes", "names", "trays"),
    [
        ("a1", "a1", "1"),
        ("rack[1-2]n[08-10],x7", "rack1n08,rack1n09,rack1n10,rack2n08,rack2n09,rack2n10,x7", "8,9,10,8,9,10,7"),
        ("gpu-a,gpu-b", "gpu-a,gpu-b", None),
    ],
)
def test_lists_of_nodes_are_written_out(nodes: str, names: str, trays: str | None) -> None:
    told = given({"SLURM_JOB_NODELIST": nodes}, SAID)
    assert (told["NVLHUB_NODES"], told.get("NVLHUB_TRAYS")) == (names, trays)


def test_tasks_get_of_the_job_what_srun_needs_and_nothing_of_the_agents_own_step() -> None:
    more = {
        "SLURM_EXPORT_ENV": "PATH", "SLURM_NTASKS": "3", "SLURM_NTASKS_PER_NODE": "1", "SLURM_STEP_ID": "0",
        "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1", "SLURM_JWT": "secret", "PATH": "/bin", "TOKEN": "secret",
    }  # fmt: skip
    told = given({**STEP, **more}, SAID)
    assert {"SLURM_JOB_ID", "SLURM_CONF", "SLURM_JOB_NODELIST"} <= told.keys()
    assert not told.keys() & more.keys()


def test_only_the_agents_of_a_step_are_several() -> None:
    assert place(STEP) == (1, 3)
    assert place({"SLURM_NODEID": "0", "SLURM_JOB_NUM_NODES": "3"}) == (0, 1)
    assert place({}) == (0, 1)


def test_of_a_server_that_runs_in_a_job_of_its_own_a_task_gets_nothing_of_that_job() -> None:
    server = {
        "PATH": "/bin", "SLURM_JOB_ID": "6", "SLURMD_NODENAME": "cpu1", "TMPDIR": "/scratch/job6", "PMI_RANK": "0",
        "XDG_RUNTIME_DIR": "/run/user/1", "JUPYTERHUB_API_TOKEN": "its own",
    }  # fmt: skip
    assert own(server) == {"PATH": "/bin", "JUPYTERHUB_API_TOKEN": "its own"}
