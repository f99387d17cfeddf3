"""The dashboards' process: ``python -m nvlwidgets.panels.service``, started by the hub or by a service manager.

Told by the hub's environment (``JUPYTERHUB_…``; by hand ``JUPYTERHUB_API_URL`` and ``JUPYTERHUB_API_TOKEN`` are enough, and
``JUPYTERHUB_SERVICE_URL`` for another address than 127.0.0.1:8091) where the hub is, by ``NVLHUB_PORTAL_URL`` where the
portal is, and by ``NVLHUB_PANELS_SECRET`` (or a file in ``NVLHUB_DATA``) what sessions are signed with. ``NVLHUB_PUBLIC_URL``
is the address that browsers know the hub by, needed only where a proxy does not pass it on (header ``Host``);
``NVLHUB_PANELS_RECHECK`` the seconds between two looks at whether an open tab's login still holds.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import panel as pn
from bokeh.application.handlers import Handler
from bokeh.document import Document
from bokeh.server.auth_provider import AuthProvider
from bokeh.server.server import Server
from bokeh.server.views.ico_handler import IcoHandler
from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler
from panel.io.application import build_applications
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from nvlhub.parent import follow_parent
from nvlhub.text import CHOSEN, chosen_language
from nvlhub.trust import trusted
from nvlwidgets.panels import answers
from nvlwidgets.panels import door as doors
from nvlwidgets.panels.api import Api
from nvlwidgets.panels.download import FILES, Download
from nvlwidgets.panels.frame import frame
from nvlwidgets.panels.parts import Html
from nvlwidgets.panels.screens import SCREENS, Screen
from nvlwidgets.panels.source import Sources
from nvlwidgets.panels.visit import Visit, site

logger = logging.getLogger(__name__)

RECHECK = 20.0
"""Seconds between two questions to the hub whether the logins of open tabs are still good."""
SWEEP = 5.0
"""Seconds between two looks for sessions that have ended."""
UNUSED = 60
"""Seconds that a session waits for its browser: a bad network comes back to the same screen."""


class Panels:
    """All screens of one process."""

    def __init__(
        self, environment: Mapping[str, str], hub: HubOAuth | None = None, http: httpx.AsyncClient | None = None
    ) -> None:
        self.prefix = environment.get("JUPYTERHUB_SERVICE_PREFIX", "/services/panels/").rstrip("/")
        self.sources = Sources()
        self._portal = environment.get("NVLHUB_PORTAL_URL", "http://127.0.0.1:8090")
        told = (environment.get(name) for name in ("NVLHUB_PUBLIC_URL", "JUPYTERHUB_HOST", "JUPYTERHUB_PUBLIC_URL"))
        self._public = next((url for url in told if url), "")
        self._recheck_every = read_seconds(environment, "NVLHUB_PANELS_RECHECK", RECHECK)
        self._http = http or httpx.AsyncClient(limits=httpx.Limits(max_connections=64), verify=trusted())
        self._token = environment["JUPYTERHUB_API_TOKEN"]
        self._hub = hub or hub_login(environment, self.prefix)
        needs = {screen.slug: screen.need for screen in SCREENS}
        self.door = doors.Door(self._hub, self.prefix, needs, lambda token: self._api(token).get("/me"))

    def _api(self, token: str, lang: str = "en") -> Api:
        return Api(self._http, self._portal, token, lang)

    def app(self, screen: Screen) -> Callable[[], Any]:
        """Return what Bokeh calls for every new tab with a screen."""

        def open_tab() -> Any:
            doc: Any = pn.state.curdoc
            request = doc.session_context.request
            guest: doors.Guest = request.guest
            lang = chosen_language(request.cookies.get(CHOSEN), request.headers.get("Accept-Language"))
            args = {name: values[0].decode("utf-8", "replace") for name, values in request.arguments.items() if values}
            nobody = self._api(self._token)
            known = site(self.sources, nobody).reading
            zone = known.value.get("zone", "UTC") if known else "UTC"
            visit = Visit(
                guest,
                lang,
                zone,
                self.prefix,
                args,
                self._api(guest.token, lang),
                nobody,
                self.sources,
                doc,
                ready=False,
            )
            doc.on_event("document_ready", lambda _event: visit.shown())
            doc.on_session_destroyed(lambda _context: visit.leave())
            visit.run(self._recheck(visit, screen))
            try:
                return frame(visit, screen, SCREENS)
            except Exception:
                logger.exception("the screen %s could not be made", screen.slug)
                visit.leave()
                return frame(visit, replace(screen, make=_broken), SCREENS)

        return open_tab

    async def _recheck(self, visit: Visit, screen: Screen) -> None:
        """End a visit when its login or its right to the screen does. Not in a callback of the document: those hold it up."""
        while True:
            await asyncio.sleep(self._recheck_every)
            now = await self.door.again(visit.guest)
            if now is None or not screen.need(now):
                visit.doc.add_next_tick_callback(visit.over)
                return

    def _files(self) -> list[tuple[str, type[RequestHandler], dict[str, Any]]]:
        """Return what is downloaded, behind the same door as the screens."""
        told = {"door": self.door, "prefix": self.prefix, "api": lambda guest, lang: self._api(guest.token, lang)}
        return [(address, Download, {**told, "path": path}) for address, path in FILES.items()]

    def provider(self, secret: bytes) -> AuthProvider:
        """Return what Bokeh asks who somebody is; `secret` is what session tokens are signed with."""
        pages = [*(screen.slug for screen in SCREENS), *(address.strip("/") for address in FILES)]
        return doors.provider(self.door, doors.login_at(self.prefix, pages), secret, urlsplit(self._public).netloc)

    def server(self, address: str, port: int, secret: bytes) -> Server:
        """Return the server, not started yet."""
        answers.install()
        pn.config.reconnect = True
        signed_with = _derived(secret, "sessions").encode()
        screens = build_applications({f"/{screen.slug}": self.app(screen) for screen in SCREENS})
        for screen in screens.values():
            screen.add(Owner())
        server: Server = pn.serve(
            screens, prefix=self.prefix, address=address, port=port, show=False, start=False,
            # Bokeh knows a list of sites; whether a websocket comes from this one, the door decides.
            auth_provider=self.provider(signed_with), websocket_origin=["*"],
            cookie_secret=_derived(secret, "cookies"), cookie_path=f"{self.prefix}/", sign_sessions=True, secret_key=signed_with,
            # A session token stands in the page, where scripts can read it: no cookie of a login goes into it.
            include_headers=["Accept-Language"], include_cookies=[CHOSEN],
            unused_session_lifetime_milliseconds=UNUSED * 1000, check_unused_sessions_milliseconds=int(SWEEP * 1000),
            extra_patterns=[
                ("/oauth_callback", HubOAuthCallbackHandler), ("/?", Index, {"there": f"{self.prefix}/compute"}),
                ("/favicon.ico", Icon), *self._files(),
            ],
            use_index=False, verbose=False,
        )  # fmt: skip
        return server

    def serve(self, address: str, port: int, secret: bytes) -> None:
        """Serve until told to end."""
        server = self.server(address, port, secret)
        server.start()
        server.io_loop.start()


def _broken(visit: Visit) -> Any:
    """Return what is shown instead of a screen that could not be made."""
    html = Html()
    html.put(visit.markup("notice.html", message="panels-broken"))
    return html


class Owner(Handler):
    """Writes into the token of every session whose it is, for the door to read."""

    def modify_document(self, doc: Document) -> None:
        """Leave the document as it is."""

    def process_request(self, request: HTTPServerRequest) -> dict[str, Any]:
        """Return what goes into the token."""
        return {doors.OWNER: request.guest.name}  # type: ignore[attr-defined]  # the door put it there


class Icon(IcoHandler):
    """The site's icon, below the path of this service as well."""

    def initialize(self) -> None:
        """Take the icon of the server."""
        super().initialize(app=self.application)


