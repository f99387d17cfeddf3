"""What follows for leases from what the engine sees of their tasks, decided without asking anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nvlhub.engines.base import Sight, Sighting
from nvlhub.flow import lease as states
from nvlhub.flow.lease import End, Event, Given, Gone, Launched, Lease, Seen, Timed, Unplaced, advance
from nvlhub.flow.metering import charge, engine_times, seconds_run
from nvlhub.flow.placement import exchange
from nvlhub.wire import EndReason, State

Move = tuple[Lease, tuple[Event, ...]]
"""A lease, and what happened to it."""
HELD_BACK = 300
"""Seconds for which somebody may keep a task of their own from running, while GPUs are kept for it."""


def happened(lease: Lease, sighting: Sighting | None, now: int, grace: int) -> tuple[Event, ...]:
    """Return what happened to a lease whose task is seen like this.

    `now` is the portal's time, and `grace` the seconds that a silent holder has (`nvlhub.flow.metering`).
    """
    if sighting is None:
        return ()
    why = _broken_rule(lease, sighting, now)
    if why:
        return (End(EndReason.LOST, now, why),)
    # The engine's clock counts, as far as it can be right.
    seen = Seen(min(now, max(sighting.began or now, lease.placed_at or 0)))
    match lease.state, sighting.sight:
        case State.PLACED, Sight.PENDING:
            return (Launched(sighting.handle or lease.handle),)
        case State.PLACED, Sight.RUNNING:
            return (Launched(sighting.handle or lease.handle), seen)
        case State.STARTING, Sight.RUNNING:
            return (seen,)
        case ((State.STARTING | State.RUNNING), Sight.GONE):
            return (End(EndReason.LOST, now, sighting.note),)
        case ((State.STARTING | State.RUNNING), Sight.BROKEN):
            return (End(EndReason.ENGINE, now, sighting.note),)
        case State.RUNNING, Sight.PENDING:
            # What ran and waits again has lost everything that it had. Its user can do that: what it ran is paid for.
            return (End(EndReason.LOST, now, "slurm-end-requeued"),)
        case State.ENDING, Sight.GONE | Sight.BROKEN:
            return _over(lease, sighting, grace)
        case _:
            return ()


def unplaced(sighting: Sighting, now: int) -> tuple[Event, ...]:
    """Return what happened to a lease that cannot start where it was placed, and whose task is being stopped for that."""
    match sighting.sight:
        case Sight.GONE if sighting.began is None:
            return (Unplaced(),)
        case Sight.GONE | Sight.RUNNING:
            # It began in the very moment in which it was stopped: nobody pays for that.
            return (End(EndReason.ENGINE, now, "slurm-end-tray"),)
        case _:
            return ()


def _broken_rule(lease: Lease, sighting: Sighting, now: int) -> str:
    """Return why a task must end for what its user did to it in the engine; empty: it need not."""
    if (
        lease.state in {State.STARTING, State.RUNNING}
        and sum(len(share.gpus) for share in sighting.placement) > lease.gpus
    ):
        return "slurm-end-more-gpus"
    waits = lease.state in {State.PLACED, State.STARTING} and sighting.sight is Sight.PENDING
    if waits and sighting.held_back and now - (lease.placed_at or now) > HELD_BACK:
        # GPUs are kept for it, and nobody pays for them.
        return "slurm-end-held-back"
    return ""


def _over(lease: Lease, sighting: Sighting, grace: int) -> tuple[Event, ...]:
    times = engine_times(lease, sighting.began, sighting.ran)
    if times is None:
        return (as_gone(lease, grace),)
    timed = Timed(*times)
    return (timed, as_gone(advance(lease, timed)[0], grace))


def as_gone(lease: Lease, grace: int) -> Gone:
    """Return the event of a lease whose task holds no GPU any more, with what it costs."""
    used = charge(lease, grace)
    return Gone(seconds_run(lease, grace), used, used if lease.end_reason is EndReason.ENGINE else 0)


def read_back(leases: Mapping[str, Lease], moves: Sequence[Move], sightings: Mapping[str, Sighting]) -> list[Move]:
    """Add what follows when the engine gave tasks other GPUs than those that were chosen, for others, too.

    `leases` are all that are active, by id, and `moves` what else follows from the `sightings`.
    """
    given = {
        lease_id: sighting.placement
        for lease_id, sighting in sightings.items()
        if leases[lease_id].placement not in {(), sighting.placement}
        and sum(len(share.gpus) for share in sighting.placement) == leases[lease_id].gpus
    }
    if not given:
        return list(moves)
    told = {lease.id: (lease, events) for lease, events in moves}
    where = {lease.id: lease.placement for lease in leases.values() if lease.placement}
    for lease_id, placement in given.items():
        where |= exchange(where, lease_id, placement)
    for lease_id, placement in where.items():
        lease = leases[lease_id]
        if placement != lease.placement and Given in states.MOVES[lease.state]:
            known, events = told.get(lease_id, (lease, ()))
            told[lease_id] = (known, (Given(placement), *events))
    return list(told.values())
