"""Who may come in: the hub says who it is, the portal what they are, one table which page needs what.

Bokeh asks :class:`HubDoor` before every page, ``autoload.js``, ``metadata`` and websocket, so one rule covers all of them.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bokeh.server.auth_provider import AuthProvider
from jupyterhub.services.auth import HubOAuth, HubOAuthenticated
from tornado.web import HTTPError, RequestHandler, authenticated

from nvlhub.text import CHOSEN, chosen_language
from nvlhub.visitor import ADMIN_SCOPE
from nvlkernels.client import PortalDownError, PortalError
from nvlwidgets.markup import markup

REMEMBERED = 30.0
"""Seconds for which the word of the hub and the portal on somebody is believed; so long a logout takes to bite."""


@dataclass(frozen=True, slots=True)
class Guest:
    """Who looks at a page. Never read from anything that a browser sends by itself except the hub's own login."""

    name: str
    token: str
    admin: bool
    officer_of: tuple[str, ...] = ()
    projects: tuple[tuple[str, str, str], ...] = ()
    """Slug, name and role."""

    @property
    def decides(self) -> bool:
        """Whether they see a programme."""
        return self.admin or bool(self.officer_of)


Need = Callable[[Guest], bool]


class Door:
    """Turns requests into guests."""

    def __init__(
        self, hub: HubOAuth, prefix: str, needs: Mapping[str, Need], me: Callable[[str], Awaitable[Mapping[str, Any]]]
    ) -> None:
        self._hub = hub
        self._prefix = prefix
        self._needs = needs
        self._me = me
        self._told: dict[str, tuple[float, Mapping[str, Any]]] = {}

    async def guest(self, handler: RequestHandler) -> Guest | None:
        """Return who sent a request, or None for somebody who must log in. Raises `HTTPError` 403."""
        model = await self._hub.get_user(handler, sync=False)
        if model is None:
            return None
        if not self._hub.check_scopes(self._hub.access_scopes, model):
            raise HTTPError(403)
        guest = await self._known(model, str(self._hub.get_token(handler)))
        if not self.allows(handler.request.path, guest):
            raise HTTPError(403)
        return guest

    def allows(self, path: str, guest: Guest) -> bool:
        """Tell whether a guest may have what lies at `path`: a screen, or anything below it."""
        screen = path.removeprefix(self._prefix).strip("/").split("/")[0]
        need = self._needs.get(screen)
        return need is None or need(guest)

    async def still(self, token: str) -> bool:
        """Ask the hub, not memory, whether a login is still good; True where the hub does not answer."""
        try:
            model = await self._hub.user_for_token(token, use_cache=False, sync=False)
        except HTTPError:
            return True
        return model is not None and bool(self._hub.check_scopes(self._hub.access_scopes, model))

    async def again(self, guest: Guest) -> Guest | None:
        """Return what a guest is now; None when the login is over."""
        if not await self.still(guest.token):
            self._told.pop(guest.token, None)
            return None
        model = await self._hub.user_for_token(guest.token, sync=False)
        return None if model is None else await self._known(model, guest.token)

    async def _known(self, model: Mapping[str, Any], token: str) -> Guest:
        admin = ADMIN_SCOPE in model["scopes"]
        at, told = self._told.get(token, (float("-inf"), {}))
        if time.monotonic() - at > REMEMBERED:
            try:
                told = await self._me(token)
                self._told[token] = (time.monotonic(), told)
            except (PortalError, PortalDownError):
                # The portal is away: what it said last is kept, and the page says that it does not answer.
                pass
        if len(self._told) > 10_000:
            self._told.clear()
        projects = tuple((row["slug"], row["name"], row["role"]) for row in told.get("projects", ()))
        return Guest(str(model["name"]), token, admin, tuple(told.get("officer_of", ())), projects)


def login_at(prefix: str) -> type[RequestHandler]:
    """Return what sends a browser to the hub's login and back to the screen that it came for."""

    class Login(HubOAuthenticated, RequestHandler):
        """The way in."""

        @authenticated
        def get(self) -> None:
            """Go on to where the browser wanted to go: a path of this service, nothing else."""
            there = self.get_argument("next", "")
            ours = there.startswith(f"{prefix}/") and "\\" not in there and "//" not in there
            self.redirect(there if ours else f"{prefix}/compute")

    return Login


def provider(door: Door, login: type[RequestHandler]) -> AuthProvider:
    """Return what Bokeh asks who somebody is."""

    async def who(handler: RequestHandler) -> str | None:
        guest = await door.guest(handler)
        if guest is None:
            return None
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


def language_of(handler: RequestHandler) -> str:
    """Return the language that somebody chose, else that of the browser."""
    return chosen_language(handler.get_cookie(CHOSEN), handler.request.headers.get("Accept-Language"))


def refusal(handler: RequestHandler, status: int) -> str:
    """Return a readable page for what may not be seen or does not exist."""
    message = {403: "panels-not-yours", 404: "panels-no-page"}.get(status, "panels-failed")
    return markup("refusal.html", language_of(handler), message=message)