class Index(RequestHandler):
    """The first screen."""

    def initialize(self, there: str) -> None:
        """Remember where the first screen is."""
        self._there = there

    def get(self) -> None:
        """Go there."""
        self.redirect(self._there)


def _derived(secret: bytes, what: str) -> str:
    return hmac.new(secret, what.encode(), hashlib.sha256).hexdigest()


def hub_login(environment: Mapping[str, str], prefix: str) -> HubOAuth:
    """Return the hub's login. A hub that starts this service tells everything; a service manager need not."""
    told: dict[str, Any] = {}
    if not environment.get("JUPYTERHUB_OAUTH_ACCESS_SCOPES"):
        told["access_scopes"] = {"access:services!service=panels"}
    return HubOAuth.instance(
        base_url=f"{prefix}/", oauth_client_id=environment.get("JUPYTERHUB_CLIENT_ID") or "service-panels",
        # As a path: it is at the hub's host, also where JupyterHub gives services hosts of their own.
        oauth_redirect_uri=f"{prefix}/oauth_callback", cache_max_age=int(doors.REMEMBERED), **told,
    )  # fmt: skip


def read_seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    """Return a number of seconds from the environment. Raises `ValueError` for what is none."""
    given = environment.get(name, "")
    try:
        seconds = float(given) if given else default
    except ValueError:
        seconds = 0
    if not 0.1 <= seconds <= 3600:
        raise ValueError(f"{name} is {given!r}: give seconds between 0.1 and 3600")
    return seconds


def read_secret(environment: Mapping[str, str]) -> bytes:
    """Return what sessions are signed with: the same after a restart, so that open tabs come back."""
    given = environment.get("NVLHUB_PANELS_SECRET", "")
    if len(given) >= 32:
        return given.encode()
    file = Path(environment.get("NVLHUB_DATA", ".")) / "panels-secret"
    if not file.exists():
        fresh = file.with_name(f"panels-secret.{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_hex(32), encoding="ascii")
        fresh.replace(file)
    return file.read_bytes()


def main() -> None:
    """Serve until told to end."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s panels %(levelname)s %(message)s")
    if os.environ.get("JUPYTERHUB_SERVICE_NAME"):
        follow_parent()
    address = urlsplit(os.environ.get("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:8091"))
    Panels(os.environ).serve(address.hostname or "127.0.0.1", address.port or 8091, read_secret(os.environ))


if __name__ == "__main__":
    main()
