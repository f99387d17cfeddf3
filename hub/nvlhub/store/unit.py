"""One unit of work: everything that is read and written in one transaction."""

from __future__ import annotations

from nvlhub.store.announcements import Announcements
from nvlhub.store.assessing import Assessing
from nvlhub.store.audit import Audit
from nvlhub.store.awarding import Awarding
from nvlhub.store.boards import Boards
from nvlhub.store.burning import Burning
from nvlhub.store.capacity import Capacity
from nvlhub.store.certificates import Certificates
from nvlhub.store.courses import Courses
from nvlhub.store.directory import Directory
from nvlhub.store.everything import Everything
from nvlhub.store.leasing import Leasing
from nvlhub.store.profiles import Profiles
from nvlhub.store.reconciling import Reconciling
from nvlhub.store.reporting import Reporting
from nvlhub.store.reservations import Reservations
from nvlhub.store.seating import Seating
from nvlhub.store.slots import Slots
from nvlhub.store.starts import Starts
from nvlhub.store.telemetry import Telemetry


class Unit(
    Directory, Capacity, Awarding, Leasing, Reconciling, Audit, Reporting, Everything, Announcements, Reservations, Telemetry,
    Burning, Starts, Profiles, Courses, Slots, Seating, Boards, Certificates, Assessing,
):  # fmt: skip
    """Reads and writes of one transaction. Made by :class:`nvlhub.store.Store` alone."""
