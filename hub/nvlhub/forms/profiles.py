"""Forms of profiles: shapes that can be started, who may use them, and what is started with them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictStr, StringConstraints

from nvlhub.forms.base import PRINTED, GpuCap, Name
from nvlhub.wire import Slug, Span, Strict, View

LARGEST = 64 * 1024
"""Bytes of a profile as YAML."""

EngineName = Literal["local", "slurm", "kubernetes", "scripted"]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]{0,99}$")]
"""Name of an environment variable."""
Value = Annotated[
    str,
    StringConstraints(
        max_length=1000, pattern=r"^[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]*$"
    ),
]
"""Value of an environment variable: one line of printable text."""
HintName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,59}$")]
HintText = Annotated[str, StringConstraints(strict=True, max_length=200, pattern=rf"^{PRINTED}*$")]
HintNumber = Annotated[int, Field(strict=True, ge=-(2**53), le=2**53)]
HintFraction = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e15, le=1e15)]
CLOSED: dict[str, Any] = {"additionalProperties": False}
Hints = Annotated[
    dict[HintName, StrictBool | HintNumber | HintFraction | HintText], Field(max_length=20, json_schema_extra=CLOSED)
]
"""What one engine is told beside the shape."""
Note = Annotated[str, StringConstraints(max_length=500, pattern=rf"^{PRINTED}*$")]
Version = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]


class Audience(Strict):
    """Who may start a profile: these programmes and these projects; both empty: everybody."""

    programmes: Annotated[tuple[Slug, ...], Field(max_length=50)] = ()
    projects: Annotated[tuple[Slug, ...], Field(max_length=200)] = ()


class NewProfile(Strict):
    """Body of ``POST /profiles``: the next version of a profile, a draft until it is published. Seconds."""

    name: Slug
    display_name: Name
    pool: Slug
    gpus: GpuCap
    span: Span = Span.DOMAIN
    longest: Annotated[int, Field(strict=True, ge=60, le=30 * 24 * 3600)]
    idle: Annotated[int, Field(strict=True, ge=60, le=30 * 24 * 3600)] | None = None
    audience: Audience = Audience()
    environment: Annotated[dict[Variable, Value], Field(default_factory=dict, max_length=50, json_schema_extra=CLOSED)]
    """Variables of what is started with it. Everybody who may start it can read them."""
    hints: Annotated[dict[EngineName, Hints], Field(default_factory=dict)]
    note: Note = ""
    """What this version is for, or what it changes."""


class Publish(Strict):
    """Body of ``POST /profiles/{name}/publish``."""

    version: Version


class Rollback(Strict):
    """Body of ``POST /profiles/{name}/rollback``: sent twice, it is done once."""

    published: Version
    """The version that is published now and shall be no longer."""


class ProfileView(View):
    """One version of a profile; durations in seconds."""

    name: str
    version: int
    display_name: str
    pool: str
    gpus: int
    span: Span
    longest: int
    idle: int | None
    audience: Audience
    """Of programmes and projects those that are the reader's to see."""
    environment: dict[str, str]
    hints: dict[str, dict[str, bool | int | float | str]]
    """Told to administrators."""
    note: str
    """Told to administrators."""
    made_by: str
    """Told to administrators."""
    made_at: int
    published: bool


class ProfileHistory(View):
    """All versions of a profile that are the reader's to see, the newest first."""

    name: str
    published: int | None
    rollback: int | None
    """The version that a roll-back would publish; None: there is none, or it is not the reader's to see."""
    versions: list[ProfileView]


class FieldChange(View):
    """A field that is different; one inside another is named with a dot. None: it is not there."""

    field: str
    before: Any
    after: Any


class ProfileDiff(View):
    """What is different between two versions."""

    name: str
    a: int
    b: int
    changes: list[FieldChange]


class VersionStats(View):
    """How the starts of one version went; times in seconds from the place to the running task."""

    name: str
    version: int
    starts: int
    failures: int
    """Starts that ended because the machine failed, or that were never heard of."""
    running: int
    median: int | None
    """None: nothing was timed yet."""
    p95: int | None


FieldName = Literal[
    "name", "version", "display_name", "pool", "gpus", "span", "longest", "idle", "programmes", "projects",
    "environment", "hints", "note",
]  # fmt: skip


class DraftCheck(Strict):
    """Body of ``POST /profiles/check``: a draft as it is typed, in the fields of a form or as YAML, one of the two."""

    fields: dict[FieldName, Annotated[StrictStr, StringConstraints(max_length=LARGEST)]] | None = None
    yaml: Annotated[StrictStr, StringConstraints(max_length=LARGEST)] | None = None


class DraftFault(View):
    """What is wrong with a draft; an empty `field`: all of it."""

    field: str
    detail: str


class DraftPrice(View):
    """What a start costs a programme."""

    programme: str
    price_milli: int
    """Milli-GPU-seconds charged per second."""
    projects: int
    """How many projects of it may start the profile."""


class DraftView(View):
    """What a draft means. Nothing of it was stored."""

    ok: bool
    errors: list[DraftFault]
    fields: dict[str, str] | None
    """The draft as the fields of a form; None: it cannot be read at all."""
    yaml: str
    """The draft as YAML."""
    profile: NewProfile | None
    """What to send to ``POST /profiles``; None while something is wrong."""
    base: int | None
    """The version that the draft says it was made from."""
    newest: int | None
    """The newest version of that name; None: there is none."""
    tag: str
    """Entity tag for If-Match: of the version that the draft was made from, else of the newest; empty: none is needed."""
    changes: list[FieldChange]
    """Against the newest version."""
    price_milli: int | None
    """Milli-GPU-seconds charged per second where the programme's factor is 1.0."""
    prices: list[DraftPrice]
    free_now: int | None
    """How many could start at once for lack of nothing but room."""
    unready: str
    """Why it cannot be published as things stand; empty: it can."""
