"""Use cases of everything but leases, one class per noun."""

from __future__ import annotations

from nvlhub.arena import Arena
from nvlhub.desk import Desk
from nvlhub.registry.announcements import Announcements
from nvlhub.registry.assessing import Assessing
from nvlhub.registry.awards import Awards
from nvlhub.registry.board import Boards
from nvlhub.registry.burning import Burning
from nvlhub.registry.capacity import Capacity
from nvlhub.registry.certificates import Certificates
from nvlhub.registry.courses import Courses
from nvlhub.registry.directory import Directory
from nvlhub.registry.exchange import Exchange
from nvlhub.registry.fleet import Fleet
from nvlhub.registry.health import Health
from nvlhub.registry.joining import Joining
from nvlhub.registry.ledger import Ledger
from nvlhub.registry.profiles import Profiles
from nvlhub.registry.reconciling import Reconciling
from nvlhub.registry.reports import Reports
from nvlhub.registry.reservations import Reservations
from nvlhub.registry.rosters import Rosters
from nvlhub.registry.runs import Runs
from nvlhub.registry.telemetry import Telemetry
from nvlhub.signing import Signer
from nvlhub.snapshots import Snapshots


class Registry:
    """What visitors can see and those who answer for the machine can change."""

    def __init__(
        self, desk: Desk, signer: Signer | None = None, issuer: str = "", arena: Arena | None = None,
        snapshots: Snapshots | None = None,
    ) -> None:  # fmt: skip
        """`signer` has the keys of certificates, `issuer` is the address that stands on them.

        What is handed in is kept in `snapshots` and judged in `arena`; None: nothing is judged.
        """
        self.directory = Directory(desk)
        self.awards = Awards(desk)
        self.capacity = Capacity(desk)
        self.profiles = Profiles(desk)
        self.ledger = Ledger(desk)
        self.reconciling = Reconciling(desk)
        self.reports = Reports(desk)
        self.fleet = Fleet(desk)
        self.telemetry = Telemetry(desk)
        self.announcements = Announcements(desk)
        self.reservations = Reservations(desk)
        self.courses = Courses(desk)
        self.runs = Runs(desk, self.reservations)
        self.rosters = Rosters(desk)
        self.boards = Boards(desk, self.runs, self.reservations)
        self.burning = Burning(desk)
        self.health = Health(desk)
        self.certificates = Certificates(desk, signer or Signer(), issuer)
        self.joining = Joining(desk)
        kept = snapshots or Snapshots()
        self.assessing = Assessing(desk, self.certificates, arena, kept)
        self.boards.forget = kept.drop
        self.exchange = Exchange(desk, self.awards, self.profiles)


__all__ = ["Registry"]
