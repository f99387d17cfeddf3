"""What use cases that look back at leases have in common: the period that is meant, and how much of it somebody may read."""

from __future__ import annotations

from typing import Protocol

from nvlhub.errors import BadInputError, NotAllowedError, NotFoundError
from nvlhub.flow.report import Period
from nvlhub.forms import PeriodAsk
from nvlhub.registry.office import Office, Standing
from nvlhub.store import Unit
from nvlhub.store.reporting import Reach

DAY = 86_400
USUAL = 30 * DAY
LONGEST = 3653 * DAY
"""Ten years."""


class Narrowed(Protocol):
    """What is asked for, of a programme, a project or a user; None: of all."""

    @property
    def programme(self) -> str | None:
        """A programme's."""

    @property
    def project(self) -> str | None:
        """A project's."""

    @property
    def user(self) -> str | None:
        """A user's."""


class Reading(Office):
    """Looking back at leases."""

    def period(self, ask: PeriodAsk) -> Period:
        """Return the period that is meant. Raises `BadInputError` for one that is none, or longer than ten years."""
        until = self._clock.now() if ask.until is None else ask.until
        since = max(0, until - USUAL) if ask.since is None else ask.since
        if since >= until:
            raise BadInputError("period-reversed", field="until")
        if until - since > LONGEST:
            raise BadInputError("period-too-long", field="since", most_days=LONGEST // DAY)
        return Period(since, until)

    def _reach(self, who: Standing) -> Reach | None:
        """Return whose leases somebody may read; None: everybody's."""
        return None if who.admin else Reach(who.officer_of, who.led, who.name)

    def _may_read(self, unit: Unit, who: Standing, ask: Narrowed) -> bool:
        """Tell whether all that is asked for is the visitor's to see; raise for what is not at all."""
        whole = who.admin or ask.user == who.name
        if ask.programme is not None:
            unit.programme(ask.programme)
            if not (who.admin or ask.programme in who.officer_of | {name for _, name in who.projects.values()}):
                raise NotFoundError("programme-unknown", programme=ask.programme)
            whole |= ask.programme in who.officer_of
        answers = bool(who.officer_of or who.led)
        if ask.project is not None:
            project = unit.project(ask.project)
            who.need_known(project)
            answers = project["programme"] in who.officer_of or ask.project in who.led
            whole |= answers
        if not (who.admin or answers or ask.user in {None, who.name}):
            raise NotAllowedError("not-allowed")
        return whole
