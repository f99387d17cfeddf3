"""What GPUs do now, and what they did: kept here in bounded, thinned series, told to the store now and then.

    account   what is known of one lease since it runs: sums, a series, the newest sample
    pending   GPU-seconds by quarter of an hour that are not saved yet

Samples come with signs of life, from any thread, and from what the site measures itself (:mod:`nvlhub.dcgm`). Once a minute a
thread of its own counts what was held, with samples or without, and saves everything in small transactions, so that
nobody who starts something waits for it. A restart goes on from the rows.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nvlhub.board import Board
from nvlhub.clock import SteadyClock
from nvlhub.flow.activity import Use, idle_part, quarters, seconds_held
from nvlhub.flow.lease import Lease
from nvlhub.flow.series import MIB, Point, Series
from nvlhub.store import Store
from nvlhub.wire import GpuSample, State

logger = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two savings."""
FRESH = 30
"""Seconds for which a sample says what a GPU does now; a longer gap between two is not counted as measured."""
FIRST = 5
"""Seconds that the first sample of a lease stands for."""
AT_ONCE = 100
"""Leases that are saved in one transaction."""
SERIES_AT_ONCE = 500
"""Leases whose samples are saved in one turn, those that waited longest first: the others have their sums saved."""
WARNINGS = 20
"""Warnings that are remembered of a lease."""
LOOK_BACK = 86_400
"""Seconds before a start of the portal in which leases may have ended uncounted."""
KEPT = 400 * 86_400
"""Seconds for which the quarters of an hour are kept."""
TIDY = 3600.0
"""Seconds between two deletions of older ones."""

Place = tuple[str, int, int]
"""Domain, tray, GPU."""


