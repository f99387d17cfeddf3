"""Slurm's configuration files from a plan, and that Slurm takes them."""

from __future__ import annotations

import dataclasses
import getpass
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from nvlhub.cli import app
from nvlhub.engines.slurm.private import Slurm, lacking, private_slurm
from nvlhub.engines.slurm.render import Paths, Site, render, topology
from nvlhub.ports import free_port
from tests.conftest import missing

RACKS = Site(domains=139, host="ctl", cpu_nodes=8)


def lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def at(version: tuple[int, int], *, cpu_nodes: int = 8) -> Site:
    return dataclasses.replace(RACKS, version=version, cpu_nodes=cpu_nodes)


def test_a_site_of_139_racks_has_a_node_for_every_tray_with_its_domain_as_feature() -> None:
    conf = render(RACKS)["slurm.conf"]
    nodes = lines(conf, "NodeName=nvl")
    assert len(nodes) == 139
    assert nodes[-1].startswith("NodeName=nvl139-[01-18] ")
    assert " Gres=gpu:gb300:4 Feature=nvl139 " in nodes[-1]
    assert lines(conf, "NodeName=cpu") == [
        "NodeName=cpu[001-008] Sockets=2 CoresPerSocket=64 ThreadsPerCore=1 RealMemory=500000 State=UNKNOWN"
    ]
    assert len(RACKS.gpu_nodes) == 2502
    gpu, cpu = lines(conf, "PartitionName=")
    assert gpu.count("-[01-18]") == 139
    assert " Default=YES " in gpu
    assert " Nodes=cpu[001-008] " in cpu


def test_what_a_site_promises_its_users_stands_in_the_files() -> None:
    files = render(RACKS)
    for setting in (
        "EnforcePartLimits=ALL", "JobRequeue=0", "MinJobAge=300", "PriorityDecayHalfLife=0",
        "PriorityUsageResetPeriod=NONE", "AccountingStorageEnforce=associations,limits,qos,safe",
        "PrivateData=accounts,jobs,reservations,usage,users", "ProctrackType=proctrack/cgroup",
    ):  # fmt: skip
        assert setting in files["slurm.conf"].splitlines()
    assert "ConstrainDevices=yes" in files["cgroup.conf"].splitlines()
    assert "StoragePass" not in files["slurmdbd.conf"]
    assert lines(files["gres.conf"], "NodeName=nvl139") == [
        "NodeName=nvl139-[01-18] AutoDetect=nvml Name=gpu Type=gb300 File=/dev/nvidia[0-3]"
    ]
    # Slurm 22.05 has neither.
    assert "SwitchType" not in render(at((22, 5)))["slurm.conf"]
    assert "Topology=" not in render(at((22, 5)))["slurm.conf"]


def test_without_accounting_nothing_names_the_daemon_of_it() -> None:
    files = render(dataclasses.replace(RACKS, accounting=False))
    assert "slurmdbd.conf" not in files
    assert "AccountingStorageTRES" not in files["slurm.conf"]


@pytest.mark.parametrize("version", [(22, 5), (23, 11)])
def test_before_blocks_a_domain_is_a_leaf_switch(version: tuple[int, int]) -> None:
    files = render(at(version))
    assert "TopologyPlugin=topology/tree" in files["slurm.conf"].splitlines()
    switches = files["topology.conf"].splitlines()
    assert len(switches) == 139 + 2
    assert switches[0] == "SwitchName=nvl001 Nodes=nvl001-[01-18]"
    assert switches[-2] == "SwitchName=cpu Nodes=cpu[001-008]"
    assert switches[-1].startswith("SwitchName=spine Switches=nvl001,nvl002,")


def test_with_one_kind_of_topology_cpu_nodes_are_a_block_only_where_they_are_enough_for_one() -> None:
    blocks = render(at((24, 5), cpu_nodes=18))["topology.conf"].splitlines()
    assert blocks[0] == "BlockName=nvl001 Nodes=nvl001-[01-18]"
    assert blocks[-2:] == ["BlockName=cpu Nodes=cpu[001-018]", "BlockSizes=18"]
    assert "BlockName=cpu" not in render(at((24, 5), cpu_nodes=0))["topology.conf"]
    assert [topology(at((24, 5), cpu_nodes=nodes)) for nodes in (0, 1, 17, 18)] == ["block", "tree", "tree", "block"]
    assert "SwitchName=cpu" in render(at((24, 11), cpu_nodes=17))["topology.conf"]


