"""Commands on Slurm as the engine: they speak to the portal by REST, and to Slurm on the machine where they run."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Annotated

import typer

from nvlhub.cli.base import Json, fail, group, tell
from nvlhub.engines.slurm.render import Site, render, topology

slurm = group("slurm", "Slurm as the engine.")

OLDEST = (22, 5)
"""Release of Slurm that is tried here, Debian 12's."""


def release(text: str) -> tuple[int, int]:
    """Return the version that an option gives."""
    found = re.fullmatch(r"(\d\d)\.(\d\d)(\.\d+)?", text)
    if found is None or (version := (int(found[1]), int(found[2]))) < OLDEST:
        raise typer.BadParameter(
            f"“{text}” is no release of Slurm that can be used. Give year and month, 22.05 or later."
        )
    return version


@slurm.command("render")
def render_files(
    domains: Annotated[int, typer.Option(min=1, max=999, help="NVLink domains (racks).")],
    out: Annotated[Path, typer.Option(help="Directory of the files; made where it is missing.")],
    trays: Annotated[int, typer.Option(min=1, max=18, help="Compute trays of a domain, 4 GPUs each.")] = 18,
    cpu_nodes: Annotated[int, typer.Option(min=0, max=999, help="Nodes without GPUs, for notebook servers.")] = 8,
    version: Annotated[str, typer.Option(metavar="YY.MM", help="Release of Slurm.")] = "25.05",
    controller: Annotated[str, typer.Option(help="Short name of slurmctld's machine; left out: this one's.")] = "",
    accounting_host: Annotated[str, typer.Option(help="Short name of slurmdbd's machine; left out: the same.")] = "",
    cluster: Annotated[str, typer.Option(help="Name of the cluster.")] = "nvlhub",
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    json: Json = False,
) -> None:
    """Write Slurm's configuration files for a site of NVL72 racks."""
    site = Site(
        domains=domains, trays=trays, cpu_nodes=cpu_nodes, version=release(version), cluster=cluster,
        host=controller or socket.gethostname().split(".")[0], accounting_host=accounting_host,
    )  # fmt: skip
    files = {out / name: text for name, text in render(site).items()}
    there = [str(file) for file in files if file.exists()]
    if there and not force:
        fail(f"{', '.join(there)}: already there, and nothing was written. Choose another --out, or add --force.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            # slurmdbd refuses a file that others can read: a password could stand in it.
            file.touch(mode=0o600 if file.name == "slurmdbd.conf" else 0o644)
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{error.filename} cannot be written: {error.strerror}. Choose another --out.")
    told = {
        "files": sorted(str(file) for file in files),
        "version": version,
        "topology": topology(site),
        "gpu_nodes": len(site.gpu_nodes),
        "gpus": len(site.gpu_nodes) * site.gpus,
        "cpu_nodes": cpu_nodes,
    }
    tell(told, as_json=json)
