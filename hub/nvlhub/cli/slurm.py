"""Commands on Slurm as the engine: they speak to the portal by REST, and to Slurm on the machine where they run."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Annotated

import typer

from nvlhub.cli.base import Json, fail, group, tell
from nvlhub.engines.slurm.render import TOPOLOGIES, Site, render, topology

slurm = group("slurm", "Slurm as the engine.")

RELEASES = ("22.05", "23.02", "23.11", "24.05", "24.11", "25.05", "25.11", "26.05", "26.11")
"""Releases of Slurm that files can be written for; the oldest, Debian 12's, is the one that is tried here."""
MACHINE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
CLUSTER = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def release(text: str) -> tuple[int, int]:
    """Return the version that an option gives."""
    found = re.fullmatch(r"(\d\d\.\d\d)(\.\d{1,3})?", text)
    if found is None or found[1] not in RELEASES:
        raise typer.BadParameter(
            f"“{text}” is no release of Slurm that can be used. Give year and month, one of {', '.join(RELEASES)}.",
            param_hint="'--version'",
        )
    year, month = found[1].split(".")
    return int(year), int(month)


def machine(text: str) -> str:
    """Return the short name of a machine."""
    if not MACHINE.fullmatch(text):
        raise typer.BadParameter(
            f"“{text}” is no short name of a machine: 1 to 63 letters, digits and -, as `hostname -s` prints it, without a domain."
        )
    return text


def cluster_name(text: str) -> str:
    """Return the name of a cluster."""
    if not CLUSTER.fullmatch(text):
        raise typer.BadParameter(
            f"“{text}” cannot be a cluster's name: 1 to 40 of a-z, 0-9, _ and -, the first a letter or digit."
        )
    return text


@slurm.command("render")
def render_files(
    domains: Annotated[int, typer.Option(min=1, max=999, help="NVLink domains (racks).")],
    out: Annotated[Path, typer.Option(help="Directory of the files; made where it is missing.")],
    trays: Annotated[int, typer.Option(min=1, max=18, help="Compute trays of a domain, 4 GPUs each.")] = 18,
    cpu_nodes: Annotated[int, typer.Option(min=0, max=999, help="Nodes without GPUs, for notebook servers.")] = 8,
    version: Annotated[str, typer.Option(metavar="YY.MM", help="Release of Slurm.")] = "25.05",
    controller: Annotated[
        str | None,
        typer.Option(parser=machine, metavar="NAME", help="Short name of slurmctld's machine; left out: this one's."),
    ] = None,
    accounting_host: Annotated[
        str | None,
        typer.Option(parser=machine, metavar="NAME", help="Short name of slurmdbd's machine; left out: the same."),
    ] = None,
    cluster: Annotated[str, typer.Option(parser=cluster_name, metavar="NAME", help="Name of the cluster.")] = "nvlhub",
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    json: Json = False,
) -> None:
    """Write Slurm's configuration files for a site of NVL72 racks."""
    site = Site(
        domains=domains, trays=trays, cpu_nodes=cpu_nodes, version=release(version), cluster=cluster,
        host=controller or socket.gethostname().split(".")[0], accounting_host=accounting_host or "",
    )  # fmt: skip
    files = {out / name: text for name, text in render(site).items()}
    # What another release has instead: beside these Slurm would read it, too, or somebody would take it for true.
    stale = [file for name in TOPOLOGIES if (file := out / name) not in files and file.exists()]
    there = [str(file) for file in [*(file for file in files if file.exists()), *stale]]
    if there and not force:
        fail(f"{', '.join(there)}: already there, and nothing was written. Choose another --out, or add --force.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            # slurmdbd refuses a file that others can read: a password could stand in it.
            file.touch(mode=0o600 if file.name == "slurmdbd.conf" else 0o644)
            file.write_text(text, encoding="utf-8")
        for file in stale:
            file.unlink()
    except OSError as error:
        fail(f"{error.filename} cannot be written: {error.strerror}. Choose another --out.")
    told = {
        "files": sorted(str(file) for file in files),
        "removed": [str(file) for file in stale],
        "version": version,
        "topology": topology(site),
        "gpu_nodes": len(site.gpu_nodes),
        "gpus": len(site.gpu_nodes) * site.gpus,
        "cpu_nodes": cpu_nodes,
    }
    tell(told, as_json=json)
