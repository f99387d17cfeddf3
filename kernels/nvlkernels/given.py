"""What a job was given, read from the variables that Slurm sets on each of its nodes.

    given(environ, said)    the variables of the lease's tasks on this node
    place(environ)          which of how many agents of the lease this is
    own(told)               what a task keeps of its server's environment: nothing that belongs to another job

Functions of their arguments; standard library alone, because the node agent imports them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

KEPT = (
    "SLURM_CLUSTER_NAME", "SLURM_CONF", "SLURM_CPUS_ON_NODE", "SLURM_GPUS_ON_NODE", "SLURM_JOBID",
    "SLURM_JOB_ACCOUNT", "SLURM_JOB_CPUS_PER_NODE", "SLURM_JOB_END_TIME", "SLURM_JOB_GPUS", "SLURM_JOB_ID",
    "SLURM_JOB_NODELIST", "SLURM_JOB_NUM_NODES", "SLURM_JOB_PARTITION", "SLURM_JOB_QOS", "SLURM_JOB_START_TIME",
    "SLURM_JOB_UID", "SLURM_JOB_USER", "SLURM_NNODES", "SLURM_NODEID", "SLURM_NODELIST", "SLURM_STEP_GPUS",
    "SLURM_TOPOLOGY_ADDR", "SLURM_TOPOLOGY_ADDR_PATTERN", "SLURMD_NODENAME", "TMPDIR",
)  # fmt: skip
"""Variables of the job that its tasks get: enough for ``srun --overlap`` on all its nodes. What describes the agent's own step
(its tasks, its ports, what it exports) would be taken by such a call for its own options."""
FOREIGN = ("SLURM", "SRUN_", "SBATCH_", "PMI", "TMPDIR", "XDG_RUNTIME_DIR")
"""Beginnings of variables that name a job, or places, of the machine where the notebook server runs."""
NONE = "NoDevFiles"
"""What some versions say instead of nothing."""


def given(environ: Mapping[str, str], said: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the lease on this node: those `said` by the engine, and over them what the job got.

    GPUs are called ``<node>/<index>``, by the index that they have on the node. ``CUDA_VISIBLE_DEVICES`` stays as Slurm set
    it, in the same order: where a cgroup hides the others, it counts from 0 whatever the GPUs are. Simulated GPUs
    (``NVLHUB_SIMULATED=1``) have names and nothing to be seen.
    """
    visible = _list(environ.get("CUDA_VISIBLE_DEVICES", "").replace(NONE, ""))
    gpus = _gpus(environ, visible)
    node = environ.get("SLURMD_NODENAME", "")
    nodes = list(_names(environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST") or node))
    simulated = said.get("NVLHUB_SIMULATED") == "1"
    told = {
        "NVLHUB_DEVICES": ",".join(f"{node}/{gpu}" for gpu in gpus),
        "NVLHUB_NODE": node,
        "NVLHUB_NODES": ",".join(nodes),
        "CUDA_VISIBLE_DEVICES": "" if simulated else ",".join(visible or gpus),
    }
    # The portal may know better where names of nodes do not tell.
    there = {name: value for name, value in _place(environ, nodes).items() if not said.get(name)}
    return {**said, **{name: environ[name] for name in KEPT if name in environ}, **told, **there}


def place(environ: Mapping[str, str]) -> tuple[int, int]:
    """Return the place of this node's agent among those of its lease, from 0, and how many they are."""
    # Only a step that srun started has several; a batch script is alone, on however many nodes its job is.
    return int(environ.get("SLURM_NODEID", 0)), int(environ.get("SLURM_STEP_NUM_NODES", 1))


def own(told: Mapping[str, str]) -> dict[str, str]:
    """Return what a task keeps of the environment `told` by its server, which may run in a job on another node."""
    return {name: value for name, value in told.items() if not name.startswith(FOREIGN)}


def _gpus(environ: Mapping[str, str], visible: list[str]) -> list[str]:
    """Return the GPUs by their index on the node. A list that fits what is visible is about the same GPUs."""
    known = [_list(environ.get(name, "")) for name in ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")]
    fitting = [gpus for gpus in known if gpus and (not visible or len(gpus) == len(visible))]
    return fitting[0] if fitting else visible


def _list(text: str) -> list[str]:
    """Return the items of ``0,2-3``: 0, 2, 3."""
    return [item for part in text.split(",") if part for item in _range(part)]


def _range(part: str) -> Iterator[str]:
    """Yield ``05`` to ``07`` for ``05-07``; anything else as it is."""
    bounds = re.fullmatch(r"(\d+)-(\d+)", part)
    if bounds is None:
        yield part
        return
    first, last = bounds.groups()
    for number in range(int(first), int(last) + 1):
        yield str(number).zfill(len(first))


def _names(text: str) -> Iterator[str]:
    """Yield the names of ``nvl[1-2]-[01,03],login``."""
    for name in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        heads = [""]
        for plain, inside in re.findall(r"([^\[]+)|\[([^\]]*)\]", name):
            tails = [plain] if plain else _list(inside)
            heads = [head + tail for head in heads for tail in tails]
        yield from heads


def _place(environ: Mapping[str, str], nodes: list[str]) -> dict[str, str]:
    """Return where the nodes are, as far as their names tell: the leaf switch or block, and the number of each tray."""
    found = {}
    address = environ.get("SLURM_TOPOLOGY_ADDR", "").split(".")
    if len(address) > 1:
        found["NVLHUB_DOMAIN"] = address[-2]
    numbers = [re.search(r"\d+$", node) for node in nodes]
    if nodes and all(numbers):
        found["NVLHUB_TRAYS"] = ",".join(str(int(number[0])) for number in numbers if number)
    return found
