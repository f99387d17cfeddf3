"""The local engine's own accounting: what ran from when until when, written apart from the ledger.

A file of JSON lines for its owner alone. A run stands in it once as it begins and once more when it has ended;
the later line counts. A line begins with its line break, so that one which a crash left half-written spoils no other.

The run loop's thread writes. :meth:`Accounting.records` reads the file alone, so any thread may call it: a line is
written by one call, and a file that is written anew takes the place of the old one at once.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from nvlhub.clock import SteadyClock
from nvlhub.flow.reconciliation import Record

logger = logging.getLogger(__name__)

LINES = 200_000
"""Lines (some 23 MB) at which the file is written anew, with the newest records: half as many, those that run first."""

RUNS = b'"ended_at": null'
"""What marks the line of a run that has not ended."""


class Accounting:
    """Runs by lease. Times are read from a clock of its own, which a change of the machine's date does not move."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = 0
        self._running: dict[str, Record] = {}
        latest = 0
        for record in self._read():
            self._lines += 1
            latest = max(latest, record.ended_at or record.started_at)
            self._note(record)
        self._clock = SteadyClock(latest)

    @property
    def running(self) -> frozenset[str]:
        """The leases whose end nobody has seen yet."""
        return frozenset(self._running)

    def began(self, lease_id: str, gpus: int, created: float) -> None:
        """Write down a run whose first process was created at `created` (Unix time); once."""
        if lease_id not in self._running:
            age = max(0, int(time.time() - created))
            self._write(Record(lease_id, gpus, self._clock.now() - age, None))

    def ended(self, lease_id: str) -> None:
        """Write down that a run is over now, unless that was done before."""
        record = self._running.get(lease_id)
        if record is not None:
            self._write(replace(record, ended_at=self._clock.now()))

    def records(self, since: int) -> Iterator[Record]:
        """Yield what ended at or after `since` or still runs. Raises `OSError`."""
        running: dict[str, Record] = {}
        for record in self._read():
            if record.ended_at is None:
                running[record.lease_id] = record
                continue
            running.pop(record.lease_id, None)
            if record.ended_at >= since:
                yield record
        yield from running.values()

    def _read(self) -> Iterator[Record]:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for line in file:
                try:
                    record = Record(**json.loads(line))
                except (ValueError, TypeError):
                    # The empty first line, or one that a crash left half-written.
                    continue
                yield record

    def _note(self, record: Record) -> None:
        if record.ended_at is None:
            self._running[record.lease_id] = record
        else:
            self._running.pop(record.lease_id, None)

    def _write(self, record: Record) -> None:
        """Write a line. Tasks go on where that fails: what was not written is noticed again at a later look."""
        try:
            self._append(record)
            self._note(record)
            if self._lines >= LINES:
                self._rewrite()
        except OSError as error:
            logger.error("%s: lease %s could not be written: %s", self._path, record.lease_id, error)  # noqa: TRY400

    def _append(self, record: Record) -> None:
        line = _line(record)
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.write(file, line) != len(line):
                raise OSError("the disk is full")
            # The ledger flushes its writes, too: a power failure must not leave it knowing more than we do.
            os.fdatasync(file)
        finally:
            os.close(file)
        self._lines += 1

    def _rewrite(self) -> None:
        """Leave the oldest ends out. Lines are copied as they are: parsing them would keep the run loop for seconds."""
        with self._path.open("rb") as file:
            ends = (b"\n" + line.rstrip() for line in file if line.strip() and RUNS not in line)
            kept = deque(ends, maxlen=LINES // 2)
        kept.extend(_line(record) for record in self._running.values())
        fresh = self._path.with_suffix(".new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123  # a mode
            file.writelines(kept)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        self._lines = len(kept)


def _line(record: Record) -> bytes:
    return b"\n" + json.dumps(asdict(record)).encode()