@pytest.mark.parametrize("version", [(25, 5), (25, 11)])
def test_with_several_topologies_cpu_nodes_have_a_flat_one(version: tuple[int, int]) -> None:
    files = render(at(version, cpu_nodes=1))
    assert "topology.conf" not in files
    blocks, flat = yaml.safe_load(files["topology.yaml"])
    assert (blocks["cluster_default"], flat) == (True, {"topology": "flat", "cluster_default": False, "flat": True})
    assert blocks["block"]["block_sizes"] == [18]
    assert len(blocks["block"]["blocks"]) == 139
    assert blocks["block"]["blocks"][0] == {"block": "nvl001", "nodes": "nvl001-[01-18]"}
    assert lines(files["slurm.conf"], "PartitionName=cpu")[0].endswith(" Topology=flat")
    assert "SwitchType=switch/nvidia_imex" in files["slurm.conf"].splitlines()


def test_a_simulated_cluster_is_all_on_this_machine() -> None:
    site = Site(domains=2, host="here", trays=2, cpu_nodes=1, version=(22, 5), simulated=True, first_node_port=7000)
    files = render(dataclasses.replace(site, paths=Paths.below("/base")))
    conf = files["slurm.conf"]
    assert [re.sub(" Sockets.*", "", line) for line in lines(conf, "NodeName=")] == [
        "NodeName=nvl001-[01-02] NodeHostName=here NodeAddr=127.0.0.1 Port=[7000-7001]",
        "NodeName=nvl002-[01-02] NodeHostName=here NodeAddr=127.0.0.1 Port=[7002-7003]",
        "NodeName=cpu001 NodeHostName=here NodeAddr=127.0.0.1 Port=7004",
    ]
    for name in ("slurm.conf", "slurmdbd.conf"):
        assert "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny" in files[name].splitlines()
    assert "Name=gpu Type=gb300 File=/base/dev/nvidia[0-3]" in files["gres.conf"]
    anywhere = render(dataclasses.replace(site, address=""))["slurm.conf"]
    assert "CommunicationParameters" not in anywhere
    assert "SlurmctldHost=here(127.0.0.1)" in anywhere


@pytest.fixture(scope="module")
def accounting() -> Iterator[Slurm]:
    """A Slurm whose slurmdbd another controller can use, too."""
    if absent := lacking():
        missing(f"Slurm ({', '.join(absent)})")
    base = Path(tempfile.mkdtemp(prefix="nvlhub-slurm-"))
    try:
        with private_slurm(base / "slurm", trays=1, cpu_nodes=0) as running:
            yield running
    finally:
        shutil.rmtree(base, ignore_errors=True)


@pytest.mark.slurm
def test_slurmctld_takes_the_files_of_139_racks(accounting: Slurm, tmp_path: Path) -> None:
    own = accounting.site
    site = dataclasses.replace(
        RACKS, version=(22, 5), cluster="racks", host=own.host, user=getpass.getuser(), port=free_port(),
        accounting_port=own.accounting_port, accounting_host=own.address or "127.0.0.1",
        paths=dataclasses.replace(Paths.below(str(tmp_path)), munge=own.paths.munge),
    )  # fmt: skip
    for part in ("etc", "log", "state", "spool", "run"):
        (tmp_path / part).mkdir()
    for name, text in render(site).items():
        # These names resolve nowhere here, and slurmctld asks for each of them ten times.
        resolved = re.sub(r"(?m)^(NodeName=\S+)(?= Sockets)", r"\1 NodeAddr=127.0.0.1", text)
        (tmp_path / "etc" / name).write_text(resolved, encoding="utf-8")
    environment = {**accounting.environment, "SLURM_CONF": str(tmp_path / "etc/slurm.conf")}
    racks = dataclasses.replace(accounting, directory=tmp_path, site=site, environment=environment, _daemons={})
    try:
        racks.start_controller()
        assert sorted(racks.run("sinfo", "-h", "-o", "%R %D").splitlines()) == ["cpu 8", "gpu 2502"]
        nodes = racks.run("sinfo", "-h", "-N", "-o", "%N").split()
        assert sorted(set(nodes)) == sorted(site.nodes)
        leaves = re.findall(r"SwitchName=(\S+) Level=0 .*Nodes=(\S+)", racks.run("scontrol", "show", "topology"))
        assert leaves[138] == ("nvl139", "nvl139-[01-18]")
        assert "gres/gpu=10008" in racks.run("scontrol", "show", "partition", "gpu")
    finally:
        racks.stop_controller()


