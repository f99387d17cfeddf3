"""What things of the portal are called in Slurm.

Slugs hold no ``.``, so no account of a programme is ever called like one of a project by the plain template.
"""

from __future__ import annotations

MARK = "nvlhub"
"""What comments and names of our jobs begin with, and the organization that stands with the accounts that are ours."""
PREFIX = "nvlhub-"
"""What the names of our reservations begin with."""


def account_of(template: str, project: str) -> str:
    """Return the account of a project; `template` has ``{project}``. Slurm knows lower case only."""
    return template.replace("{project}", project).lower()


def programme_account(root: str, programme: str) -> str:
    """Return the account above those of a programme's projects."""
    return f"{root}.programme.{programme}"


def low_account(root: str) -> str:
    """Return the account of pre-emptible leases: they cost nothing and count against no cap."""
    return f"{root}.low"


def reservation_name(number: int | str) -> str:
    """Return the name of a reservation."""
    return f"{PREFIX}{number}"
