"""Leases that were placed and do not run yet -> those that cannot start where they were placed.

An engine with a queue of its own may be held to trays: between the placement and the start a tray can go out of
service, or somebody outside the portal can take its GPUs. Whoever waits for it then may wait for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nvlhub.flow.lease import Lease
from nvlhub.flow.placement import Domain, Placement


def displaced(waiting: Sequence[Lease], capacity: Iterable[Domain], others: Iterable[Placement]) -> frozenset[str]:
    """Return which of `waiting` were placed on a tray that is out of service, or on GPUs that `others` have."""
    closed = {(domain.name, tray.index) for domain in capacity for tray in domain.trays if not tray.in_service}
    theirs = {(share.domain, share.tray, gpu) for placement in others for share in placement for gpu in share.gpus}
    return frozenset(
        lease.id
        for lease in waiting
        for share in lease.placement
        if (share.domain, share.tray) in closed
        or not theirs.isdisjoint((share.domain, share.tray, gpu) for gpu in share.gpus)
    )
