"""Floors and leases for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from nvlhub.flow.lease import Lease
from nvlhub.flow.placement import Domain, Tray
from nvlhub.wire import Kind, Span, State

SIZES = [1, 2, 3, 4, 8, 16, 36, 72]

trays = st.builds(
    lambda index, free, up: Tray(index, frozenset(free), in_service=up),
    st.just(0),
    st.sets(st.integers(0, 3)),
    st.booleans(),
)


@st.composite
def floors(draw: st.DrawFn) -> tuple[Domain, ...]:
    """One to four domains with some GPUs taken and some trays out of service."""
    domains = []
    for number in range(draw(st.integers(1, 4))):
        drawn = draw(st.lists(trays, min_size=1, max_size=18))
        domains.append(
            Domain(f"nvl{number}", tuple(Tray(i, t.free, in_service=t.in_service) for i, t in enumerate(drawn, 1)))
        )
    return tuple(domains)


def lease(**changes: object) -> Lease:
    """A lease as it is asked for."""
    facts: dict[str, object] = {
        "id": "l1", "state": State.ASKED, "user": "u", "project": "p", "programme": "g", "profile": "gpu1", "version": 1,
        "pool": "main", "kind": Kind.KERNEL, "gpus": 2, "span": Span.DOMAIN, "seconds": 3600, "factor_milli": 1000,
        "asked_at": 100, "award": 7, "held": 2 * 3600 * 1000,
    }  # fmt: skip
    return Lease(**{**facts, **changes})  # type: ignore[arg-type]
