"""The portal's log: one JSON object per line, and which lease a line is about."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_lease: ContextVar[str] = ContextVar("lease", default="")

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "lease"}
"""What records have, or the formatter takes care of; the rest was given as ``extra``."""

_SECRET = re.compile(
    r"""((?:token|secret|password|authorization)\\*['"]?\s*[:=]\s*\\*['"]?(?:(?:token|bearer)\s+)?)[^\s\\'",;&}]+""",
    re.IGNORECASE,
)


@contextmanager
def about(lease_id: str) -> Iterator[None]:
    """Have every line that is written within the block, by whatever it calls, carry `lease_id` under ``lease``."""
    before = _lease.set(lease_id)
    try:
        yield
    finally:
        _lease.reset(before)


class JsonLines(logging.Formatter):
    """Writes a record as one JSON object.

    Fields: ``time`` (RFC 3339, UTC, milliseconds), ``level``, ``logger``, ``message``; ``lease`` where the line is about
    one (``extra={"lease": …}`` wins over :func:`about`); further ``extra`` fields; ``exception`` with its trace.
    What is named like a secret in a text is left out, whoever wrote it: a driver's error may quote a whole row.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": at.replace("+00:00", "Z"), "level": record.levelname, "logger": record.name,
            "message": _clean(record.getMessage()),
        }  # fmt: skip
        lease = getattr(record, "lease", "") or _lease.get()
        if lease:
            line["lease"] = str(lease)
        for name, value in vars(record).items():
            if name not in _OWN:
                line.setdefault(name, _plain(value))
        if record.exc_info:
            line["exception"] = _clean(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        # Nothing but ASCII: no character of a message ends a line or breaks a terminal.
        return json.dumps(line)


def _plain(value: object) -> str | int | float | None:
    """Return what JSON can say of a value."""
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _clean(str(value))


def _clean(text: str) -> str:
    return _SECRET.sub(r"\1…", text)


def write_json_lines() -> None:
    """Have everything that this process logs, warnings included, written to standard error as JSON lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for talkative in ("httpx", "alembic"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
