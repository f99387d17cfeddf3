"""The directory, the capacity and the awards as files: what they hold, how they are read and written. No I/O."""

from nvlhub.exchange.kinds import MAX_ROWS, SHEETS, FileKind, Form, ProfileRow, Sheet
from nvlhub.exchange.reader import Fault, Row, read
from nvlhub.exchange.rows import amount, new_awards, told
from nvlhub.exchange.writer import write

__all__ = [
    "MAX_ROWS",
    "SHEETS",
    "Fault",
    "FileKind",
    "Form",
    "ProfileRow",
    "Row",
    "Sheet",
    "amount",
    "new_awards",
    "read",
    "told",
    "write",
]
