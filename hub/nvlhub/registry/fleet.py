"""Use cases of the fleet as one picture. Who may is checked here."""

from __future__ import annotations

import struct
import threading
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter

from nvlhub.board import Board
from nvlhub.desk import Desk
from nvlhub.flow.fleet import GpuState, Picture, Reserved, busy_bytes, idles, marked, picture
from nvlhub.flow.lease import Lease
from nvlhub.forms import (
    FleetHolders,
    FleetView,
    GpuCounts,
    HolderBy,
    HolderView,
    IdleView,
    PendingView,
    RacksView,
    RoomView,
)
from nvlhub.registry.office import Office
from nvlhub.visitor import Visitor
from nvlhub.wire import State

TOP = 20
"""Holders that are told with figures."""
IDLE = 100
"""Idle leases that are told."""
MOST_NAMES = 65_535
"""Holders that 2 bytes tell apart."""

Busy = Mapping[tuple[str, int, int], int]


@dataclass(frozen=True, slots=True)
class _Shared:
    """What was last worked out, and from what."""

    board: Board
    reserved: Reserved
    picture: Picture
    view: FleetView


class Fleet(Office):
    """What all GPUs do."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._lock = threading.Lock()
        self._shared: _Shared | None = None

    def view(self) -> FleetView:
        """Return the picture of all GPUs: worked out once a second at most, however many ask."""
        with self._lock:
            now, board, known = self._clock.now(), self._desk.board, self._shared
            reserved = board.reserved
            same = known is not None and known.board is board and known.reserved == reserved
            if known is not None and same and known.view.at == now:
                return known.view
            seen = (
                known.picture
                if known is not None and same
                else picture(board.capacity, board.domains, reserved, board.outside)
            )
            view = self._view(board, seen, now)
            self._shared = _Shared(board, reserved, seen, view)
            return view

    def _view(self, board: Board, seen: Picture, now: int) -> FleetView:
        with self._store.reading() as unit:
            pool = unit.pool(self._desk.pool)
        return FleetView(
            pool=pool.name, gpu_model=pool.gpu_model, simulated=self._desk.engine.simulated, at=now,
            layout=[(name, list(sizes)) for name, sizes in seen.layout], states=_told(seen.states),
            busy=_told(busy_bytes(board.capacity, self._desk.telemetry.busy(now))),
            gpus=GpuCounts(**{state.name.lower(): seen.counts[state] for state in GpuState}),
            shapes=[RoomView(**room._asdict()) for room in seen.shapes], fragmentation=round(seen.fragmentation, 4),
            pending=_pending(board, now), racks=RacksView(**seen.racks._asdict()),
        )  # fmt: skip

    def holders(self, visitor: Visitor, by: HolderBy) -> FleetHolders:
        """Tell an administrator who holds the GPUs, and which leases do next to nothing with theirs."""
        self._need_admin(visitor)
        board, now = self._desk.board, self._clock.now()
        busy = self._desk.telemetry.busy(now)
        leases = [lease for lease in board.leases.values() if lease.placement]
        groups: defaultdict[str, list[Lease]] = defaultdict(list)
        for lease in leases:
            groups[_name_of(by)(lease)].append(lease)
        held = sorted(
            (_holder(name, group, busy) for name, group in groups.items()), key=lambda held: (-held.gpus, held.name)
        )
        places = {holder.name: place for place, holder in enumerate(held[:MOST_NAMES], start=1)}
        marks = marked(board.capacity, ((places.get(_name_of(by)(lease), 0), lease.placement) for lease in leases))
        idle = [view for lease in leases if (view := _idle(lease, busy, now)) is not None]
        return FleetHolders(
            at=now, by=by, names=list(places), holders=_told(struct.pack(f"<{len(marks)}H", *marks)), top=held[:TOP],
            outside=sum(map(len, board.outside.values())),
            idle=sorted(idle, key=lambda view: (-view.gpus, -view.ran, view.lease))[:IDLE],
        )  # fmt: skip


def _told(raw: bytes) -> str:
    return b64encode(raw).decode("ascii")


def _name_of(by: HolderBy) -> Callable[[Lease], str]:
    return attrgetter(by)


def _pending(board: Board, now: int) -> list[PendingView]:
    asked: defaultdict[int, list[int]] = defaultdict(list)
    for lease in board.leases.values():
        if lease.state is State.HELD:
            asked[lease.gpus].append(lease.asked_at)
    return [
        PendingView(gpus=gpus, leases=len(since), longest=max(0, now - min(since)))
        for gpus, since in sorted(asked.items())
    ]


def _measured(leases: Iterable[Lease], busy: Busy) -> list[int]:
    """Return the utilisation of those GPUs of leases of which it is known."""
    found = (
        busy.get((share.domain, share.tray, gpu))
        for lease in leases for share in lease.placement for gpu in share.gpus
    )  # fmt: skip
    return [percent for percent in found if percent is not None]


def _mean(measured: list[int]) -> int | None:
    return round(sum(measured) / len(measured)) if measured else None


def _holder(name: str, leases: list[Lease], busy: Busy) -> HolderView:
    measured = _measured(leases, busy)
    return HolderView(
        name=name, gpus=sum(lease.gpus for lease in leases), leases=len(leases), measured=len(measured), busy=_mean(measured)
    )  # fmt: skip


def _idle(lease: Lease, busy: Busy, now: int) -> IdleView | None:
    if lease.state is not State.RUNNING or lease.started_at is None:
        return None
    ran, mean = max(0, now - lease.started_at), _mean(_measured([lease], busy))
    if not idles(ran, lease.idle_seconds, mean):
        return None
    return IdleView(
        lease=lease.id, user=lease.user, project=lease.project, programme=lease.programme, profile=lease.profile,
        gpus=lease.gpus, busy=mean, idle=lease.idle_seconds, ran=ran, deadline=lease.deadline,
    )  # fmt: skip
