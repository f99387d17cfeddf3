"""What is remembered: directory, leases and the ledger, on SQLite or PostgreSQL."""

from nvlhub.store.audit import line_of
from nvlhub.store.database import Store
from nvlhub.store.directory import LEADS, ProjectRow
from nvlhub.store.journal import JournalRow
from nvlhub.store.replay import Replay, replay
from nvlhub.store.unit import Unit
from nvlhub.store.verify import Broken, verify

__all__ = ["LEADS", "Broken", "JournalRow", "ProjectRow", "Replay", "Store", "Unit", "line_of", "replay", "verify"]
