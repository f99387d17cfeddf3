"""What is remembered: directory, leases and the ledger, on SQLite or PostgreSQL."""

from nvlhub.store.database import Store
from nvlhub.store.unit import JournalRow, ProjectRow, Unit
from nvlhub.store.verify import Broken, verify

__all__ = ["Broken", "JournalRow", "ProjectRow", "Store", "Unit", "verify"]
