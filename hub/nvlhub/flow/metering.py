"""A lease and the time -> seconds run, and whether it must end or its holder must be warned."""

from __future__ import annotations

from dataclasses import dataclass

from nvlhub.flow.lease import Lease
from nvlhub.wire import EndReason, State

WARN_BEFORE = (15 * 60, 5 * 60)
"""Seconds before the deadline at which the holder is told."""

IDLE_WARNING = 5 * 60
"""Seconds before an idle end at which the holder is told."""


ENDING = 60
"""Seconds that an engine may take to end a task and that are still charged; beyond them it is not the holder's doing."""
UNHEARD = 15
"""Seconds after its last sign of life that a lost lease pays for. It may be kept for longer, for its server to come back."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What the holder should know: `slug` names the sentence, `seconds` are left."""

    slug: str
    seconds: int


def seconds_run(lease: Lease, grace: int) -> int:
    """Return the whole seconds that `lease` ran and pays for.

    From when the engine saw it running to its end, never beyond the deadline, never negative whatever the clock
    did. A lease that was lost pays for no more than `grace` and :data:`UNHEARD` seconds of silence, as far as the rest is
    no longer than what it pays for: GPUs that are used in silence are not to be had for less than half.
    """
    if lease.started_at is None or lease.ended_at is None:
        return 0
    ran = max(0, lease.ended_at - lease.started_at)
    if lease.end_reason is EndReason.LOST:
        heard = min(ran, max(0, (lease.beat_at or lease.started_at) - lease.started_at))
        # Longer silence is the portal's own: it did not listen.
        silent = min(ran - heard, grace)
        ran = heard + max(min(silent, UNHEARD), (silent - heard) // 2)
    return min(ran, lease.seconds)


def charge(lease: Lease, grace: int) -> int:
    """Return the charge in milli-GPU-seconds: GPUs x seconds run x factor. Never above what is held.

    What has nothing held is charged nothing: a pre-emptible lease, and one in a slot that is paid for.
    """
    return 0 if not lease.pays else lease.gpus * seconds_run(lease, grace) * lease.factor_milli


def engine_times(lease: Lease, began: int | None, ran: int | None) -> tuple[int, int] | None:
    """Return when a lease that is over ran, by the engine's own clock; None: the engine does not say, or it never ran.

    The time of waiting, and that of being suspended, is not in it: it ends `ran` seconds after it began. What the engine
    saw run not at all, or only after the lease's end, was another run of the same task than the one that was seen here.
    """
    if began is None or ran is None or lease.ended_at is None:
        return None
    if lease.started_at is not None and began > lease.ended_at:
        return None
    started = began if lease.started_at is None else lease.started_at
    return started, min(started + ran, max(lease.ended_at, started) + ENDING)


def idle_for(lease: Lease, now: int, said: int, *, gpu_busy: bool) -> int:
    """Return for how many seconds neither the kernel nor a GPU of a lease has done anything.

    `said` is what the kernel says of itself. A GPU that worked a moment ago leaves less than that: no more time can have
    passed idle than since the last sign of life, beside what was idle then.
    """
    if gpu_busy:
        return 0
    known = lease.beat_at or lease.started_at
    return said if known is None else min(said, lease.idle_seconds + max(0, now - known))


def kept_until(lease: Lease, grace: int, listening_since: int) -> int:
    """Return until when a lease is kept whose holder stays silent from now on; `listening_since` as for :func:`due`."""
    return max(lease.beat_at or lease.asked_at, listening_since) + grace


def due(
    lease: Lease, now: int, grace: int, listening_since: int, parent: Lease | None = None
) -> EndReason | None:  # fmt: skip
    """Tell whether a lease must end now, and why.

    `listening_since` is when the portal began to hear heartbeats: its own downtime is nobody's silence. `parent` is
    the lease of the kernel that it belongs to, as far as that is active.
    """
    if lease.state not in {State.HELD, State.PLACED, State.STARTING, State.RUNNING}:
        return None
    if lease.parent and (parent is None or parent.state is State.ENDING):
        return _with_parent(parent.end_reason if parent else None)
    if lease.deadline is not None and now >= lease.deadline:
        return EndReason.DEADLINE
    if lease.preempt_at is not None and now >= lease.preempt_at:
        return EndReason.PREEMPTED
    if now > kept_until(lease, grace, listening_since):
        return EndReason.LOST
    if lease.state is State.RUNNING and lease.idle is not None and lease.idle_seconds >= lease.idle:
        return EndReason.IDLE
    return None


def _with_parent(reason: EndReason | None) -> EndReason:
    """Return why a worker ends when its kernel's lease ends for `reason`.

    Its own machine did not fail: what a worker used is charged even where its kernel is refunded.
    """
    return EndReason.USER if reason in {None, EndReason.ENGINE} else reason


def warning(lease: Lease, now: int) -> Notice | None:
    """Return what the holder of a running lease should be told now: of several ends the nearest."""
    if lease.state is not State.RUNNING or lease.deadline is None:
        return None
    near = []
    if lease.preempt_at is not None and lease.preempt_at <= lease.deadline:
        near.append(Notice("preempt-near", max(0, lease.preempt_at - now)))
    if lease.deadline - now <= max(WARN_BEFORE):
        near.append(Notice("deadline-near", max(0, lease.deadline - now)))
    if lease.idle is not None and lease.idle - lease.idle_seconds <= min(IDLE_WARNING, lease.idle // 2):
        near.append(Notice("idle-near", max(0, lease.idle - lease.idle_seconds)))
    return min(near, key=lambda notice: notice.seconds, default=None)
