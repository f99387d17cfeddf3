"""Forms of the board of a run: what an instructor sees and does while it goes on, and what is left of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StringConstraints

from nvlhub.forms.courses import RunView, SeatView
from nvlhub.forms.reservations import InTheWay
from nvlhub.wire import Strict, View

_LINES = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
MessageText = Annotated[
    str, StringConstraints(min_length=1, max_length=500, pattern=rf"^{_LINES}*[^\s\x00-\x1f\x7f]{_LINES}*$")
]
"""A few lines; something in it can be seen."""
SeatNumber = Annotated[int, Field(strict=True, ge=1, le=1000)]
More = Annotated[int, Field(strict=True, ge=1, le=240)]


class NewMessage(Strict):
    """Body of ``POST /runs/{id}/messages``."""

    text: MessageText
    seat: SeatNumber | None = None
    """Whom it is for; null: everybody."""


class RunMessage(View):
    """What was told."""

    seat: int | None
    at: int
    by: str
    text: str


class Helping(Strict):
    """Body of ``POST /runs/{id}/seats/{n}/help``."""

    done: StrictBool = False
    """False: I go there. True: it is settled, the hand is down."""


class SeatExtension(Strict):
    """Body of ``POST /runs/{id}/seats/{n}/extend``."""

    minutes: More


class RunExtension(Strict):
    """Body of ``POST /runs/{id}/extend``."""

    minutes: More
    dry_run: StrictBool = False
    """True: only tell what it would do, and to whom."""


class Refused(View):
    """A lease that could not be made longer, and why."""

    lease: str
    detail: str


class ExtensionView(View):
    """What more time for a run does, or would do."""

    run: str
    ends: int
    """The end with the additional time."""
    fits: bool
    detail: str = ""
    """Why it does not, or what else is to be known of it."""
    price: int = 0
    """What the whole slot costs then, in milli-GPU-seconds."""
    new_trays: bool = False
    """Whether other trays are kept then: seats that start a kernel anew get them there."""
    displaced: list[InTheWay] = Field(default_factory=list)
    """Leases of others that hold GPUs on trays that are kept longer."""
    extended: int = 0
    """Leases of the run that were made longer."""
    refused: list[Refused] = Field(default_factory=list)


class Opened(View):
    """Where a learner's server is, for the instructor who was let in."""

    path: str
    """Below the hub's address."""


class BoardView(View):
    """A run at this moment."""

    run: RunView
    now: int
    counts: dict[str, int]
    """Seats by state, and raised hands (`hands`)."""
    seats: list[SeatView]
    messages: list[RunMessage]
    """The latest."""


class ResultView(View):
    """What somebody achieved; without names where these were removed."""

    row: int | None
    """Of the roster."""
    seat: int | None
    """Null: they never came."""
    pseudonym: str = ""
    user: str = ""
    student_no: str = ""
    name: str = ""
    name_latin: str = ""
    group: str = ""
    attempts: int = 0
    best_milli: int | None = None
    """Of 1000."""
    passed: bool = False
    certificate: str = ""


class ItemView(View):
    """An item of the assessment over all learners' best attempts. Shares of 1000."""

    name: str
    title: str
    title_zh: str
    judged: int
    passed: int
    passed_milli: int
    mean_milli: int


class ResultsView(View):
    """What came of a run, and what it cost."""

    run: RunView
    came: int
    """Seats that somebody has, or had."""
    tried: int
    """Learners who handed something in."""
    passed: int
    mean_milli: int | None
    """Mean of the best scores."""
    cost: int
    """What its slot and its leases were charged, in milli-GPU-seconds."""
    redacted_at: int | None
    learners: list[ResultView]
    items: list[ItemView]


class CheckView(View):
    """One thing that has to be in order before the start."""

    name: Literal["approved", "material", "profile", "capacity", "roster", "code", "assessment"]
    verdict: Literal["good", "bad", "unknown"]
    detail: str


class ReadinessView(View):
    """Whether a run can begin."""

    run: str
    ready: bool
    """Nothing is bad; what is unknown is for somebody to look at."""
    checks: list[CheckView]
