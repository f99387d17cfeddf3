"""Where attempts are run and judged: the contract.

The portal's machine does it today (:class:`nvlhub.arena.local.LocalArena`); one that carries an attempt through a lease has
the same two steps, on the nodes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nvlhub.flow.rubric import Rubric


class ArenaError(Exception):
    """The arena cannot judge just now: our side's fault, not the learner's."""


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


class Arena(ABC):
    """Runs what was handed in, then judges what that left behind: two processes that share nothing."""

    @abstractmethod
    def lacks(self) -> str:
        """Return why attempts cannot be isolated here; empty: they can. Called before one is taken."""

    @abstractmethod
    def judge(self, files: Mapping[str, bytes], rubric: Rubric) -> Judgement:
        """Run and judge. Called by the worker, and by an instructor's trial in a thread of its own.

        Raises `ArenaError`.
        """
