"""Who may what: one row for each route and method, one expected status for each role.

``python -m tests.api.roles`` writes ``docs/roles.md`` from it. What the projects, leases and awards are: :mod:`world`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.api.world import CERTIFICATE, DAY, KEY, YEAR, ask_for
from tests.conftest import START
from tests.portal_kit import MAILBOX

DOCUMENT = Path(__file__).parents[2] / "docs" / "roles.md"

ROLES = {
    "anonymous": "nobody: a request without a token. Only `/health` and the description of the API, `/openapi.json`, answer.",
    "expired": "a token that the hub does not know (any more). The portal believes the hub's word on a token for 30 seconds.",
    "hub": "the hub itself, known by the scope `custom:nvlhub:hub`, not by its name. It reads offers for the spawn page and "
    "says which servers have stopped; nothing else is open to it.",
    "other": "a user who is in no project. They see what there is to be leased, and themselves.",
    "instructor": "an ordinary user here; in these rows the member of a project of another programme.",
    "member": "a member of the project: starts leases that its awards pay for, and sees the project, its members, awards, "
    "requests, use, and journal. Leases are the holder's own: fellow members do not see them; those who answer for the "
    "project do. In the audit trail they find what they did and what was done about them. Whoever is a member only because a "
    "class made them one is a *guest*: of the members a guest sees themselves alone, and neither awards, requests and "
    "statement nor what others used and the programme's budget.",
    "manager": "answers for the project's daily work: also sets its members and their caps, asks for awards, and sees and "
    "ends its leases. Cannot make or unmake a manager or a pi.",
    "pi": "the principal investigator: a manager who also says who is manager and pi. A project with a pi always keeps one.",
    "foreign": "an officer of another programme: an officer there, nobody here.",
    "officer": "an officer of the project's programme: makes projects, awards within its budget, decides on requests — never on "
    "their own, and never for a project that they are a member of. Sees the programme's projects, leases, what they used and "
    "audit lines, and ends no lease. Sets the programme's share, priority, cap, charge factor from 1.0 on and what happens at zero balance; "
    "its budget is not theirs to change, nor what stretches it.",
    "admin": "runs the portal, known by the scope `custom:nvlhub:admin` of the token, which the token of a Jupyter server "
    "never has. Sees and ends everybody's leases; budgets, pools, profiles, officers and corrections are theirs. To decide on "
    "requests they stand where an officer does: not on their own, not for their own projects. Without a request "
    "they may award to any project, and the audit trail tells.",
}
"""What each role is, in the order of the table's columns."""

CLOSED = {"anonymous": 401, "expired": 401, "hub": 403}


def answers(rest: int, **but: int) -> dict[str, int]:
    """Return a status for every role: `rest` to all people but those named."""
    people = dict.fromkeys(ROLES.keys() - CLOSED.keys(), rest)
    return {**CLOSED, **people, **but}


def insiders(done: int = 200) -> dict[str, int]:
    """Those who see project optics may; to others it is not there."""
    return answers(404, member=done, manager=done, pi=done, officer=done, admin=done)


def leaders(done: int = 200) -> dict[str, int]:
    """Those who answer for project optics may."""
    return insiders(done) | {"member": 403}


def pis(done: int = 200) -> dict[str, int]:
    """As `leaders`, a manager not among them."""
    return leaders(done) | {"manager": 403}


def officers(done: int = 200) -> dict[str, int]:
    """Those who decide about project optics may."""
    return pis(done) | {"pi": 403}


def teachers(done: int = 200) -> dict[str, int]:
    """Those who teach a course of project optics may; who decides about it sees it, and may not."""
    return answers(404, manager=done, pi=done, admin=done, officer=403)


def deciders(done: int = 200) -> dict[str, int]:
    """Those who decide about runs of project optics may."""
    return answers(404, manager=403, pi=403, officer=done, admin=done)


def members(done: int = 200) -> dict[str, int]:
    """Those in project optics may: nobody else's starts are paid from its awards."""
    return answers(404, member=done, manager=done, pi=done)


def holder(done: int = 200) -> dict[str, int]:
    """The member who holds the lease may, and an administrator."""
    return answers(404, member=done, admin=done)


def admins(done: int = 200) -> dict[str, int]:
    """Administrators may."""
    return answers(403, admin=done)


EVERYONE = answers(200)
OPEN = dict.fromkeys(ROLES, 200)
"""Whoever it is, also nobody."""

