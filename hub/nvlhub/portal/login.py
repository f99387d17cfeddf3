"""Login of browsers by the hub (OAuth 2 with PKCE). The token stays here; the browser holds a random session id."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import httpx
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from nvlhub.errors import FailedError, NotAllowedError
from nvlhub.portal.identity import Hub, LoginNeededError
from nvlhub.trust import trusted
from nvlhub.visitor import Visitor

SESSION = "nvlhub-session"
STATE = "nvlhub-login-"
"""Beginning of the cookie of one login: a page and what it fetches may each be at one."""
LOGIN_TAKES = 600.0
"""Seconds that a login may take."""
SESSIONS = 20_000
LOGINS = 5_000
LONGEST_QUERY = 500


@dataclass(frozen=True)
class _Login:
    verifier: str
    next: str
    at: float


class Login:
    """Sessions of browsers. They live in memory: after a restart the hub logs everybody in again without asking."""

    def __init__(self, hub: Hub, *, api_url: str, hub_prefix: str, client_id: str, secret: str, prefix: str) -> None:
        self._hub = hub
        self._api_url = api_url.rstrip("/")
        self._hub_prefix = hub_prefix.rstrip("/")
        self._client_id = client_id
        self._secret = secret
        self._prefix = prefix
        self._callback = f"{prefix}oauth_callback"
        # Cookies without a path are those of all portals of a host.
        self._mark = hashlib.sha256(prefix.encode()).hexdigest()[:8]
        self._sessions: OrderedDict[str, str] = OrderedDict()
        self._logins: OrderedDict[str, _Login] = OrderedDict()
        self._lock = threading.Lock()
        # One for all logins: to make one reads the certificates of the machine, and a class logs in at one moment.
        self._http = httpx.Client(base_url=self._api_url, timeout=10, verify=trusted())
        self._key = secrets.token_bytes(32)

    def visitor(self, request: Request) -> Visitor:
        """Return who a browser's session belongs to. Raises `LoginNeededError`."""
        token = self._sessions.get(request.cookies.get(self._name(request, SESSION), ""))
        if token is None:
            raise LoginNeededError("login-needed")
        who = self._hub.visitor(token)
        # Of the person, not of the session: what a page fetches may log in beside it and replace its session, and the
        # page's forms still hold.
        return replace(who, csrf=hmac.new(self._key, who.name.encode(), hashlib.sha256).hexdigest())

    def begin(self, request: Request, query: str | None = None) -> Response:
        """Send a browser to the hub's login, and back to where it was going; `query`: with what, if not as it came."""
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        # Only our own path: nobody can be sent elsewhere after the login.
        there = request.url.path if request.url.path.startswith(self._prefix) else self._prefix
        asked = request.url.query if query is None else query
        if asked and len(asked) <= LONGEST_QUERY:
            there = f"{there}?{asked}"
        with self._lock:
            self._logins[state] = _Login(verifier, there, time.monotonic())
            while len(self._logins) > LOGINS:
                self._logins.popitem(last=False)
        query = urlencode(
            {
                "client_id": self._client_id, "redirect_uri": self._callback, "response_type": "code", "state": state,
                "code_challenge": challenge, "code_challenge_method": "S256",
            }
        )  # fmt: skip
        response = RedirectResponse(f"{self._hub_prefix}/api/oauth2/authorize?{query}", 302)
        self._cookie(request, response, _cookie_of(state), state, int(LOGIN_TAKES))
        return response

    def finish(self, request: Request) -> Response:
        """Take the hub's answer. Raises `NotAllowedError` for an answer to a login that was not begun here."""
        state = request.query_params.get("state", "")
        with self._lock:
            login = self._logins.pop(state, None)
        own = secrets.compare_digest(
            request.cookies.get(self._name(request, _cookie_of(state)), "").encode(), state.encode()
        )
        if login is None or not own or time.monotonic() - login.at > LOGIN_TAKES:
            return RedirectResponse(self._prefix, 302)
        token = self._token(request.query_params.get("code", ""), login.verifier)
        self._hub.visitor(token)
        session = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[session] = token
            while len(self._sessions) > SESSIONS:
                self._sessions.popitem(last=False)
        response = RedirectResponse(login.next, 302)
        self._cookie(request, response, SESSION, session, None)
        self._cookie(request, response, _cookie_of(state), "", 0)
        return response

    def _token(self, code: str, verifier: str) -> str:
        try:
            response = self._http.post(
                "/oauth2/token",
                data={
                    "client_id": self._client_id, "client_secret": self._secret, "grant_type": "authorization_code",
                    "code": code, "redirect_uri": self._callback, "code_verifier": verifier,
                },
            )  # fmt: skip
        except httpx.HTTPError:
            raise FailedError("portal-failed") from None
        if not response.is_success:
            raise NotAllowedError("login-needed")
        return str(response.json()["access_token"])

    def _cookie(self, request: Request, response: Response, name: str, value: str, age: int | None) -> None:
        secure = _secure(request)
        response.set_cookie(
            self._name(request, name), value, max_age=age, path="/" if secure else self._prefix, httponly=True, samesite="lax",
            secure=secure,
        )  # fmt: skip

    def _name(self, request: Request, name: str) -> str:
        """Return the name of a cookie; over https one that no page of another host can plant (RFC 6265bis, 4.1.3.2)."""
        return f"__Host-{name}-{self._mark}" if _secure(request) else name

    def routes(self) -> APIRouter:
        """Return the route that the hub sends browsers back to."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route(self._callback, self.finish, methods=["GET"])
        return router


def _secure(request: Request) -> bool:
    return request.headers.get("x-forwarded-proto", request.url.scheme).split(",")[0].strip() == "https"


def _cookie_of(state: str) -> str:
    """Return the name of a login's cookie. What comes from outside is shortened and made harmless."""
    return STATE + "".join(letter for letter in state[:12] if letter.isascii() and (letter.isalnum() or letter in "-_"))
