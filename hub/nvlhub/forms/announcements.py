"""Forms of announcements."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from nvlhub.forms.base import Time, UserName
from nvlhub.wire import Slug, Strict, View

Level = Literal["info", "warning", "urgent"]
Notice = Annotated[
    str,
    StringConstraints(
        max_length=500,
        # As Words: line breaks, but nothing that steers a terminal and nothing that turns the text around; not only blanks.
        pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]*"
        r"[^\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
        r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]*$",
    ),
]
"""What is announced, 1 to 500 characters."""


class NewAnnouncement(Strict):
    """Body of ``POST /announcements``: to everybody, to a `programme`, or to one `user`, perhaps about a `lease` of theirs.

    From `starts` on (left out: at once) until `ends` (left out: until it is withdrawn, or its lease has ended).
    """

    level: Level
    text: Notice
    text_zh: Notice | None = None
    """The same in Chinese; left out: there is only one wording."""
    starts: Time | None = None
    ends: Time | None = None
    programme: Slug | None = None
    user: UserName | None = None
    lease: Annotated[str, StringConstraints(max_length=36, pattern="^[0-9A-Za-z-]+$")] | None = None


class AnnouncementView(View):
    """What is announced, in the reader's language; empty `programme`, `user` and `lease`: to everybody."""

    id: str
    at: int
    level: Level
    text: str
    starts: int
    ends: int | None = None
    programme: str = ""
    user: str = ""
    lease: str = ""
    text_zh: str = ""
    """The Chinese wording, in the history alone: `text` is the other one there."""
    actor: str = ""
    """Who announced it, in the history alone."""
    withdrawn_at: int | None = None
