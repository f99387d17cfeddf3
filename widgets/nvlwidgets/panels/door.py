"""Who may come in: the hub says who it is, the portal what they are, one table which page needs what.

Bokeh asks :class:`HubDoor` before every page, ``autoload.js``, ``metadata`` and websocket, so one rule covers all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bokeh.server.auth_provider import AuthProvider
from bokeh.util.token import check_token_signature, get_token_payload
from jupyterhub.services.auth import HubOAuth, HubOAuthenticated
from tornado.web import HTTPError, RequestHandler, authenticated
from tornado.websocket import WebSocketHandler

from nvlhub.visitor import ADMIN_SCOPE
from nvlkernels.client import PortalDownError, PortalError
from nvlwidgets.panels.answers import harden

REMEMBERED = 30.0
"""Seconds for which the word of the hub and the portal on somebody is believed; so long a logout takes to bite."""

PATIENCE = 3.0
"""Seconds that a page waits for the portal's word on who somebody is."""


@dataclass(frozen=True, slots=True)
class Guest:
    """Who looks at a page. Never read from anything that a browser sends by itself except the hub's own login."""

    name: str
    token: str
    admin: bool
    officer_of: tuple[str, ...] = ()
    projects: tuple[tuple[str, str, str], ...] = ()
    """Slug, name and role."""
    known: bool = True
    """False: the portal has not answered yet who this is."""

    @property
    def decides(self) -> bool:
        """Whether they see a programme."""
        return self.admin or bool(self.officer_of)


Told = tuple[tuple[str, ...], tuple[tuple[str, str, str], ...]]
"""What the portal knows of a guest: programmes they are an officer of, and their projects."""
Need = Callable[[Guest], bool]


class Door:
    """Turns requests into guests."""

    def __init__(
        self, hub: HubOAuth, prefix: str, needs: Mapping[str, Need], me: Callable[[str], Awaitable[Any]]
    ) -> None:
        self._hub = hub
        self._prefix = prefix
        self._needs = needs
        self._me = me
        self._told: dict[str, tuple[float, Told]] = {}

    async def guest(self, handler: RequestHandler) -> Guest | None:
        """Return who sent a request, or None for somebody who must log in. Raises `HTTPError` 403, or 503 while nobody can tell."""
        model = await self._hub.get_user(handler, sync=False)
        if model is None:
            return None
        if not self._hub.check_scopes(self._hub.access_scopes, model):
            raise HTTPError(403)
        guest = await self._known(model, str(self._hub.get_token(handler)), REMEMBERED)
        if not self.allows(handler.request.path, guest):
            raise HTTPError(403 if guest.known else 503)
        return guest

    def allows(self, path: str, guest: Guest) -> bool:
        """Tell whether a guest may have what lies at `path`: a screen, or anything below it."""
        screen = path.removeprefix(self._prefix).strip("/").split("/")[0]
        need = self._needs.get(screen)
        return need is None or need(guest)

    async def again(self, guest: Guest) -> Guest | None:
        """Ask the hub, not memory, what a guest is now; None when the login is over. A hub that does not answer ends nothing."""
        try:
            model = await self._hub.user_for_token(guest.token, use_cache=False, sync=False)
        except HTTPError:
            return guest
        if model is None or not self._hub.check_scopes(self._hub.access_scopes, model):
            # What was believed of this login must not open its next page or socket.
            self._hub.cache.clear()
            self._told.pop(guest.token, None)
            return None
        return await self._known(model, guest.token, 0)

    async def _known(self, model: Mapping[str, Any], token: str, remembered: float) -> Guest:
        admin = ADMIN_SCOPE in model["scopes"]
        at: float
        told: Told | None
        at, told = self._told.get(token, (float("-inf"), None))
        if time.monotonic() - at > remembered:
            try:
                async with asyncio.timeout(PATIENCE):
                    told = _checked(await self._me(token))
                self._told[token] = (time.monotonic(), told)
            except (PortalError, PortalDownError, TimeoutError, LookupError, TypeError):
                # The portal is away: what it said last is kept, and the page says that it does not answer.
                pass
        if len(self._told) > 10_000:
            self._told.clear()
        officer_of, projects = told or ((), ())
        return Guest(str(model["name"]), token, admin, officer_of, projects, told is not None)


def _checked(me: Any) -> Told:
    """Return what the portal says of somebody. Raises `LookupError` or `TypeError` for what is no answer of the portal."""
    projects = tuple((str(row["slug"]), str(row["name"]), str(row["role"])) for row in me["projects"])
    return tuple(str(slug) for slug in me["officer_of"]), projects


def way_back(wanted: str, pages: AbstractSet[str], first: str) -> str:
    """Return where a login leads: the page that was wanted where it is one of `pages`, else the first."""
    return wanted if wanted.partition("?")[0] in pages and wanted.isprintable() else first


def login_at(prefix: str, screens: Iterable[str]) -> type[RequestHandler]:
    """Return what sends a browser to the hub's login and back to the screen that it came for."""
    pages = frozenset(f"{prefix}/{screen}" for screen in screens)

    class Login(HubOAuthenticated, RequestHandler):
        """The way in."""

        @authenticated
        def get(self) -> None:
            """Go on to where the browser wanted to go: a page of this service, nothing else."""
            self.redirect(way_back(self.get_argument("next", ""), pages, f"{prefix}/compute"))

    return Login


OWNER = "guest"
"""Whose a session is, in its signed token."""


def own_session(handler: RequestHandler, guest: Guest, secret: bytes) -> bool:
    """Tell whether the session that a request asks for is the guest's own: made for their page, by this service.

    Bokeh opens any session to whoever names it, by an argument, a header, or the token of somebody else's page.
    """
    named = (handler.get_argument("bokeh-session-id", None), handler.get_argument("bokeh-token", None))
    if any(named) or "Bokeh-Session-Id" in handler.request.headers:
        return False
    if not isinstance(handler, WebSocketHandler):
        return True
    token = handler.request.headers.get("Sec-WebSocket-Protocol", "").rpartition(",")[2].strip()
    try:
        return check_token_signature(token, secret, signed=True) and get_token_payload(token).get(OWNER) == guest.name
    except (ValueError, KeyError, TypeError):
        return False


def from_here(handler: RequestHandler, public: str) -> bool:
    """Tell whether a websocket was asked for by a page of this site: under the address that the browser used, or `public`."""
    origin = urlsplit(handler.request.headers.get("Origin", "")).netloc
    return bool(origin) and origin in {handler.request.host, public}


def provider(door: Door, login: type[RequestHandler], secret: bytes, public: str = "") -> AuthProvider:
    """Return what Bokeh asks who somebody is. `public`: host and port of the site where a proxy tells others than these."""

    async def who(handler: RequestHandler) -> str | None:
        harden(handler)
        if handler.request.method not in {"GET", "HEAD"}:
            raise HTTPError(405)
        if isinstance(handler, WebSocketHandler) and not from_here(handler, public):
            raise HTTPError(403)
        guest = await door.guest(handler)
        if guest is None:
            return None
        if not own_session(handler, guest, secret):
            raise HTTPError(403)
        handler.request.guest = guest  # type: ignore[attr-defined]
        return guest.name

    class HubDoor(AuthProvider):
        """The hub's login, in front of everything that Bokeh serves."""

        get_user = property(lambda _self: None)
        get_user_async = property(lambda _self: who)
        login_url = property(lambda _self: "/login")
        get_login_url = property(lambda _self: None)
        login_handler = property(lambda _self: login)
        logout_url = property(lambda _self: None)
        logout_handler = property(lambda _self: None)

    return HubDoor()
