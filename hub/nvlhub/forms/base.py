"""What the forms are made of: names, reasons, times, amounts, pages of lists."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import Field, StringConstraints

from nvlhub.wire import View

PRINTED = r"[^\x00-\x1f\x7f-\x9f<>&\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
"""What names are made of: no control characters, no markup, nothing invisible and nothing that turns the text around."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=rf"^{PRINTED}*$")]
"""A name for people, 1 to 100 characters."""
UserName = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=rf"^{PRINTED[:-1]}/]*$")]
Words = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=4000,
        pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]*$",
    ),
]
"""Free text with line breaks: nothing that steers a terminal, and nothing that turns the text around."""
Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=rf"^{PRINTED}*$")]
Time = Annotated[int, Field(strict=True, ge=0, le=32_503_680_000)]
"""Unix seconds, until the year 3000."""
GpuHours = Annotated[int, Field(strict=True, ge=1, le=10**9)]
"""Whole GPU-hours at charge factor 1.0."""
GpuCap = Annotated[int, Field(strict=True, ge=1, le=10_008)]
"""GPUs held at once."""
Number = Annotated[int, Field(strict=True, ge=1, le=2**53)]

T = TypeVar("T")


class Listed(View, Generic[T]):
    """One page of a list."""

    items: list[T]
    page: int
    per_page: int
    total: int


class Health(View):
    """That the portal runs."""

    status: Literal["ok"]
    engine: str
    simulated: bool
    engine_away: bool = False
    """Whether the engine does not answer now: what runs goes on, and nothing new is started."""
    now: int
    zone: str
    """Time zone that people are told times in, e.g. ``Asia/Taipei``."""


class Stopped(View):
    """Leases that ended with a Jupyter server."""

    ended: list[str]
