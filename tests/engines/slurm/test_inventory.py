"""Nodes and topology as domains."""

from __future__ import annotations

from dataclasses import replace

from nvlhub.engines.slurm.inventory import inventory
from nvlhub.engines.slurm.reading import Node
from nvlhub.wire import Share


def node(name: str, *state: str, gpus: int = 4) -> Node:
    domain = name.rpartition("-")[0]
    return Node(name, name, frozenset(state or {"IDLE"}), gpus, "gb300" if gpus else "", frozenset({domain}))


NODES = [node(f"nvl00{domain}-0{tray}") for domain in (1, 2) for tray in (1, 2, 3)]
TREE = {f"nvl00{domain}": tuple(f"nvl00{domain}-0{tray}" for tray in (1, 2, 3)) for domain in (1, 2)}


def test_a_switch_is_a_domain_and_its_nodes_are_trays_in_its_order() -> None:
    found = inventory([*NODES, node("cpu001", gpus=0)], {**TREE, "cpus": ("cpu001",)})
    assert [(domain.name, domain.size, len(domain.trays)) for domain in found.domains] == [
        ("nvl001", 12, 3), ("nvl002", 12, 3),
    ]  # fmt: skip
    assert found.nodes["nvl002", 3] == "nvl002-03"
    assert found.places["nvl001-02"] == ("nvl001", 2)
    assert found.gpu_type == "gb300"


def test_without_a_topology_the_feature_tells_the_domain() -> None:
    found = inventory([*NODES, Node("lonely", "lonely", frozenset({"IDLE"}), 8, "h200", frozenset())], {})
    assert [domain.name for domain in found.domains] == ["lonely", "nvl001", "nvl002"]
    assert found.domains[0].trays[0].size == 8
    assert found.gpu_type == "gb300, h200"


def test_what_is_drained_down_or_silent_is_out_of_service() -> None:
    states = [{"IDLE"}, {"MIXED", "DRAIN"}, {"IDLE", "NOT_RESPONDING"}, {"ALLOCATED"}, {"DOWN"}, {"IDLE", "COMPLETING"}]
    nodes = [node(f"nvl001-0{index}", *state) for index, state in enumerate(states, start=1)]
    [domain] = inventory(nodes, {}).domains
    assert [tray.in_service for tray in domain.trays] == [True, False, False, True, False, True]
    [told] = inventory([replace(nodes[1], reason="bad fan"), replace(nodes[3], reason="old")], {}).domains
    assert [tray.reason for tray in told.trays] == ["bad fan", ""]


def test_what_was_given_is_a_placement_in_order() -> None:
    found = inventory(NODES, TREE)
    given = (("nvl002-01", (3, 1)), ("nvl001-03", (0,)), ("elsewhere", (0,)), ("nvl001-01", ()))
    assert found.placement(given) == (
        Share(domain="nvl001", tray=3, gpus=(0,)), Share(domain="nvl002", tray=1, gpus=(1, 3)),
    )  # fmt: skip
    assert found.names(found.placement(given)) == ("nvl001-03", "nvl002-01")