@dataclass(slots=True)
class Account:
    """What the GPUs of one lease did. GPU-seconds, GPU-milliseconds of work, bytes."""

    lease: str
    user: str
    project: str
    gpus: int
    places: tuple[Place, ...]
    counted: int
    """Until when it is counted that they were held."""
    measured_until: int
    measured: int = 0
    busy_milli: int = 0
    idle: int = 0
    memory_peak: int = 0
    memory_total: int = 0
    real: bool | None = None
    """None: nothing was measured."""
    series: Series = field(default_factory=Series)
    warned: list[tuple[int, str]] = field(default_factory=list)
    warning: str = ""
    """What its holder is being warned of."""
    newest: Mapping[int, int] = field(default_factory=dict)
    """Per cent by place in :attr:`places`, as last measured."""
    newest_at: int = 0
    site_at: int = 0
    """When the site itself last measured it: its word counts more than the holder's."""
    pending: dict[int, Use] = field(default_factory=dict)
    restored: bool = False
    """Whether older samples are in the store alone."""
    series_saved: float = 0.0
    over: bool = False

    def hold(self, lease: Lease, until: int) -> None:
        """Count its GPUs as held up to a time."""
        idle = idle_part(lease, self.counted, until)
        self.idle += self.gpus * max(0, idle)
        for start, seconds in quarters(self.counted, until):
            self._quarter(start).held += self.gpus * seconds
        self.counted = max(self.counted, until)

    def take(self, gpus: Mapping[int, GpuSample], now: int, *, real: bool) -> None:
        """Take a sample; `gpus` by place. One of a process stands for all GPUs."""
        since = self.measured_until if now - self.measured_until <= FRESH else now - FIRST
        shown = gpus if real else dict.fromkeys(range(self.gpus), gpus[0])
        busy = sum(gpu.busy for gpu in shown.values())
        for start, seconds in quarters(since, now):
            quarter = self._quarter(start)
            quarter.measured += len(shown) * seconds
            quarter.busy_milli += busy * 10 * seconds
        self.measured += len(shown) * max(0, now - since)
        self.busy_milli += busy * 10 * max(0, now - since)
        memory = sum(gpu.memory for gpu in gpus.values())
        self.memory_peak = max(self.memory_peak, memory)
        self.memory_total = sum(gpu.memory_total for gpu in gpus.values())
        self.series.add(now, round(busy / len(shown)), -(-memory // MIB))
        self.newest = {place: gpu.busy for place, gpu in shown.items()}
        self.real, self.newest_at, self.measured_until = real, now, max(now, self.measured_until)

    def _quarter(self, start: int) -> Use:
        return self.pending.setdefault(start, Use())

    def row(self) -> dict[str, Any]:
        """Return its sums as the store has them."""
        return {
            "lease": self.lease, "measured": self.measured, "busy_milli": self.busy_milli, "idle": self.idle,
            "memory_peak": self.memory_peak, "memory_total": self.memory_total, "real": self.real,
            "warned": [list(warning) for warning in self.warned], "at": self.counted,
        }  # fmt: skip


class Telemetry:
    """The newest samples of all leases, and the sums of those that run."""

    def __init__(self, store: Store, clock: SteadyClock, board: Callable[[], Board]) -> None:
        self._store = store
        self._clock = clock
        self._board = board
        self._accounts: dict[str, Account] = {}
        self._lock = threading.Lock()
        self._keeping = threading.Lock()
        self._looked_until = clock.now() - LOOK_BACK
        self._tidied = float("-inf")
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        with store.reading() as unit:
            self._rows = {row["lease"]: row for row in unit.uses_of_active()}

    # --- what is heard ------------------------------------------------------------------------------------------

    def take(
        self, lease: Lease, gpus: Sequence[GpuSample] | Mapping[int, GpuSample], *, real: bool, site: bool = False
    ) -> None:
        """Take a sample of a lease that runs: of its GPUs in their order, or by their place in it.

        `site`: measured by the site itself. While it does, what holders say of their GPUs is not heard.
        """
        by_place = dict(gpus if isinstance(gpus, Mapping) else enumerate(gpus))
        by_place = {place: gpu for place, gpu in by_place.items() if place < lease.gpus}
        if lease.state is not State.RUNNING or not by_place:
            return
        now = self._clock.now()
        with self._lock:
            account = self._account(lease)
            if site:
                account.site_at = now
            elif now - account.site_at <= 2 * FRESH:
                return
            account.take(by_place, now, real=real)

    def warned(self, lease: Lease, slug: str) -> None:
        """Hear of what the holder of a lease is warned now; empty: of nothing."""
        if not slug and lease.id not in self._accounts:
            return
        with self._lock:
            account = self._account(lease)
            if slug and slug != account.warning and len(account.warned) < WARNINGS:
                account.warned.append((self._clock.now(), slug))
            account.warning = slug

    def gpu_works(self, lease_id: str) -> bool | None:
        """Tell whether the site itself sees a GPU of a lease at work; None where it does not measure."""
        account = self._accounts.get(lease_id)
        if account is None or self._clock.now() - account.site_at > 2 * FRESH:
            return None
        return any(account.newest.values())

    def _account(self, lease: Lease) -> Account:
        """Return the account of a lease that has begun to run; call with the lock."""
        account = self._accounts.get(lease.id)
        if account is None:
            start = lease.started_at or self._clock.now()
            places = tuple((share.domain, share.tray, gpu) for share in lease.placement for gpu in share.gpus)
            account = Account(lease.id, lease.user, lease.project, lease.gpus, places, start, start)
            self._restore(account)
            self._accounts[lease.id] = account
        return account

    def _restore(self, account: Account) -> None:
        row = self._rows.pop(account.lease, None)
        if row is None:
            return
        for name in ("measured", "busy_milli", "idle", "memory_peak", "memory_total", "real"):
            setattr(account, name, row[name])
        account.counted = row["at"]
        account.measured_until = row["at"]
        account.warned = [(at, slug) for at, slug in row["warned"]]
        account.warning = account.warned[-1][1] if account.warned else ""
        account.restored = True

    # --- what is known ------------------------------------------------------------------------------------------

    def busy(self, now: int) -> Mapping[Place, int]:
        """Return the utilisation of GPUs in per cent, by domain, tray and index; those not measured lately are left out."""
        with self._lock:
            accounts = list(self._accounts.values())
        return {
            account.places[place]: busy
            for account in accounts
            if now - account.newest_at <= FRESH and not account.over
            for place, busy in account.newest.items()
            if place < len(account.places)
        }

    def use(self, lease: Lease) -> tuple[dict[str, Any] | None, list[Point]]:
        """Return the sums and the series of a lease, up to now where it runs; None: nothing was counted."""
        with self._store.reading() as unit:
            saved = unit.use_of(lease.id)
        with self._lock:
            if lease.started_at is None or (lease.id not in self._accounts and not lease.active):
                return saved, Series.of(saved["series"]).points() if saved else []
            account = self._account(lease)
            account.hold(lease, lease.started_at + seconds_held(lease, self._clock.now()))
            series = Series.of(saved["series"]) if saved and account.restored else Series()
            series.follow(account.series)
            return account.row(), series.points()

    # --- keeping it ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start to save once a minute."""
        self._thread = threading.Thread(target=self._loop, name="telemetry", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Save what is known and end."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None
        self._guarded()

    def _loop(self) -> None:
        while not self._ended.wait(EVERY):
            self._guarded()

    def _guarded(self) -> None:
        try:
            self.keep()
        except Exception:
            # Nothing is lost: what is not saved is counted on in memory.
            logger.exception("what GPUs did could not be saved; trying again")

    def keep(self) -> None:
        """Count what was held, close the accounts of what has ended, save all of it, and forget what is too old."""
        with self._keeping:
            now, leases = self._clock.now(), list(self._board().leases.values())
            for lease in leases:
                if lease.started_at is not None:
                    with self._lock:
                        self._account(lease).hold(lease, lease.started_at + seconds_held(lease, now))
            while self._close_some():
                pass
            # Next time those are looked for that ended since, were they on the board or not.
            ending = [lease.ended_at for lease in leases if lease.ended_at is not None]
            self._looked_until = min([now, *ending]) - 2 * int(EVERY)
            self._save(list(self._accounts.values()))
            self._tidy()

    def _close_some(self) -> bool:
        """Count leases to their end that have ended; return whether there may be more."""
        with self._store.reading() as unit:
            ended = unit.uncounted(self._looked_until, AT_ONCE)
            for lease in ended:
                # A portal that died could not close it.
                row = None if lease.id in self._accounts else unit.use_of(lease.id)
                if row is not None:
                    self._rows[lease.id] = row
        accounts = []
        for lease in ended:
            with self._lock:
                account = self._account(lease)
                account.hold(lease, (lease.started_at or 0) + seconds_held(lease, self._clock.now()))
                account.counted = max(account.counted, lease.ended_at or 0)
                account.over = True
                accounts.append(account)
        self._save(accounts)
        with self._lock:
            for account in accounts:
                self._accounts.pop(account.lease, None)
        return len(ended) == AT_ONCE

    def _save(self, accounts: Sequence[Account]) -> None:
        due = {account.lease for account in sorted(accounts, key=lambda one: one.series_saved)[:SERIES_AT_ONCE]}
        for first in range(0, len(accounts), AT_ONCE):
            self._save_some(accounts[first : first + AT_ONCE], due)

    def _save_some(self, accounts: Sequence[Account], due: set[str]) -> None:
        with self._store.reading() as unit:
            older = {
                account.lease: unit.use_of(account.lease)
                for account in accounts
                if account.restored and account.lease in due
            }
        with self._lock:
            for account in accounts:
                row = older.get(account.lease)
                if row is not None:
                    whole = Series.of(row["series"])
                    whole.follow(account.series)
                    account.series, account.restored = whole, False
            totals = [account.row() for account in accounts]
            series = {
                account.lease: account.series.told()
                for account in accounts
                if account.lease in due and account.real is not None
            }
            # Those who hear samples meanwhile begin new ones.
            pending = [(account, account.pending) for account in accounts]
            for account in accounts:
                account.pending = {}
        try:
            with self._store.writing() as unit:
                unit.save_use(totals, series, _added(pending))
        except Exception:
            with self._lock:
                for account, kept in pending:
                    for start, use in kept.items():
                        account.pending.setdefault(start, Use()).add(use)
            raise
        for account in accounts:
            if account.lease in due:
                account.series_saved = time.monotonic()

    def _tidy(self) -> None:
        if time.monotonic() - self._tidied >= TIDY:
            with self._store.writing() as unit:
                unit.forget_activity(self._clock.now() - KEPT)
            self._tidied = time.monotonic()


def _added(pending: Sequence[tuple[Account, Mapping[int, Use]]]) -> list[dict[str, Any]]:
    """Return what is to be added to quarters, one row for each."""
    sums: dict[tuple[int, str, str], Use] = {}
    for account, kept in pending:
        for start, use in kept.items():
            if not use.nothing:
                sums.setdefault((start, account.user, account.project), Use()).add(use)
    return [
        {
            "at": at, "user": user, "project": project, "held": use.held, "busy_milli": use.busy_milli,
            "measured": use.measured,
        }
        for (at, user, project), use in sorted(sums.items())
    ]  # fmt: skip
