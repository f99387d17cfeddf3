"""Commands on Slurm as the engine: they speak to the portal by REST, and to Slurm on the machine where they run."""

from __future__ import annotations

from nvlhub.cli.base import group

slurm = group("slurm", "Slurm as the engine.")
