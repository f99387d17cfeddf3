"""A mixin that gives any spawner the offers on its form, validated options, and leases that end with the server."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import httpx
from tornado import web
from traitlets import Bool, Dict, Unicode
from traitlets.config import Configurable

from nvlhub.portal.cards import by_project
from nvlhub.portal.hub_pages import language_of
from nvlhub.portal.markup import render
from nvlhub.text import say
from nvlhub.trust import trusted
from nvlhub.wire import API_PATH, BACK, Offer

TIMEOUT = httpx.Timeout(5.0, connect=1.5)
PATIENCE = 2.5
"""Seconds that a page of the hub waits for the portal."""
FRESH, KEPT = 30.0, 600.0
"""Seconds for which offers are shown without a word about their age, and at all: the page renews them by itself."""
TOLD_AFTER = (0.0, 0.5, 2.0)
"""Seconds to wait before the portal is told that a server stopped: a portal that did not hear it is told again."""
OF_A_CLASS = re.compile(r"class-([1-9][0-9]{0,15})")
"""Names of the servers of seats: see :func:`nvlhub.flow.course.server_name`."""
NO_OPTIONS = frozenset({"_xsrf", BACK})
"""What a form or a query string says beside options."""
NO_ANSWER = (httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError, AttributeError)
"""What comes of a portal that is away, slow, or answers half."""

EXTENSIONS = {
    "nvlkernels.extension": True,
    # What listens on a port of the machine may belong to anybody: no general way to ports.
    "jupyter_server_proxy": False,
}
"""Extensions of users' servers that are not the site's to choose."""

# One client for all spawners: connections are kept.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()


def _client() -> httpx.AsyncClient:
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = httpx.AsyncClient(timeout=TIMEOUT, verify=trusted())
    return _clients[loop]


@dataclass(frozen=True, slots=True)
class Seen:
    """Offers as the portal told them last."""

    offers: Sequence[Offer]
    lang: str
    at: float
    """On the monotonic clock."""


def read_form(formdata: dict[str, list[str]]) -> dict[str, str]:
    """Keep what a form or a query string says; :meth:`LeaseSpawnerMixin.check_options` judges it like any other input."""
    return {name: values[0] for name, values in formdata.items() if name not in NO_OPTIONS and values and values[0]}


class LeaseSpawnerMixin(Configurable):
    """Put it before a spawner's class; :func:`nvlhub.portal.configure` does so."""

    portal_url = Unicode("http://127.0.0.1:8090", config=True, help="Where the hub and user servers reach the portal.")
    portal_token = Unicode(
        os.environ.get("NVLHUB_HUB_TOKEN", ""), config=True, help="Token of the hub's own service, nvlhub-hub."
    )
    server_extensions = Dict(
        key_trait=Unicode(), value_trait=Bool(), config=True,
        help="Extensions of users' servers to be on or off, by the names of their packages; what is not here is as installed.",
    )  # fmt: skip

    _seen: Seen | None = None
    _asking: asyncio.Future[Seen | None] | None = None
    _noticing: asyncio.Future[Any] | None = None
    _stopped = False
    """Whether the hub ended the server that runs."""

    async def _portal(self, method: str, path: str, lang: str = "en", **more: Any) -> Any:
        headers = {"Authorization": f"token {self.portal_token}", "Accept-Language": lang}
        url = f"{self.portal_url.rstrip('/')}{API_PATH}{path}"
        response = await _client().request(method, url, headers=headers, **more)
        response.raise_for_status()
        return response.json()

    async def _offers(self, lang: str) -> list[Offer]:
        answer = await self._portal("GET", "/offers", lang, params={"user": self.user.name})  # type: ignore[attr-defined]
        return [Offer(**item) for item in answer["items"]]

    # --- the spawn page ---------------------------------------------------------------------------------------

    async def offers_form(self, spawner: Any = None) -> str:
        """Return the form of the spawn page."""
        handler = getattr(self, "handler", None)
        lang = language_of(handler.request if handler else None)
        seen = await self._offers_soon(lang)
        age = int(time.monotonic() - seen.at) if seen else 0
        base = str(getattr(handler, "base_url", "/"))
        return render(
            "spawn_form.html", lang, projects=by_project(seen.offers if seen else ()), down=seen is None,
            age=age if age > FRESH else 0, announcements=(), away=False, waiting=(), prefix=f"{base}services/portal/",
            user=self.user.name, ended=self.last_end(lang),  # type: ignore[attr-defined]
        )  # fmt: skip

    def last_end(self, lang: str) -> str:
        """Return why the last server is not there any more, where nobody stopped it and its spawner knows; else nothing."""
        told = getattr(self, "end_in_words", None)
        return str(told(lang)) if told else ""

    async def _offers_soon(self, lang: str) -> Seen | None:
        """Return offers without making the page wait for those that are known; None: the portal told nothing lately."""
        seen = self._seen
        if seen is not None and (seen.lang != lang or time.monotonic() - seen.at > KEPT):
            seen = None
        if seen is not None and time.monotonic() - seen.at < FRESH:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.ensure_future(self._look(lang))
            return seen
        try:
            return await asyncio.wait_for(self._look(lang), PATIENCE) or seen
        except TimeoutError:
            self.log.warning("the portal gave no offers for the spawn page within %s s", PATIENCE)  # type: ignore[attr-defined]
            return seen

    async def _look(self, lang: str) -> Seen | None:
        try:
            self._seen = Seen(await self._offers(lang), lang, time.monotonic())
        except NO_ANSWER as error:
            self.log.warning("the portal gave no offers for the spawn page: %s", error)  # type: ignore[attr-defined]
            return None
        return self._seen

    async def check_options(self, spawner: Any, user_options: dict[str, Any]) -> None:
        """Check options wherever they came from: the form, its query string, or the REST API.

        A server has none: what a kernel needs is in the kernel's name. Raises an HTTP 400 that names the option.
        """
        for option in user_options:
            # The hub has stored them already, as what the next start is to use.
            spawner.user_options = {}
            spawner.orm_spawner.user_options = {}
            shown = "".join(letter for letter in str(option) if letter.isalnum() or letter in "-_")
            raise web.HTTPError(400, say("spawn-option", option=shown[:40]))

    # --- the server -------------------------------------------------------------------------------------------

    def get_env(self) -> dict[str, str]:
        """Tell the server where the portal is, and of which run of a course it is."""
        env: dict[str, str] = super().get_env()  # type: ignore[misc]
        handler = getattr(self, "handler", None)
        lang = language_of(handler.request if handler else None)
        sidebar = {
            "DASK_LABEXTENSION__FACTORY__MODULE": "nvlkernels.sidebar",
            "DASK_LABEXTENSION__FACTORY__CLASS": "SidebarCluster",
        }
        seat = OF_A_CLASS.fullmatch(self.name)  # type: ignore[attr-defined]
        run = {"NVLHUB_COURSE_RUN": seat[1]} if seat else {}
        return {**sidebar, **env, **run, "NVLHUB_PORTAL_URL": self.portal_url, "NVLHUB_LANGUAGE": lang}

    def get_args(self) -> list[str]:
        """Have the server use the lease kernels, without questions to the outside."""
        return [
            *super().get_args(),  # type: ignore[misc]
            "--ServerApp.kernel_spec_manager_class=nvlkernels.specs.OfferKernelSpecManager",
            "--ServerApp.kernel_manager_class=nvlkernels.manager.LeaseKernelManager",
            "--ServerApp.session_manager_class=nvlkernels.sessions.LeaseSessionManager",
            f"--ServerApp.jpserver_extensions={self.server_extensions | EXTENSIONS}",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.extension_manager=readonly",
        ]

    async def poll_and_notify(self) -> Any:
        """Look whether the server runs, and have the hub take in its end if it does not; return how it ended, None: it runs.

        Whoever looks meanwhile waits for that. A server that was started before the end of the last one was taken in would be
        taken for that one: the hub would stop it, and all that it took back from the last one would be given back.
        """
        noticing = self._noticing
        if noticing is None or noticing.done():
            noticing = self._noticing = asyncio.ensure_future(super().poll_and_notify())  # type: ignore[misc]
        return await asyncio.shield(noticing)

    async def stop(self, *args: Any, **kwargs: Any) -> None:
        """Stop a server that runs."""
        self._stopped = True
        await super().stop(*args, **kwargs)  # type: ignore[misc]

    async def release_leases(self, spawner: Any = None) -> None:
        """Tell the portal that the server was stopped, so that its leases end now and not after the grace time.

        A server that was found dead is another matter: the next one takes its kernels back.
        """
        stopped, self._stopped = self._stopped, False
        if not stopped:
            self.log.warning("a server ended that nobody stopped: its kernels are kept for the grace time")  # type: ignore[attr-defined]
            return
        name = self.name or "-"  # type: ignore[attr-defined]
        path, why = f"/servers/{self.user.escaped_name}/{name}/stopped", ""  # type: ignore[attr-defined]
        # Before the next server may start: told later, this would end what that one holds.
        for wait in TOLD_AFTER:
            await asyncio.sleep(wait)
            try:
                await self._portal("POST", path)
            except httpx.HTTPError as error:
                why = repr(error)
            else:
                return
        self.log.warning("the portal was not told that a server stopped; its leases end by silence: %s", why)  # type: ignore[attr-defined]
