"""Where attempts are run and judged: the contract.

Two steps that share nothing: what was handed in runs, then other code judges what it left. The second is always on the portal's
machine (:class:`nvlhub.arena.local.LocalArena`), where hidden data stay; the first is there, too, or goes through a lease to
the GPUs that the rubric asks for (:class:`nvlhub.arena.leased.LeasedArena`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nvlhub.errors import NvlhubError
from nvlhub.flow.rubric import Rubric


class ArenaError(Exception):
    """The arena cannot judge just now: our side's fault, not the learner's."""


class NotHeldError(Exception):
    """No lease was to be had for the run, so nothing ran; `why` is for the learner."""

    def __init__(self, why: NvlhubError) -> None:
        super().__init__(str(why))
        self.why = why


@dataclass(frozen=True, slots=True)
class Payer:
    """Who leases the GPUs of a run: as the learner's own kernel would on the same seat."""

    user: str
    project: str
    profile: str
    gpus: int | None
    """None: as many as the profile has."""
    key: str
    """What the lease is asked for with, the same again after a restart: so it is found and ended."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How the learner's command ended."""

    ended: Literal["done", "code", "time", "memory", "start"]
    code: int
    seconds: float
    log: str
    """What it printed: its beginning and its end."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What is told of an item: a share of 1000, a sentence of the catalogue, the instructor's own words."""

    share_milli: int
    slug: str
    members: Mapping[str, str] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of an attempt."""

    ran: Ran
    marks: tuple[Mark, ...]
    """In the order of the rubric's items; empty: the command did not end well, nothing was judged."""
    grader_log: str = ""
    """For those who teach: it may tell what is hidden."""
    lease: str = ""
    """What it ran on; empty: on the portal's machine."""


class Arena(ABC):
    """Runs what was handed in, then judges what that left behind: two processes that share nothing."""

    @abstractmethod
    def lacks(self) -> str:
        """Return why attempts cannot be isolated here; empty: they can. Called before one is taken."""

    @abstractmethod
    def judge(self, files: Mapping[str, bytes], rubric: Rubric, payer: Payer | None = None) -> Judgement:
        """Run and judge. Called by the worker, and by an instructor's trial in a thread of its own.

        Raises `ArenaError`, and `NotHeldError` where a lease is needed.
        """

    def carries(self, rubric: Rubric, payer: Payer) -> bool:
        """Tell whether an attempt spends its time elsewhere: it keeps none of this machine's places then."""
        return False

    def give_up(self) -> None:
        """Have everything under way end with an `ArenaError`. Called when the portal ends; nothing is judged after it."""
        return

    def clear(self, user: str, key: str) -> None:
        """End what is left of an attempt that an earlier portal began. Called for each before it is begun once more."""
        return
