"""The dashboards' process: ``python -m nvlwidgets.panels.service``, started by the hub or by a service manager.

Told by the hub's environment (``JUPYTERHUB_…``) where the hub is, by ``NVLHUB_PORTAL_URL`` where the portal is, and by
``NVLHUB_PANELS_SECRET`` (or a file in ``NVLHUB_DATA``) what sessions are signed with.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import panel as pn
from bokeh.server.auth_provider import AuthProvider
from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler
from tornado.web import RequestHandler

from nvlhub.parent import follow_parent
from nvlhub.text import CHOSEN, chosen_language
from nvlwidgets.panels import door as doors
from nvlwidgets.panels.api import Api
from nvlwidgets.panels.download import FILES, Download
from nvlwidgets.panels.frame import frame
from nvlwidgets.panels.screens import SCREENS, Screen
from nvlwidgets.panels.source import Sources
from nvlwidgets.panels.visit import Visit

logger = logging.getLogger(__name__)

RECHECK = 20
"""Seconds between two questions to the hub whether the logins of open tabs are still good."""
UNUSED = 60
"""Seconds that a session waits for its browser: a bad network comes back to the same screen."""


class Panels:
    """All screens of one process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.prefix = environment.get("JUPYTERHUB_SERVICE_PREFIX", "/services/panels/").rstrip("/")
        self.sources = Sources()
        self._portal = environment.get("NVLHUB_PORTAL_URL", "http://127.0.0.1:8090")
        self._public = environment.get("NVLHUB_PUBLIC_URL", "")
        self._http = httpx.AsyncClient(limits=httpx.Limits(max_connections=64))
        self._token = environment["JUPYTERHUB_API_TOKEN"]
        self._hub = HubOAuth.instance(cache_max_age=int(doors.REMEMBERED))
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
            site = self.sources.get(("", "health"), lambda: nobody.get("/health"), 60)
            zone = site.reading.value.get("zone", "UTC") if site.reading else "UTC"
            visit = Visit(guest, lang, zone, self.prefix, args, self._api(guest.token, lang), nobody, self.sources, doc)
            visit.follow(site, lambda _reading, _error: None)
            doc.on_session_destroyed(lambda _context: visit.leave())
            pn.state.add_periodic_callback(partial(self._recheck, visit, screen), period=RECHECK * 1000)  # type: ignore[arg-type]  # they may be coroutine functions
            return frame(visit, screen, SCREENS)

        return open_tab

    async def _recheck(self, visit: Visit, screen: Screen) -> None:
        now = await self.door.again(visit.guest)
        if now is None or not screen.need(now):
            visit.over()

    def _files(self) -> list[tuple[str, type[RequestHandler], dict[str, Any]]]:
        """Return what is downloaded, behind the same door as the screens."""
        told = {"door": self.door, "prefix": self.prefix, "api": lambda guest, lang: self._api(guest.token, lang)}
        return [(address, Download, {**told, "path": path}) for address, path in FILES.items()]

    def provider(self) -> AuthProvider:
        """Return what Bokeh asks who somebody is."""
        return doors.provider(self.door, doors.login_at(self.prefix))

    def serve(self, address: str, port: int, secret: bytes) -> None:
        """Serve until told to end."""
        origin = urlsplit(self._public).netloc
        pn.config.reconnect = True
        pn.serve(
            {f"/{screen.slug}": self.app(screen) for screen in SCREENS}, prefix=self.prefix, address=address, port=port, show=False,
            auth_provider=self.provider(), websocket_origin=[origin] if origin else None,
            cookie_secret=_derived(secret, "cookies"), cookie_path=f"{self.prefix}/", sign_sessions=True,
            secret_key=_derived(secret, "sessions"), unused_session_lifetime_milliseconds=UNUSED * 1000,
            extra_patterns=[
                ("/oauth_callback", HubOAuthCallbackHandler), ("/?", Index, {"there": f"{self.prefix}/compute"}), *self._files(),
            ],
            use_index=False, verbose=False,
        )  # fmt: skip


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
