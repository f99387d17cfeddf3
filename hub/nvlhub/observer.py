"""Who is told what happens at the desk and in the run loop, so that it can be counted outside of them."""

from __future__ import annotations

from nvlhub.flow.lease import Lease
from nvlhub.wire import Kind


class Observer:
    """Is told and does nothing with it.

    Those who override a method return at once and never raise: the run loop and visitors wait meanwhile. Calls come
    from any thread.
    """

    def admitted(self, kind: Kind, count: int, seconds: float) -> None:
        """Hear that `count` leases were admitted together; deciding and saving took `seconds`."""

    def refused(self, slug: str) -> None:
        """Hear that a start was refused; `slug` names why."""

    def moved(self, before: Lease, after: Lease) -> None:
        """Hear that a lease was moved; the move is saved."""

    def turned(self, seconds: float) -> None:
        """Hear that a turn of the run loop took `seconds`; waiting for something to do is not in them."""

    def verified(self, at: int, *, ok: bool) -> None:
        """Hear that the ledger was verified at the Unix time `at`."""


SILENT = Observer()
