"""Guests of projects: members because a run made them one, as long as that run or another one needs it, and no further."""

from __future__ import annotations

from typing import Any

from nvlhub.flow.slot import most_at_once
from nvlhub.store import Unit


def welcome(unit: Unit, run: dict[str, Any], number: int, user: str, now: int) -> bool:
    """Make who sits at a seat a member of the course's project; tell whether a run made them one. What they are stays."""
    if not run["gpus"]:
        return False
    project, seat = run["project"], unit.seat(run["id"], number)
    new = unit.member(project, user) is None
    if new:
        unit.set_member(project, user, "member", run["gpus"])
    made = new or bool(seat["made_member"]) or unit.made_member_elsewhere(project, user, run["id"])
    if made != seat["made_member"]:
        unit.change_seat(run["id"], number, made_member=made)
    fit(unit, project, user, now)
    return made


def dismiss(unit: Unit, run: dict[str, Any], seat: dict[str, Any], now: int) -> bool:
    """Undo that a run made somebody a member; tell whether they are none any more, and their leases are to end.

    `run` has ended, or `seat` is as it was before it was freed. They stay while another run needs it, or where somebody
    made more of them meanwhile.
    """
    project, user = run["project"], seat["user"]
    if not seat["made_member"] or user is None:
        return False
    member = unit.member(project, user)
    if member is None or member["role"] != "member":
        return False
    if unit.made_member_elsewhere(project, user, run["id"]):
        fit(unit, project, user, now)
        return False
    unit.drop_member(project, user)
    return True


def dismiss_all(unit: Unit, run: dict[str, Any], now: int) -> list[str]:
    """Do the same for all seats of a run that has ended; return who is no member any more."""
    gone = [seat["user"] for seat in unit.seats(run["id"]) if dismiss(unit, run, seat, now)]
    unit.keep_memberships(run["id"])
    return gone


def fit(unit: Unit, project: str, user: str, now: int) -> None:
    """Let a guest hold what their seats need at once. When none goes on, the cap stays: nothing is granted then."""
    if most := most_at_once(unit.stays(project, user), now):
        unit.set_cap(project, user, most)
