"""``nvlhub``: the portal from a terminal. Everything goes through the REST API, so that who may is decided in one place."""

from nvlhub.cli import (
    announcements,
    assessing,
    awards,
    board,
    capacity,
    certificates,
    courses,
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
    "board",
    "capacity",
    "certificates",
    "courses",
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
