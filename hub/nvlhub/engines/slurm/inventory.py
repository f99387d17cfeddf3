"""Nodes and topology -> NVLink domains with their trays, and back: which node is which tray.

A leaf switch (topology/tree) or a block (topology/block) is a domain; its nodes are its trays, in the order in which the
topology names them, counted from 1. Without a topology the first feature that is called like the beginning of the node's
name, before the last dash, is its domain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nvlhub.engines.slurm.reading import Node
from nvlhub.flow.placement import Domain, Placement, Tray
from nvlhub.wire import Share

OUT = frozenset({
    "DOWN", "DRAIN", "DRAINED", "DRAINING", "FAIL", "FAILING", "ERROR", "UNKNOWN", "FUTURE", "INVAL", "INVALID_REG",
    "NOT_RESPONDING", "POWER_DOWN", "POWERED_DOWN", "POWERING_DOWN", "REBOOT_ISSUED", "REBOOT_REQUESTED", "MAINT", "RESERVED_OUT",
})  # fmt: skip
"""States and flags of nodes on which nothing new may be started."""


@dataclass(frozen=True)
class Inventory:
    """The GPU nodes of a cluster as domains."""

    domains: tuple[Domain, ...] = ()
    nodes: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """(domain, tray) -> node."""
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """Node -> (domain, tray)."""
    gpu_type: str = ""
    partitions: frozenset[str] = frozenset()
    """Those that have any of these nodes."""

    def placement(self, given: Iterable[tuple[str, tuple[int, ...]]]) -> Placement:
        """Return GPUs on nodes as a placement; of nodes that are none of these nothing."""
        found = sorted((*self.places[node], gpus) for node, gpus in given if node in self.places and gpus)
        return tuple(Share(domain=domain, tray=tray, gpus=tuple(sorted(gpus))) for domain, tray, gpus in found)

    def names(self, placement: Placement) -> tuple[str, ...]:
        """Return the nodes of a placement. Raises `KeyError` for a tray that there is not."""
        return tuple(self.nodes[share.domain, share.tray] for share in placement)


def inventory(nodes: Iterable[Node], topology: Mapping[str, tuple[str, ...]]) -> Inventory:
    """Return the domains that nodes with GPUs make up."""
    with_gpus = {node.name: node for node in nodes if node.gpus}
    groups = {name: [node for node in members if node in with_gpus] for name, members in topology.items()}
    placed = {node for members in groups.values() for node in members}
    for node in sorted(with_gpus.keys() - placed):
        groups.setdefault(_domain_by_name(with_gpus[node]), []).append(node)
    domains: list[Domain] = []
    names: dict[tuple[str, int], str] = {}
    for name, members in sorted(groups.items()):
        if members:
            trays = tuple(_tray(index, with_gpus[node]) for index, node in enumerate(members, start=1))
            domains.append(Domain(name, trays))
            names |= {(name, index): node for index, node in enumerate(members, start=1)}
    kinds = sorted({node.gpu_type for node in with_gpus.values() if node.gpu_type})
    partitions = frozenset(name for node in with_gpus.values() for name in node.partitions)
    places = {node: place for place, node in names.items()}
    return Inventory(tuple(domains), names, places, ", ".join(kinds), partitions)


def _tray(index: int, node: Node) -> Tray:
    up = node.state.isdisjoint(OUT)
    return Tray(index, frozenset(range(node.gpus)), node.gpus, in_service=up, reason="" if up else node.reason)


def _domain_by_name(node: Node) -> str:
    beginning = node.name.rpartition("-")[0]
    return beginning if beginning and beginning in node.features else node.name