Reads = Callable[[Any], AbstractSet[str]]
Sees = Mapping[str, AbstractSet[str]]
NOTHING: frozenset[str] = frozenset()


def each(name: str) -> Reads:
    """Read one field of every item of a list."""
    return lambda page: {str(item[name]) for item in page["items"]}


def seen(*, project: AbstractSet[str], other_project: AbstractSet[str], **but: AbstractSet[str]) -> Sees:
    """Return what each role sees of a list: what belongs to optics, to casting, or to both; nobody else anything."""
    ours = dict.fromkeys(("member", "manager", "pi", "officer"), project)
    theirs = dict.fromkeys(("instructor", "foreign"), other_project)
    return all_see(NOTHING, **{**ours, **theirs, "admin": project | other_project, **but})


def all_see(what: AbstractSet[str], **but: AbstractSet[str]) -> Sees:
    """Return that all roles see the same, but those named."""
    return {**dict.fromkeys(ROLES, what), **but}


@dataclass(frozen=True)
class Row:
    """One route and method, in one of its uses (`use`), with what each role is answered."""

    method: str
    path: str
    answers: Mapping[str, int]
    fill: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    use: str = ""
    own: frozenset[str] = frozenset()
    """Roles that may because, and as far as, it is their own."""
    reads: Reads | None = None
    sees: Sees = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.method} {self.path}" + (f" ({self.use})" if self.use else "")

    def shown(self, role: str) -> str:
        """Return a cell of the table."""
        status = self.answers[role]
        if status >= 400:
            return str(status)
        everything = NOTHING.union(*self.sees.values())
        return "own" if role in self.own or self.sees.get(role, everything) != everything else "✓"


LEASE = {"project": "optics", "profile": "gpu1", "mailbox": MAILBOX.model_dump()}
PROJECT = {"slug": "optics"}
MEMBER = {"slug": "optics", "user": "member"}
RUNNING = {"lease_id": "{running}"}
OTHERS = frozenset({"member"})
PEOPLE_KNOWN = {"other", "instructor", "member", "manager", "pi", "foreign", "officer", "founder", "admin"}
OURS_IN_AUDIT = {"request:1", "request:2", "reservation:1", "course:lenses", "run:1", "run:2"}
COURSE = {"slug": "coatings", "project": "optics", "title": "Coatings", "profile": "gpu1"}
RUN = {"course": "lenses", "name": "June", "zone": "UTC", "seats": 2, "starts": START + DAY, "ends": START + DAY + 3600}
OUR_COURSES: Sees = {role: {"lenses", "lasers"} for role in ("manager", "pi", "officer", "admin")}
OUR_RUNS: Sees = {role: {"1", "2", "3"} for role in ("manager", "pi", "officer", "admin")}
DRAFT, ASKED, LIVE = {"number": "1"}, {"number": "2"}, {"number": "3"}
SEAT = {**LIVE, "seat": "1"}
REQUEST = ask_for("optics").model_dump(mode="json")
HELD = {"{running}", "{theirs}"}
RESERVATION = {"name": "Demo day", "project": "casting", "gpus": 4, "starts": START + DAY, "ends": START + 2 * DAY}
RAN = {"{running}", "{settled}"}


def holders(page: Any) -> AbstractSet[str]:
    """Read who is told to hold GPUs."""
    return {held for domain in page["items"] for tray in domain["trays"] for held in tray["gpus"] if held}


