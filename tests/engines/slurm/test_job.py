"""How sbatch is asked: text for every release, and nothing of a user's that a shell could take for its own."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.engines.base import EngineError, Task
from nvlhub.engines.slurm.abilities import Abilities, abilities
from nvlhub.engines.slurm.inventory import Inventory, inventory
from nvlhub.engines.slurm.job import Site, arguments, script
from nvlhub.engines.slurm.reading import Node
from nvlhub.wire import Kind, Mailbox, Share

MAILBOX = Mailbox(address="tcp://10.0.0.1:5555", public_key="k" * 40, token="t" * 40)
LEASE = "fc67c646-d62b-420b-91b7-2c4b300b89c7"
HELP = {
    "22.05": "--exclusive[=user]\n --exclusive[=mcs]\n", "23.11": "--exclusive[=user]\n",
    "24.05": "--segment=nodes\n --exclusive[=user]\n", "25.05": "--segment=nodes\n --exclusive[={user|mcs|topo}]\n",
    "25.11": "--segment=nodes\n --exclusive[={user|mcs|topo}]\n",
}  # fmt: skip


def can(version: str, plugin: str = "topology/tree") -> Abilities:
    config = f"TopologyPlugin          = {plugin}\nAccountingStorageType   = accounting_storage/slurmdbd\nMinJobAge = 300 sec\n"
    return abilities(f"slurm-wlm {version}.3", HELP[version], config)


def cluster(domains: int = 3) -> Inventory:
    names = [f"nvl{domain:03}-{tray:02}" for domain in range(1, domains + 1) for tray in range(1, 19)]
    return inventory(
        [Node(name, name, frozenset({"IDLE"}), 4, "gb300", frozenset({name[:6]})) for name in names], {}
    )  # fmt: skip


def trays(count: int, *domains: str) -> tuple[Share, ...]:
    return tuple(
        Share(domain=domain, tray=tray, gpus=(0, 1, 2, 3)) for domain in domains for tray in range(1, count + 1)
    )


ONE = (Share(domain="nvl002", tray=7, gpus=(2, 3)),)


def asked(placement: tuple[Share, ...], version: str, pin: str, plugin: str = "topology/tree", **more: Any) -> set[str]:
    task = Task(LEASE, Kind.KERNEL, "alice", placement, MAILBOX, 3600, **more)
    return set(arguments(task, Site("main", pin=pin), cluster(), can(version, plugin)))


@pytest.mark.parametrize("version", HELP)
def test_every_release_is_asked_for_the_same_shape(version: str) -> None:
    said = asked(ONE, version, "tray")
    assert {
        "--parsable", "--no-requeue", "--output=/dev/null", "--export=ALL", f"--job-name=nvlhub-main-{LEASE}",
        f"--comment=nvlhub:main:{LEASE}", "--nodes=1", "--ntasks-per-node=1", "--gres=gpu:2", "--nodelist=nvl002-07",
    } <= said  # fmt: skip
    # The portal ends it first: an hour, the grace time, a minute.
    assert "--time=62" in said
    assert "--nodelist=nvl001-01,nvl001-02" in asked(trays(2, "nvl001"), version, "tray")


@pytest.mark.parametrize("version", HELP)
def test_a_domain_is_held_to_by_its_feature(version: str) -> None:
    assert "--constraint=nvl002" in asked(ONE, version, "domain")
    said = asked(trays(16, "nvl001", "nvl003"), version, "domain")
    assert {"--nodes=32", "--gres=gpu:4", "--constraint=[nvl001*16&nvl003*16]"} <= said


@pytest.mark.parametrize("version", HELP)
def test_one_domain_whichever_it_is_on_trees_is_a_matching_or(version: str) -> None:
    said = asked(trays(16, "nvl001"), version, "any")
    assert {"--constraint=[nvl001|nvl002|nvl003]", "--switches=1"} <= said
    assert not any(option.startswith(("--constraint", "--nodelist")) for option in asked(ONE, version, "any"))


@pytest.mark.parametrize(("version", "alone"), [("24.05", False), ("25.05", True), ("25.11", True)])
def test_one_domain_whichever_it_is_on_blocks_is_a_segment(version: str, alone: bool) -> None:
    said = asked(trays(16, "nvl001"), version, "any", "topology/block")
    assert "--segment=16" in said
    assert not any(option.startswith(("--constraint", "--switches", "--exclusive")) for option in said)
    whole = asked(trays(18, "nvl001"), version, "any", "topology/block")
    assert ("--exclusive=topo" in whole, "--segment=18" in whole) == (alone, True)
    assert "--segment=16" in asked(trays(16, "nvl001", "nvl002"), version, "any", "topology/block")


def test_a_worker_that_must_be_in_a_domain_is_there_however_loose_the_rest_is() -> None:
    assert "--constraint=nvl002" in asked(ONE, "25.11", "any", "topology/block", domain="nvl002")


def test_a_profile_may_choose_what_it_is_let_to_choose() -> None:
    hints = {"partition": "gb300", "cpus_per_gpu": 16, "mem_per_gpu": "100G", "colour": "red", "constraint": "rev2"}
    said = asked(ONE, "22.05", "domain", hints=hints)
    assert {"--partition=gb300", "--cpus-per-gpu=16", "--mem-per-gpu=100G", "--constraint=nvl002&rev2"} <= said
    assert not any("red" in option for option in said)
    with pytest.raises(EngineError, match=r"hints\.slurm\.partition"):
        asked(ONE, "22.05", "tray", hints={"partition": "a b; rm -rf /"})


def test_the_account_and_the_reservation_are_those_of_the_lease() -> None:
    site = Site("main", account="{project}", low_account="nvlhub__low", reservations=True)

    def said(**more: Any) -> list[str]:
        task = Task(LEASE, Kind.KERNEL, "alice", ONE, MAILBOX, 3600, project="Wafers", **more)
        words = arguments(task, site, cluster(), can("22.05"))
        return [word for word in words if word.startswith(("--account", "--reservation"))]

    assert said() == ["--account=wafers"]
    assert said(preemptible=True, reservation=7) == ["--account=nvlhub__low", "--reservation=nvlhub-7"]


def test_a_tray_that_slurm_does_not_know_is_an_error_with_words() -> None:
    with pytest.raises(EngineError, match="slurm-tray-unknown"):
        asked((Share(domain="gone", tray=1, gpus=(0,)),), "22.05", "tray")


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), st.text(max_size=60), max_size=3))
def test_the_script_is_the_same_whatever_a_user_chose(environment: dict[str, str]) -> None:
    task = Task(LEASE, Kind.KERNEL, "alice", ONE, MAILBOX, 3600, environment=environment)
    text = script(task, Site("main", python="/opt/py thon/bin/python"), {"NVLHUB_LEASE": LEASE})
    first, command, letter, end = text.splitlines()
    assert (first, end) == ("#!/bin/sh", "END_OF_LETTER")
    assert command == f"exec '/opt/py thon/bin/python' -P -m nvlkernels.agent {LEASE} <<'END_OF_LETTER'"
    assert json.loads(letter)["environment"] == {**environment, "NVLHUB_LEASE": LEASE}
    assert MAILBOX.token not in command


def test_a_shell_hands_the_letter_on_as_it_is() -> None:
    nasty = {"A": "$(touch /tmp/x) `id` \\ ' \" \n END_OF_LETTER\nEND_OF_LETTER", "B": "\u2028é"}
    task = Task(LEASE, Kind.KERNEL, "alice", ONE, MAILBOX, 3600, environment=nasty)
    text = script(task, Site("main"), {}).replace(f"exec python3 -P -m nvlkernels.agent {LEASE}", "exec cat")
    said = subprocess.run(["sh"], input=text, capture_output=True, text=True, check=True, timeout=10).stdout
    assert json.loads(said)["environment"] == nasty


def test_a_lease_over_several_nodes_has_an_agent_on_each() -> None:
    task = Task(LEASE, Kind.WORKER, "alice", trays(2, "nvl001"), MAILBOX, 3600)
    assert "exec srun --ntasks-per-node=1 " in script(task, Site("main"), {})
