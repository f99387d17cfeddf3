"""A token bucket: how often somebody may come, and when again.

A bucket holds `burst` tokens at most and gains `rate` of them per second; who comes takes one, or waits for it. Times are
seconds of any clock that does not go back.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

ROUNDING = 1e-9
"""Part of a token that arithmetic may lose: who waited for as long as was said finds one."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast buckets fill, in tokens per second, and how many tokens they hold."""

    rate: float
    burst: int

    @property
    def filled_after(self) -> float:
        """Seconds after which any bucket is full again: forgetting it then changes nothing."""
        return self.burst / self.rate


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was in a bucket when it was last used."""

    tokens: float
    at: float


def draw(bucket: Bucket | None, pace: Pace, now: float) -> tuple[Bucket, float]:
    """Take a token; None is the bucket of somebody who was not here before.

    Return the bucket as it is then, and the seconds until there is a token: 0 when one was taken.
    """
    tokens = pace.burst if bucket is None else min(pace.burst, bucket.tokens + (now - bucket.at) * pace.rate)
    if tokens >= 1 - ROUNDING:
        return Bucket(max(0.0, tokens - 1), now), 0.0
    return Bucket(tokens, now), (1 - tokens) / pace.rate


def network(address: str) -> str:
    """Return whose address it is: one host has a whole /64 of IPv6 to come from."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    return str(parsed.ipv4_mapped) if parsed.ipv4_mapped else parsed.exploded[:19]