ROWS = (
    # --- who asks -------------------------------------------------------------------------------------------------
    Row("GET", "/health", dict.fromkeys(ROLES, 200)),
    Row("GET", "/health/report", admins()),
    Row("GET", "/me", EVERYONE, own=frozenset(EVERYONE), reads=lambda me: {me["user"]},
        sees={role: {role} for role in ROLES}),
    # --- leases ---------------------------------------------------------------------------------------------------
    Row("GET", "/offers", answers(200, hub=200), reads=each("project"), own=frozenset(ROLES),
        sees=all_see(NOTHING, instructor={"casting"}, member={"optics"}, manager={"optics"}, pi={"optics"})),
    Row("GET", "/offers", answers(403, hub=200, member=200, admin=200), query={"user": "member"}, use="of a user",
        own=OTHERS, reads=each("project"), sees=all_see({"optics"})),
    Row("POST", "/leases", members(201), body=LEASE),
    Row("POST", "/leases/batch", members(201), body={**LEASE, "count": 2}),
    Row("GET", "/leases", EVERYONE, query={"state": "all"}, reads=each("id"),
        sees=all_see(NOTHING, member={"{running}", "{settled}"}, admin={"{running}", "{settled}", "{theirs}"})),
    Row("GET", "/leases", insiders(), query={"project": "optics"}, use="of a project", reads=each("id"),
        sees=all_see({"{running}"})),
    Row("GET", "/leases", insiders(), query={"project": "optics", "user": "member"}, use="of a user in a project",
        own=OTHERS, reads=each("id"), sees=all_see({"{running}"})),
    Row("GET", "/leases", answers(403, member=200, admin=200), query={"user": "member"}, use="of a user", own=OTHERS,
        reads=each("id"), sees=all_see({"{running}"})),
    Row("POST", "/leases/heartbeats", EVERYONE, body={"beats": {"{running}": {}, "{theirs}": {}}},
        reads=lambda page: {item["lease"]["id"] for item in page["items"]},
        sees=all_see(NOTHING, member={"{running}"}, admin={"{running}", "{theirs}"})),
    Row("GET", "/leases/{lease_id}", insiders(), RUNNING, own=OTHERS),
    Row("DELETE", "/leases/{lease_id}", insiders() | {"officer": 403}, RUNNING, own=OTHERS),
    Row("POST", "/leases/{lease_id}/heartbeat", holder(), RUNNING, {}, own=OTHERS),
    Row("POST", "/leases/{lease_id}/extend", holder(), RUNNING, {"seconds": 600}, own=OTHERS),
    Row("POST", "/servers/{user}/{name}/stopped", answers(403, hub=200), {"user": "member", "name": "-"}),
    # --- directory ------------------------------------------------------------------------------------------------
    Row("GET", "/users", answers(403, foreign=200, officer=200, admin=200), reads=each("name"),
        sees=all_see(PEOPLE_KNOWN)),
    Row("POST", "/users", admins(201), body={"name": "newcomer"}),
    Row("GET", "/users/{name}", answers(403, member=200, admin=200), {"name": "member"}, own=OTHERS),
    Row("PATCH", "/users/{name}", admins(), {"name": "member"}, {"cap": 8}),
    Row("GET", "/institutions", EVERYONE, reads=each("slug"), sees=all_see({"uni"})),
    Row("POST", "/institutions", admins(201), body={"slug": "lab", "name": "Laboratory"}),
    Row("GET", "/institutions/{slug}", EVERYONE, {"slug": "uni"}),
    Row("PATCH", "/institutions/{slug}", admins(), {"slug": "uni"}, {"name": "The University"}),
    Row("GET", "/programmes", EVERYONE, reads=each("slug"),
        sees=seen(project={"science"}, other_project={"industry"})),
    Row("POST", "/programmes", admins(201), body={"slug": "teaching", "name": "Teaching"}),
    Row("GET", "/programmes/{slug}", insiders(), {"slug": "science"}),
    Row("PATCH", "/programmes/{slug}", answers(403, officer=200, admin=200), {"slug": "science"},
        {"at_zero": "low_priority"}, use="what happens at zero balance"),
    Row("PATCH", "/programmes/{slug}", answers(403, officer=200, admin=200), {"slug": "science"},
        {"share": 200, "priority": 5, "cap": 16, "factor_milli": 2000}, use="share, priority, cap, charge factor"),
    Row("PATCH", "/programmes/{slug}", admins(), {"slug": "science"}, {"factor_milli": 999},
        use="a charge factor below 1.0"),
    Row("PATCH", "/programmes/{slug}", admins(), {"slug": "science"}, {"name": "Science!"}, use="its name"),
    Row("PUT", "/programmes/{slug}/officers/{user}", admins(), {"slug": "science", "user": "other"}),
    Row("DELETE", "/programmes/{slug}/officers/{user}", admins(), {"slug": "science", "user": "officer"}),
    Row("PUT", "/programmes/{slug}/budgets/{pool}", admins(), {"slug": "science", "pool": "main"}, {"gpu_hours": 2000}),
    Row("GET", "/projects", EVERYONE, reads=each("slug"), sees=seen(project={"optics"}, other_project={"casting"})),
    Row("POST", "/projects", answers(403, officer=201, admin=201),
        body={"slug": "lenses", "name": "Lenses", "programme": "science"}),
    Row("GET", "/projects/{slug}", insiders(), PROJECT),
    Row("PATCH", "/projects/{slug}", officers(), PROJECT, {"cap": 8}),
    Row("GET", "/projects/{slug}/members", insiders(), PROJECT, reads=each("user"),
        sees=all_see({"pi", "manager", "member"})),
    Row("PUT", "/projects/{slug}/members/{user}", leaders(), {**PROJECT, "user": "other"}, {"role": "member"},
        use="a member"),
    Row("PUT", "/projects/{slug}/members/{user}", pis(), {**PROJECT, "user": "other"}, {"role": "manager"},
        use="a manager or pi"),
    Row("PUT", "/projects/{slug}/members/{user}", pis(), {**PROJECT, "user": "manager"}, {"role": "member"},
        use="a manager no more"),
    Row("DELETE", "/projects/{slug}/members/{user}", leaders(204), MEMBER, use="a member"),
    Row("DELETE", "/projects/{slug}/members/{user}", pis(204), {**PROJECT, "user": "manager"}, use="a manager or pi"),
    Row("GET", "/projects/{slug}/usage", insiders(), PROJECT, reads=each("user"), sees=all_see({"member"})),
    # --- awards ---------------------------------------------------------------------------------------------------
    Row("GET", "/awards", EVERYONE, reads=each("id"), sees=seen(project={"1"}, other_project={"2"})),
    Row("POST", "/awards", officers(201),
        body={"project": "optics", "pool": "main", "gpu_hours": 5, "starts": START, "ends": START + YEAR}),
    Row("GET", "/awards/{number}", insiders(), {"number": "1"}),
    Row("PATCH", "/awards/{number}", officers(), {"number": "1"}, {"ends": START + YEAR + DAY}),
    Row("POST", "/awards/{number}/revoke", officers(), {"number": "1"}, {"reason": "moved away"}),
    Row("GET", "/requests", EVERYONE, reads=each("id"), sees=seen(project={"1", "2"}, other_project={"3"})),
    Row("POST", "/requests", leaders(201), body=REQUEST),
    Row("GET", "/requests/{number}", insiders(), {"number": "1"}),
    Row("PUT", "/requests/{number}", leaders(), {"number": "2"}, REQUEST),
    Row("POST", "/requests/{number}/withdraw", leaders(), {"number": "1"}),
    Row("POST", "/requests/{number}/reviews", officers(), {"number": "1"}, {"verdict": "approve", "reason": "good"}),
    Row("GET", "/programmes/{slug}/burndown", answers(403, officer=200, admin=200), {"slug": "science"}),
    Row("GET", "/projects/{slug}/burndown", insiders(), PROJECT),
    Row("GET", "/awards/{number}/burndown", insiders(), {"number": "1"}),
    # --- capacity -------------------------------------------------------------------------------------------------
    Row("GET", "/pools", EVERYONE, reads=each("name"), sees=all_see({"main", "cloud"})),
    Row("POST", "/pools", admins(201), body={"name": "next", "gpu_model": "GB300"}),
    Row("GET", "/pools/{pool}/capacities", EVERYONE, {"pool": "main"}),
    Row("GET", "/pools/{pool}/shares", answers(403, foreign=200, officer=200, admin=200), {"pool": "main"},
        reads=each("programme"),
        sees=all_see(NOTHING, officer={"science", ""}, foreign={"industry", ""}, admin={"science", "industry"})),
    Row("POST", "/pools/{pool}/capacities", admins(201), {"pool": "main"},
        {"kind": "announced", "gpus": 10_008, "at": START, "source": "press"}),
    Row("GET", "/domains", EVERYONE, reads=holders,
        sees=all_see({"*"}, member={"{running}", "*"}, admin=HELD)),
    Row("GET", "/domains", EVERYONE, query={"name": "nvl999"}, use="of a name", reads=holders, sees=all_see(NOTHING)),
    Row("GET", "/fleet", EVERYONE, reads=lambda fleet: {fleet["pool"]}, sees=all_see({"main"})),
    Row("GET", "/fleet/holders", admins(), query={"by": "project"}, reads=lambda told: set(told["names"]),
        sees=all_see(NOTHING, admin={"optics", "casting"})),
    Row("PUT", "/domains/{pool}/{name}", admins(), {"pool": "main", "name": "nvl001"}, {"in_service": False, "tray": 18}),
    Row("GET", "/profiles", EVERYONE, reads=each("name"), sees=all_see({"gpu1"}, admin={"gpu1", "draft"})),
    Row("POST", "/profiles", admins(201),
        body={"name": "gpu2", "display_name": "Two", "pool": "main", "gpus": 2, "longest": 3600}),
    Row("GET", "/profiles/{name}", EVERYONE, {"name": "gpu1"}, use="a published one"),
    Row("GET", "/profiles/{name}", answers(404, admin=200), {"name": "draft"}, use="a draft"),
    Row("GET", "/profiles/{name}/diff", admins(), {"name": "gpu1"}, query={"a": "1", "b": "1"}),
    Row("GET", "/profiles/{name}/stats", admins(), {"name": "gpu1"}),
    Row("GET", "/profile-stats", admins()),
    Row("POST", "/profiles/check", admins(), body={"yaml": "name: x"}),
    Row("POST", "/profiles/{name}/publish", admins(), {"name": "draft"}, {"version": 1}),
    Row("POST", "/profiles/{name}/rollback", answers(403, admin=409), {"name": "gpu1"}, {"published": 1}),
    # --- announcements --------------------------------------------------------------------------------------------
    Row("GET", "/announcements", EVERYONE, reads=each("id"),
        sees=seen(project={"1", "2"}, other_project={"1", "3"}, other={"1"}, member={"1", "2", "4"}, admin={"1"})),
    Row("GET", "/announcements", admins(), query={"all": "true"}, use="all that ever were", reads=each("id"),
        sees=all_see({"1", "2", "3", "4"})),
    Row("POST", "/announcements", admins(201), body={"level": "info", "text": "Maintenance"}, use="to everybody"),
    Row("POST", "/announcements", answers(403, officer=201, admin=201),
        body={"level": "info", "text": "Calls are open", "programme": "science"}, use="to a programme"),
    Row("POST", "/announcements", admins(201),
        body={"level": "warning", "text": "It idles.", "user": "member", "lease": "{running}"}, use="to a user"),
    Row("DELETE", "/announcements/{number}", admins(204), {"number": "1"}, use="to everybody"),
    Row("DELETE", "/announcements/{number}", answers(403, foreign=404, officer=204, admin=204), {"number": "2"},
        use="to a programme"),
    Row("DELETE", "/announcements/{number}", answers(403, foreign=404, officer=404, admin=204), {"number": "4"},
        use="to a user"),
    # --- reservations ---------------------------------------------------------------------------------------------
    Row("GET", "/reservations", EVERYONE, reads=lambda page: {one["name"] for one in page["items"] if one["name"]},
        sees=seen(project={"Beam time"}, other_project=NOTHING)),
    Row("POST", "/reservations", admins(201), body=RESERVATION),
    Row("POST", "/reservations", admins(200), body={**RESERVATION, "dry_run": True}, use="tried only"),
    Row("GET", "/reservations/{number}", EVERYONE, {"number": "1"},
        reads=lambda one: {one["name"]} - {""}, sees=seen(project={"Beam time"}, other_project=NOTHING)),
    Row("PATCH", "/reservations/{number}", admins(), {"number": "1"}, {"ends": START + 11 * DAY}),
    Row("DELETE", "/reservations/{number}", admins(), {"number": "1"}),
    # --- certificates ---------------------------------------------------------------------------------------------
    Row("GET", "/certificates/keys", OPEN),
    Row("POST", "/certificates/keys", admins(201)),
    Row("DELETE", "/certificates/keys/{key}", admins(), {"key": KEY}),
    Row("POST", "/verify", OPEN, body={"document": "{}", "signature": "x"}),
    Row("GET", "/certificates", EVERYONE, reads=each("id"), sees=all_see(NOTHING, other={CERTIFICATE})),
    Row("GET", "/certificates/{name}", OPEN, {"name": CERTIFICATE}),
    Row("POST", "/certificates/{name}/revoke", answers(404, manager=200, pi=200, officer=200, admin=200),
        {"name": CERTIFICATE}, {"reason": "given by mistake"}),
    Row("GET", "/runs/{run}/certificates", answers(404, manager=200, pi=200, officer=403, admin=200), {"run": "3"},
        reads=each("id"), sees=all_see(NOTHING, manager={CERTIFICATE}, pi={CERTIFICATE}, admin={CERTIFICATE})),
    # --- courses --------------------------------------------------------------------------------------------------
    Row("GET", "/courses", EVERYONE, reads=each("slug"), sees=all_see(NOTHING, **OUR_COURSES)),
    Row("POST", "/courses", answers(404, member=403, manager=201, pi=201, officer=403, admin=201), body=COURSE),
    Row("GET", "/courses/{slug}", teachers() | {"officer": 200}, {"slug": "lenses"}),
    Row("PATCH", "/courses/{slug}", teachers(), {"slug": "lenses"}, {"retired": True}),
    Row("GET", "/runs", EVERYONE, reads=each("id"), sees=all_see(NOTHING, **OUR_RUNS)),
    Row("POST", "/runs", teachers(201), body=RUN),
    Row("POST", "/runs", teachers(), body={**RUN, "dry_run": True}, use="tried only"),
    Row("GET", "/runs/{number}", teachers() | {"officer": 200}, DRAFT, reads=lambda run: {str(bool(run["code"]))},
        sees=all_see({"True"}, officer={"False"})),
    Row("PATCH", "/runs/{number}", teachers(), DRAFT, {"seats": 3}),
    Row("POST", "/runs/{number}/request", teachers(), DRAFT, {}),
    Row("POST", "/runs/{number}/decision", deciders(), ASKED, {"approve": True, "reason": "good"}),
    Row("POST", "/runs/{number}/cancel", teachers(), ASKED, {}),
    Row("POST", "/runs/{number}/close", teachers(409), ASKED),
    Row("POST", "/runs/{number}/code", teachers(), DRAFT),
    Row("GET", "/runs/{number}/roster", teachers(), DRAFT),
    Row("POST", "/runs/{number}/roster", teachers(), DRAFT, {"csv": "student_no,name_zh\n1,王\n"}),
    # --- own seats ------------------------------------------------------------------------------------------------
    Row("POST", "/join", EVERYONE, body={"code": "LASERS23"}),
    Row("POST", "/join", answers(404), body={"code": "NOSUCH23"}, use="with a wrong code"),
    Row("GET", "/seat", EVERYONE, reads=each("run"), sees=all_see(NOTHING, other={"3"})),
    Row("POST", "/seat/{run}/hand", answers(404, other=200), {"run": "3"}, {"up": True}),
    Row("POST", "/seat/{run}/progress", answers(404, other=200), {"run": "3"}, {"step": 1, "steps": 3}),
    Row("POST", "/seat/{run}/name", answers(404, other=409), {"run": "3"}, {"name": "Other"}, use="with a certificate"),
    # --- assessment -----------------------------------------------------------------------------------------------
    Row("GET", "/runs/{run}/assessment", answers(404, other=200, manager=200, pi=200, officer=200, admin=200), {"run": "3"}),
    Row("POST", "/attempts", answers(404, other=201, manager=403, pi=403, officer=403, admin=403),
        body={"run": 3, "files": {"solve.py": "eA=="}}, own=frozenset({"other"})),
    Row("GET", "/attempts", EVERYONE, reads=each("id"), own=frozenset({"other"}), sees=all_see(NOTHING, other={"1"})),
    Row("GET", "/attempts/{number}", answers(404, other=200, manager=200, pi=200, admin=200), {"number": "1"},
        own=frozenset({"other"})),
    Row("GET", "/runs/{run}/attempts", answers(404, manager=200, pi=200, officer=403, admin=200), {"run": "3"},
        reads=each("id"), sees=all_see(NOTHING, manager={"1"}, pi={"1"}, admin={"1"})),
    Row("POST", "/courses/{slug}/assessment/try", answers(404, manager=200, pi=200, officer=403, admin=200),
        {"slug": "lasers"}, {"files": {"solve.py": "eA=="}}),
    # --- the board of a run ---------------------------------------------------------------------------------------
    Row("GET", "/runs/{number}/seats", teachers(), LIVE, reads=lambda found: {one["user"] for one in found["seats"]} - {""},
        sees=all_see({"other"})),
    Row("GET", "/runs/{number}/seats", teachers(), LIVE, query={"pseudonyms": "true"}, use="without names",
        reads=lambda found: {one["user"] for one in found["seats"]} - {""}, sees=all_see(NOTHING)),
    Row("POST", "/runs/{number}/messages", teachers(201), LIVE, {"text": "Break until ten"}),
    Row("POST", "/runs/{number}/extend", teachers(), LIVE, {"minutes": 10, "dry_run": True}),
    Row("POST", "/runs/{number}/try", answers(404, manager=200, pi=200, officer=403, admin=200), LIVE),
    Row("GET", "/runs/{number}/readiness", teachers(), LIVE),
    Row("GET", "/runs/{number}/results", teachers(), LIVE),
    Row("POST", "/runs/{number}/seats/{seat}/help", teachers(409), SEAT, {}),
    Row("POST", "/runs/{number}/seats/{seat}/open", teachers(409), SEAT),
    Row("POST", "/runs/{number}/seats/{seat}/restart", teachers(), SEAT),
    Row("POST", "/runs/{number}/seats/{seat}/replace", teachers(), SEAT),
    Row("POST", "/runs/{number}/seats/{seat}/release", teachers(), SEAT),
    Row("POST", "/runs/{number}/seats/{seat}/extend", teachers(), SEAT, {"minutes": 10}),
    # --- ledger ---------------------------------------------------------------------------------------------------
    Row("GET", "/ledger", EVERYONE, reads=each("award"),
        sees=seen(project={"1"}, other_project={"2"}, admin={"1", "2", "None"})),
    Row("GET", "/ledger", insiders(), query={"lease": "{settled}"}, use="of a lease"),
    Row("GET", "/ledger/verify", admins()),
    Row("GET", "/ledger/replay", admins()),
    Row("POST", "/ledger/corrections", admins(201),
        body={"lease": "{settled}", "gpu_seconds": -50, "reason": "slow start"}),
    Row("POST", "/reconciliations", admins(), body={}),
    Row("GET", "/differences", admins()),
    Row("POST", "/differences/{number}/close", answers(403, admin=404), {"number": "99"},
        {"action": "accept", "reason": "known"}),
    Row("GET", "/usage", EVERYONE, reads=lambda page: {row["group"] for row in page["rows"]}, query={"by": "project"},
        sees=seen(project={"optics"}, other_project={"casting"}, instructor=NOTHING)),
    Row("GET", "/projects/{slug}/statement", insiders(), PROJECT),
    # --- what GPUs did --------------------------------------------------------------------------------------------
    Row("GET", "/leases/{lease_id}/usage", insiders(), RUNNING, own=OTHERS),
    Row("GET", "/activity", EVERYONE, own=frozenset(EVERYONE)),
    Row("GET", "/activity", answers(404, member=200, manager=200, pi=200, officer=200, admin=200),
        query={"project": "optics"}, use="of a project", own=OTHERS),
    Row("GET", "/usage/leases", EVERYONE, reads=each("id"),
        sees=seen(project=RAN, other_project={"{theirs}"}, instructor=NOTHING)),
    Row("GET", "/efficiency", EVERYONE, own=frozenset({"other", "instructor", "member"})),
    Row("GET", "/savings", admins()),
    Row("GET", "/export", admins(), query={"format": "yaml"}),
    Row("POST", "/import", admins(), body={"institutions": [{"slug": "lab", "name": "Laboratory"}]},
        query={"format": "yaml", "dry_run": "true"}),
    Row("GET", "/audit", EVERYONE, reads=each("object"),
        sees=seen(project=OURS_IN_AUDIT, other_project={"request:3"}, member=NOTHING, instructor=NOTHING)),
)  # fmt: skip


LEGEND = (
    "✓: may. own: may, as far as it is theirs; lists hold nothing of others. 401: not logged in. 403: not for them. 404: not "
    "there, or not theirs to see: the two look the same. The rows are about a project *optics* of a programme *science*, an "
    "award and a request of it, and a lease of its member; “foreign” and “instructor” belong to another programme and its "
    "project."
)


def document() -> str:
    """Return ``docs/roles.md``."""
    lines = [
        "# Who may what", "",
        "Generated by `python -m tests.api.roles` from the data of a test that tries every cell of it.", "", LEGEND, "",
        f"| route | {' | '.join(ROLES)} |",
        f"|---|{'---|' * len(ROLES)}",
    ]  # fmt: skip
    lines += [f"| {_title(row)} | {' | '.join(row.shown(role) for role in ROLES)} |" for row in ROWS]
    lines += ["", "## The roles", ""]
    lines += [f"- **{role}**: {what}" for role, what in ROLES.items()]
    return "\n".join(lines) + "\n"


def _title(row: Row) -> str:
    return f"`{row.method} {row.path}`" + (f" {row.use}" if row.use else "")


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