def render_command(out: Path, *more: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["slurm", "render", "--domains", "139", "--out", str(out), *more])
    return done.exit_code, done.output


def test_the_command_writes_the_files_and_says_what_they_describe(tmp_path: Path) -> None:
    code, said = render_command(tmp_path / "etc", "--controller", "ctl", "--json")
    assert code == 0
    told = json.loads(said)
    assert (told["topology"], told["gpu_nodes"], told["gpus"]) == ("block", 2502, 10008)
    assert {Path(file).name for file in told["files"]} == render(RACKS).keys()
    assert (tmp_path / "etc/slurm.conf").read_text(encoding="utf-8") == render(RACKS)["slurm.conf"]
    assert (tmp_path / "etc/slurmdbd.conf").stat().st_mode & 0o777 == 0o600


def test_the_command_overwrites_nothing_unless_told(tmp_path: Path) -> None:
    (tmp_path / "slurm.conf").write_text("ours", encoding="utf-8")
    code, said = render_command(tmp_path)
    assert (code, "nothing was written" in said) == (1, True)
    assert [file.name for file in tmp_path.iterdir()] == ["slurm.conf"]
    assert (tmp_path / "slurm.conf").read_text(encoding="utf-8") == "ours"
    code, _ = render_command(tmp_path, "--force", "--version", "22.05")
    assert code == 0
    assert (tmp_path / "topology.conf").exists()


def test_of_another_release_no_file_is_left_beside_the_new_ones(tmp_path: Path) -> None:
    assert render_command(tmp_path)[0] == 0
    for file in tmp_path.iterdir():
        if file.name != "topology.yaml":
            file.unlink()
    code, said = render_command(tmp_path, "--version", "22.05")
    assert (code, "topology.yaml" in said) == (1, True)
    code, said = render_command(tmp_path, "--version", "22.05", "--force", "--json")
    assert (code, json.loads(said)["removed"]) == (0, [str(tmp_path / "topology.yaml")])
    assert {file.name for file in tmp_path.iterdir()} == render(at((22, 5))).keys()


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--controller", "a;b", "letters, digits"), ("--controller", "ctl.example.org", "without a domain"),
        ("--controller", "", "letters, digits"), ("--accounting-host", "a b", "letters, digits"), ("--controller", "-ctl", "letters, digits"),
        ("--cluster", "Bad!", "a-z"), ("--cluster", "", "a-z"), ("--cluster", "a\nb", "a-z"),
    ],
)  # fmt: skip
def test_names_that_slurm_cannot_use_are_refused(tmp_path: Path, option: str, value: str, allowed: str) -> None:
    code, said = render_command(tmp_path / "etc", option, value)
    told = " ".join(said.replace("│", " ").split())
    assert (code, option in told, allowed in told) == (2, True, True)
    assert not (tmp_path / "etc").exists()


@pytest.mark.parametrize("version", ["21.08", "25", "next", "25.5", "99.05", "25.06", "25.05.1234"])
def test_a_release_that_is_none_is_refused(tmp_path: Path, version: str) -> None:
    code, said = render_command(tmp_path / "etc", "--version", version)
    assert (code, version in said, "--version" in said) == (2, True, True)
    assert not (tmp_path / "etc").exists()
