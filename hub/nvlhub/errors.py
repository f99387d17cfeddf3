"""What can go wrong, and whose turn it is then.

    NvlhubError
      BadInputError      what was sent cannot be meant: change it and send again
      RefusedError       understood, and the rules say no: the members say what would be allowed
        NotAllowedError  ... because of who asks
        NotFoundError    ... because it is not there (or not for this user)
        ConflictError    ... because of how things stand now
      TooManyError       come again later: `wait`
      FailedError        our side could not: the same request may work later

Each carries a stable `slug`; the HTTP status is chosen from the class at the door (``nvlhub.api``), the sentence
from the slug in the reader's language (``nvlhub.text``).
"""

from __future__ import annotations

from typing import ClassVar


class NvlhubError(Exception):
    """Base of all errors of nvlhub.

    `slug` names the message in the catalogue; `members` fill it and go into the problem document, so they hold
    JSON values only.
    """

    status: ClassVar[int] = 500

    def __init__(self, slug: str, **members: object) -> None:
        super().__init__(slug)
        self.slug = slug
        self.members = members

    def __str__(self) -> str:
        facts = ", ".join(f"{name}={value!r}" for name, value in self.members.items())
        return f"{self.slug} ({facts})" if facts else self.slug


class BadInputError(NvlhubError):
    """A value cannot be meant. Members: `field`, and `allowed` in words or as a range."""

    status = 422


class RefusedError(NvlhubError):
    """The rules say no."""

    status = 409


class NotAllowedError(RefusedError):
    """Not for this user."""

    status = 403


class NotFoundError(RefusedError):
    """It is not there, or not for this user: the two look the same from outside."""

    status = 404


class ConflictError(RefusedError):
    """It cannot be done as things stand now."""

    status = 409


class TooManyError(NvlhubError):
    """Too many requests. Members: `wait`, in whole seconds."""

    status = 429


class FailedError(NvlhubError):
    """Our side could not; nothing was charged."""

    status = 503
