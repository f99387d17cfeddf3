"""``nvlhub``: the portal from a terminal. Everything goes through the REST API, so that who may is decided in one place."""

from nvlhub.cli import (
    announcements,
    assessing,
    awards,
    capacity,
    certificates,
    directory,
    exchange,
    leases,
    ledger,
    machine,
    profiles,
    reconciling,
    requests,
    reservations,
    usage,
)
from nvlhub.cli.base import app

__all__ = [
    "announcements",
    "app",
    "assessing",
    "awards",
    "capacity",
    "certificates",
    "directory",
    "exchange",
    "leases",
    "ledger",
    "machine",
    "profiles",
    "reconciling",
    "requests",
    "reservations",
    "usage",
]
