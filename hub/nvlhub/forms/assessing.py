"""Forms of what is handed in and judged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from nvlhub.flow.rubric import FileName
from nvlhub.forms.base import Number
from nvlhub.wire import Strict, View

Content = Annotated[str, StringConstraints(max_length=7_500_000, pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
"""Bytes, base64."""
Files = Annotated[dict[FileName, Content], Field(min_length=1, max_length=200)]
"""Content by name. There are no links, devices or other paths: JSON has no word for them."""
AttemptState = Literal["queued", "running", "passed", "failed", "broken"]


class NewAttempt(Strict):
    """Body of ``POST /attempts``: what the learner hands in on their own seat."""

    run: Number
    files: Files


class Trial(Strict):
    """Body of ``POST /courses/{slug}/assessment/try``."""

    files: Files


class MarkView(View):
    """What is told of one item; nothing that is hidden."""

    name: str
    title: str
    title_zh: str
    weight: int
    share_milli: int
    """Of 1000."""
    said: str
    """In the reader's language."""
    text: str = ""
    """In the instructor's own words."""


class AttemptView(View):
    """What was handed in, and what became of it."""

    id: str
    """Empty for an instructor's trial."""
    run: str
    course: str
    seat: int
    number: int
    user: str
    at: int
    state: AttemptState
    said: str
    """The state in the reader's language, and what to do next."""
    score_milli: int | None
    """Of 1000."""
    items: list[MarkView]
    log: str
    """What the program printed: beginning and end."""
    grader_log: str = ""
    """What the grader printed; told to those who teach."""
    snapshot: str
    """Digest of what was handed in."""
    grader: str
    """Digest of rubric, graders and hidden data."""
    certificate: str = ""
    ended_at: int | None


class AskedItem(View):
    """An item, as a learner may know it."""

    name: str
    title: str
    title_zh: str
    weight: int


class AssessmentView(View):
    """What is to be handed in."""

    run: str
    files: list[str]
    """Names; ``*`` stands for anything but a slash."""
    largest: int
    """Bytes of one file."""
    most: int
    """Bytes of all of them."""
    items: list[AskedItem]
    pass_milli: int
    attempts: int
    gpus: int = 0
    """GPUs of its own that it runs on; 0: none are needed, or the seat has none."""
    left: int
    open: bool
    """Whether the reader can hand in now."""
