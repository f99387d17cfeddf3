"""Who may: what a visitor is towards a programme or a project, and the checks that every use case makes with it."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from nvlhub.desk import Desk
from nvlhub.errors import BadInputError, ConflictError, NotAllowedError, NotFoundError, RefusedError
from nvlhub.store import LEADS, Unit
from nvlhub.visitor import Visitor


class ChangedError(RefusedError):
    """It was changed by somebody else since the visitor read it."""

    status = 412


class UnreadError(RefusedError):
    """The visitor does not say which state is changed."""

    status = 428


@dataclass(frozen=True, slots=True)
class Standing:
    """What a visitor is. `projects`: role and programme by project."""

    name: str
    admin: bool = False
    officer_of: frozenset[str] = frozenset()
    projects: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    guest_in: frozenset[str] = frozenset()
    """Those of the projects in which they are for classes only: neither the books nor the other members are theirs to see."""

    @property
    def reach(self) -> list[str] | None:
        """The projects whose books are the visitor's to see; None: everything is."""
        return None if self.admin else [slug for slug in self.projects if slug not in self.guest_in]

    @property
    def led(self) -> frozenset[str]:
        """The projects that the visitor answers for."""
        return frozenset(slug for slug, (role, _) in self.projects.items() if role in LEADS)

    def need_admin(self) -> None:
        """Raise `NotAllowedError` for anybody else."""
        if not self.admin:
            raise NotAllowedError("not-allowed")

    def need_officer(self, programme: str) -> None:
        """Raise `NotAllowedError` for anybody but the programme's officers and administrators."""
        if not (self.admin or programme in self.officer_of):
            raise NotAllowedError("not-allowed")

    @property
    def programmes(self) -> frozenset[str]:
        """The programmes whose budgets the visitor may see; an administrator sees all of them."""
        return self.officer_of | {self.projects[slug][1] for slug in self.projects.keys() - self.guest_in}

    def is_guest(self, project: Mapping[str, Any]) -> bool:
        """Tell whether the visitor is in a project for classes only, and no more in it otherwise."""
        return project["slug"] in self.guest_in and not (self.admin or project["programme"] in self.officer_of)

    def knows(self, project: Mapping[str, Any]) -> bool:
        """Tell whether there is a project for the visitor."""
        return self.admin or project["programme"] in self.officer_of or project["slug"] in self.projects

    def sees(self, project: Mapping[str, Any]) -> bool:
        """Tell whether what belongs to a project is the visitor's to see: awards, requests, use, journal."""
        return self.knows(project) and not self.is_guest(project)

    def need_known(self, project: Mapping[str, Any]) -> None:
        """Raise `NotFoundError` for a project that they are not in: from outside it looks like none."""
        if not self.knows(project):
            raise NotFoundError("project-unknown", project=project["slug"])

    def need_sight(self, project: Mapping[str, Any]) -> None:
        """Raise the same, and `NotAllowedError` where what belongs to it is not theirs to see."""
        self.need_known(project)
        if not self.sees(project):
            raise NotAllowedError("guest-not")

    def need_lead(self, project: Mapping[str, Any], roles: frozenset[str] = LEADS) -> None:
        """Raise for anybody but those who answer for a project, its programme's officers and administrators."""
        self.need_sight(project)
        role = self.projects.get(project["slug"], ("", ""))[0]
        if not (self.admin or project["programme"] in self.officer_of or role in roles):
            raise NotAllowedError("not-allowed")

    def need_no_interest(self, project: str, asked_by: str = "", *, lately: bool = False) -> None:
        """Raise `NotAllowedError` where somebody would decide for themselves: own requests, own projects.

        `lately`: whether they were a member not long ago; who leaves a project to decide on it decides for themselves.
        """
        if self.name == asked_by or project in self.projects or lately:
            raise NotAllowedError("decision-own", project=project)


class Office:
    """What the use cases of one noun have in common."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._store = desk.store
        self._clock = desk.clock

    def _need_admin(self, visitor: Visitor) -> None:
        if not visitor.admin:
            raise NotAllowedError("not-allowed")

    def _standing(self, unit: Unit, visitor: Visitor) -> Standing:
        if visitor.hub:
            return Standing(visitor.name)
        roles = unit.roles(visitor.name)
        return Standing(visitor.name, visitor.admin, roles.officer_of, roles.projects, roles.guest_in)

    def _once(
        self, unit: Unit, visitor: Visitor, key: str, body: BaseModel, do: Callable[[], int]
    ) -> int:  # fmt: skip
        """Do something once per idempotency key and return the number of what it made; without a key, just do it.

        Raises `BadInputError` for a key that cannot be one, `ConflictError` for one that was used for something else.
        """
        if not key:
            return do()
        if not (len(key) <= 80 and key.isprintable()):
            raise BadInputError("key-missing", field="Idempotency-Key")
        hashed = hashlib.sha256(f"{type(body).__name__}{body.model_dump_json()}".encode()).hexdigest()
        known = unit.done_once(visitor.name, key)
        if known is not None:
            if known[0] != hashed:
                raise ConflictError("key-reused")
            return int(known[1])
        number = do()
        unit.do_once(visitor.name, key, hashed, str(number), self._clock.now())
        return number


def etag(row: Mapping[str, Any]) -> str:
    """Return the entity tag of what people edit: it changes when, and only when, one of its fields does."""
    told = json.dumps(row, ensure_ascii=False, sort_keys=True, default=str)
    return f'"{hashlib.sha256(told.encode()).hexdigest()[:24]}"'


def check_match(row: Mapping[str, Any], match: str) -> None:
    """Compare what is there with the entity tag that a change was made from.

    Raises `UnreadError` without one, `ChangedError` when somebody else was quicker. ``*`` takes whatever is there.
    """
    if not match:
        raise UnreadError("match-missing")
    given = [tag.strip() for tag in match.split(",")]
    if "*" not in given and not any(secrets.compare_digest(tag.encode(), etag(row).encode()) for tag in given):
        raise ChangedError("match-stale", current=etag(row))


def fresh_ref() -> str:
    """Return what makes a transaction's key unique where nothing else does."""
    return secrets.token_hex(8)
