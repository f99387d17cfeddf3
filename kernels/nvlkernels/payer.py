"""Who pays for a cluster's workers, and the leases that it takes for them."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from nvlhub.text import say
from nvlhub.wire import Kind, LeaseAsk, LeaseView, Mailbox, Offer, WorkersAsk
from nvlkernels.client import Portal, PortalDownError

PATIENCE = 60.0
"""Seconds for which a portal that does not answer is asked again: so long a restart may take."""
AGAIN = 1.0
T = TypeVar("T")


class NoPayerError(RuntimeError):
    """Nobody can pay for a worker; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a cluster's workers are to be like."""

    project: str | None = None
    profile: str | None = None
    pinned: bool = False
    """In the kernel's NVLink domain and no other."""
    gang: bool = False
    """All in one lease."""
    seconds: int | None = None
    label: str = ""
    preemptible: bool = False
    """Making room for others as soon as they need the GPUs."""


@dataclass(frozen=True, slots=True)
class Payer:
    """The project that pays, the kernel's own lease if it has one, and what is offered to both."""

    portal: Portal
    wish: Wish
    project: str
    own: LeaseView | None
    offers: tuple[Offer, ...]

    @property
    def domain(self) -> str | None:
        """The NVLink domain of the kernel's lease."""
        return self.own.placement[0].domain if self.own and self.own.placement else None

    @property
    def simulated(self) -> bool:
        """Whether the GPUs are simulated."""
        return self.offers[0].simulated

    @property
    def private_fabric(self) -> bool:
        """Whether the pool says that a domain's network is private to those who hold it."""
        return self.offers[0].private_fabric

    def offer(self, gpus: int) -> Offer:
        """Return the offer to take `gpus` in one lease from: the one that was named, or the smallest that has as many.

        Raises `NoPayerError` naming the largest there is.
        """
        fitting = [offer for offer in self.offers if offer.gpus >= gpus]
        if not fitting:
            largest = max(self.offers, key=lambda offer: offer.gpus)
            raise NoPayerError(
                say("cluster-gang-too-large", self.portal.lang, gpus=str(gpus), profile=largest.display_name,
                    most=str(largest.gpus))
            )  # fmt: skip
        return min(fitting, key=lambda offer: offer.gpus)

    async def take(self, count: int, mailbox: Mailbox, *, wait: bool = True) -> list[LeaseView]:
        """Take leases for `count` workers, all or none; without `wait` perhaps fewer, but at once.

        Raises `PortalError` with the arithmetic, `PortalDownError` when the portal does not answer for long, and
        `NoPayerError`.
        """
        gpus = count if self.wish.gang else 1
        offer = self.offer(gpus)
        facts: dict[str, Any] = {
            "project": self.project, "profile": offer.profile, "gpus": gpus, "seconds": self.wish.seconds,
            "label": self.wish.label, "mailbox": mailbox, "parent": self.own.id if self.own else None,
            "domain": self.domain, "pinned": self.wish.pinned, "preemptible": self.wish.preemptible,
        }  # fmt: skip
        # One key however often it is sent: a portal that restarts between asking and answering starts nothing twice.
        key = f"cluster-{uuid.uuid4()}"
        if self.wish.gang:
            return [await _patiently(lambda: self.portal.ask(LeaseAsk(kind=Kind.WORKER, **facts), key))]
        ask = WorkersAsk(count=count, wait=wait, **facts)
        return await _patiently(lambda: self.portal.ask_together(ask, key))


async def find_payer(portal: Portal, wish: Wish, environment: Mapping[str, str] = os.environ) -> Payer:
    """Find out who pays: the project that is named, or that of the lease of this kernel.

    Raises `NoPayerError` when there is neither, or nothing is offered to the project; and as :class:`Portal` does.
    """
    lease_id = environment.get("NVLHUB_LEASE")
    if lease_id is None and wish.project is None:
        raise NoPayerError(say("cluster-no-lease", portal.lang))
    if lease_id is None and wish.pinned:
        raise NoPayerError(say("cluster-no-domain", portal.lang))
    # Both at once: this is in the way of every new cluster.
    own, offers = await asyncio.gather(
        _patiently(lambda: _own(portal, lease_id)), _patiently(lambda: portal.offers(wish.project))
    )
    project = wish.project or (own.project if own else "")
    offers = [offer for offer in offers if offer.project == project]
    if own is not None:
        offers = [offer for offer in offers if offer.pool == own.pool]
    if wish.profile is not None:
        named = [offer for offer in offers if offer.profile == wish.profile]
        if not named:
            known = ", ".join(offer.profile for offer in offers) or "-"
            raise NoPayerError(
                say("cluster-no-profile", portal.lang, profile=wish.profile[:40], project=project, known=known)
            )  # fmt: skip
        offers = named
    if not offers:
        raise NoPayerError(say("cluster-no-offer", portal.lang, project=project))
    return Payer(portal, wish, project, own, tuple(offers))


async def _own(portal: Portal, lease_id: str | None) -> LeaseView | None:
    return await portal.lease(lease_id) if lease_id else None


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call while the portal does not answer, for a while."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return await call()
        except PortalDownError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(AGAIN)
