"""What this Slurm can: from what its commands say of themselves, not from its version alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nvlhub.engines.slurm.reading import settings

_VERSION = re.compile(r"slurm(?:-wlm)?\s+(\d+)\.(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Abilities:
    """Abilities that change how a job is asked for."""

    version: tuple[int, int]
    """Year and month of the release."""
    segment: bool = False
    """``--segment``: groups of nodes that share a block (24.05)."""
    exclusive_topo: bool = False
    """``--exclusive=topo``: a block to oneself (24.11)."""
    blocks: bool = False
    """Whether the cluster's topology consists of blocks (topology/block)."""
    accounting: bool = False
    """Whether slurmdbd keeps what ran."""
    min_job_age: int = 300
    """Seconds for which the controller remembers a job that ended."""


def abilities(version: str, sbatch_help: str, config: str) -> Abilities:
    """Read what ``sbatch --version``, ``sbatch --help`` and ``scontrol show config`` print.

    Raises `ValueError` for what is not Slurm's word.
    """
    found = _VERSION.search(version)
    if found is None:
        raise ValueError(f"not a version of Slurm: {version.strip()[:80]!r}")
    told = settings(config)
    age = re.match(r"\d+", told.get("MinJobAge", ""))
    return Abilities(
        version=(int(found[1]), int(found[2])),
        segment="--segment" in sbatch_help,
        exclusive_topo=bool(re.search(r"--exclusive\[?=[^\n]*topo", sbatch_help)),
        blocks=told.get("TopologyPlugin", "").endswith("/block"),
        accounting=told.get("AccountingStorageType", "").endswith("/slurmdbd"),
        min_job_age=int(age[0]) if age else 300,
    )
