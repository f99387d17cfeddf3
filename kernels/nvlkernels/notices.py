"""What JupyterLab shows of leases: words, the time left of each, and what those who run the portal announce.

The browser counts down by itself; ``{time}`` and the like in a sentence are its to fill.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from nvlhub.text import say
from nvlhub.waits import waits_for
from nvlhub.wire import LeaseView, State
from nvlkernels.client import Portal, PortalDownError, PortalError
from nvlkernels.provisioner import LeaseProvisioner, silent_text

SOON, LAST = 15 * 60, 5 * 60
"""Seconds before its end at which the holder of a lease is told, and told again."""
SILENT = 10
"""Seconds that a lease runs before it is told that its kernel has not reported."""
FRESH = 30.0
"""Seconds for which announcements are passed on without asking again."""
LONGEST = 2000
"""Characters of an announcement that are passed on."""
LEVELS = ("info", "warning", "critical")


def words(lang: str) -> dict[str, str]:
    """Return the sentences that the browser fills."""
    filled = {
        name: say(f"status-{name}", lang, time="{time}") for name in ("left", "soon", "last")
    } | {
        name: say(f"status-{name}", lang) for name in ("hint", "start", "cancel", "gone")
    }  # fmt: skip
    return filled | {
        "units": say("units", lang), "lang": lang,
        "panel": say("status-panel", lang, gpus="{gpus}", project="{project}", time="{time}"),
        "warnSoon": say("status-warn-soon", lang, gpus="{gpus}", project="{project}"),
        "warnLast": say("status-warn-last", lang, gpus="{gpus}", project="{project}"),
        "extend": say("widget-extend", lang, minutes="60"), "release": say("button-end", lang),
        "sure": say("widget-release-sure", lang), "dismiss": say("widget-dismiss", lang),
        "startSure": say("status-start-sure", lang, kernel="{kernel}"), "noKernel": say("status-no-kernel", lang, kernel="{kernel}"),
        "queueCancel": say("queued-cancel", lang),
    }  # fmt: skip


def level(left: int | None) -> str:
    """Return how near the end is: ``soon``, ``last``, or nothing."""
    return "" if left is None or left > SOON else "soon" if left > LAST else "last"


def item(kernel_id: str, provisioner: LeaseProvisioner, lang: str, *, waiting: bool) -> dict[str, Any]:
    """Return what the browser is told of the lease of a kernel."""
    lease = provisioner.lease
    if lease is None:
        return {}
    left = None if waiting else provisioner.seconds_left
    told = {
        "kernel": kernel_id, "waiting": waiting, "warning": silent_text(provisioner) or provisioner.warning, **lease.model_dump(mode="json"),
        "left": left, "level": level(left),
    }  # fmt: skip
    if waiting and (text := waiting_text(lease, lang, provisioner.zone)):
        told["text"] = text
        told["cancel"] = say("queued-cancel", lang)
    return told


def waiting_text(lease: LeaseView, lang: str, zone: str) -> str:
    """Return what a kernel waits for that has not started yet; empty: nothing that is worth a word."""
    told = {"gpus": str(lease.gpus), "project": lease.project}
    if lease.position is not None:
        wait = None if lease.expected_start is None else max(0, lease.expected_start - lease.now)
        start = say("queued-unknown", lang) if wait is None else say("queued-in", lang, minutes=str(-(-wait // 60)))
        return say("queued", lang, position=str(lease.position), start=start, **told)
    if why := waits_for(lease, lang, zone):
        return say("queued-cluster", lang, why=why, **told)
    silent = lease.started_at is not None and lease.now - lease.started_at >= SILENT
    return say("queued-agent", lang, **told) if lease.state is State.RUNNING and silent else ""


class Announcements:
    """What was announced, as far as it is known: nobody waits for a portal that does not answer."""

    def __init__(self) -> None:
        self._known: list[dict[str, str]] = []
        self._asked = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    def now(self) -> list[dict[str, str]]:
        """Return what is known; ask again in the background where that is old."""
        if time.monotonic() - self._asked > FRESH and (self._asking is None or self._asking.done()):
            self._asked = time.monotonic()
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return self._known

    async def _ask(self) -> None:
        portal = Portal()
        try:
            with contextlib.suppress(PortalError, PortalDownError, ValueError, TypeError, LookupError, AttributeError):
                self._known = [
                    {
                        "id": str(told["id"])[:100], "text": str(told["text"])[:LONGEST],
                        "level": told["level"] if told.get("level") in LEVELS else "info",
                    }
                    for told in await portal.announcements()
                ]  # fmt: skip
        finally:
            await portal.close()
