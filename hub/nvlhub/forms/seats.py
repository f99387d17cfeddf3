"""Forms of a learner's own seat."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StringConstraints

from nvlhub.forms.base import PRINTED, Name
from nvlhub.forms.courses import Line
from nvlhub.wire import Strict, View

STEPS = 999
Given = Annotated[str, StringConstraints(max_length=40)]
"""A code as somebody typed it: what it is, is found out."""


class Joining(Strict):
    """Body of ``POST /join``."""

    code: Given


class Hand(Strict):
    """Body of ``POST /seat/{run}/hand``."""

    up: StrictBool


class SeatName(Strict):
    """Body of ``POST /seat/{run}/name``: what stands on the certificate."""

    name: Name
    """In any script."""
    name_latin: Line = ""
    """In Latin letters."""


class Progress(Strict):
    """Body of ``POST /seat/{run}/progress``: how far somebody is, and what came of the last check of their work."""

    step: Annotated[int, Field(strict=True, ge=0, le=STEPS)] | None = None
    steps: Annotated[int, Field(strict=True, ge=0, le=STEPS)] | None = None
    check: Annotated[str, StringConstraints(max_length=60, pattern=rf"^{PRINTED}*$")] = ""
    ok: StrictBool | None = None


class Message(View):
    """What an instructor said."""

    at: int
    by: str
    text: str


class OwnSeat(View):
    """A seat as its learner sees it."""

    run: str
    course: str
    title: str
    title_zh: str
    run_name: str
    seat: int
    pseudonym: str
    """What it is called where everybody sees it."""
    name: str
    name_latin: str
    zone: str
    starts: int
    ends: int
    """Extra time included."""
    grace: int
    """Until when what is handed in counts."""
    now: int
    state: Literal["waiting", "starting", "ready", "failed", "over"]
    """Of its server."""
    failed: str
    opens: str
    """Where JupyterLab opens, below the hub's address."""
    hand_at: int | None
    helped_by: str
    step: int
    steps: int
    check_name: str
    check_ok: bool | None
    assessed: bool
    certificate: str
    """Its id; empty: none yet."""
    messages: list[Message]
