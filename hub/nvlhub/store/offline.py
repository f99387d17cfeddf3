"""A database read without its portal: a restored backup, an auditor's copy. Nothing in it is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from nvlhub.store.database import Store
from nvlhub.store.unit import Unit


class UnreadableError(Exception):
    """A database cannot be read; the text says why and what to do."""


@contextmanager
def reading(url: str) -> Iterator[Unit]:
    """Return a unit that reads one consistent state of the database at `url`, in use or not.

    Raises `UnreadableError`: no such database, none of a portal, or of another version than this one.
    """
    try:
        shown = sa.make_url(url).render_as_string(hide_password=True)
        store = Store(url, read_only=True)
    except (sa.exc.ArgumentError, ImportError):
        raise UnreadableError(
            "This is no address of a database. Give one like sqlite:////var/lib/nvlhub/portal.sqlite or "
            "postgresql+psycopg://portal@db.example.org/nvlhub"
        ) from None
    try:
        _check_version(store, shown)
        with store.reading() as unit:
            yield unit
    except sa.exc.DBAPIError as error:
        raise UnreadableError(f"{shown} cannot be read: {str(error.orig).strip()}") from None
    finally:
        store.close()


def _check_version(store: Store, shown: str) -> None:
    have, known = store.revisions()
    if have is None:
        raise UnreadableError(f"{shown} holds no tables of a portal.")
    if have not in known:
        raise UnreadableError(
            f"{shown} was written by a later version of nvlhub (tables {have}; this one knows {known[0]}). "
            "Read it with that version."
        )
    if have != known[0]:
        raise UnreadableError(
            f"{shown} was written by an earlier version of nvlhub (tables {have}; this one reads {known[0]}). "
            "Read it with that version, or let a portal of this one start on a copy of it: that brings it up to date."
        )
