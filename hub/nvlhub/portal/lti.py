"""Logins from a learning platform (LTI 1.3), beside the login that a hub has already: ``beside_lti(c, …)``.

The protocol is that of ``jupyterhub-ltiauthenticator`` (extra ``lti``). Three things are ours: both logins work at once; users of
the platform live under names of their own, so nobody there can become somebody here; a launch counts once.
"""

from __future__ import annotations

import hashlib
import re
import time
from importlib.metadata import entry_points
from typing import Any

from jupyterhub.utils import maybe_future
from ltiauthenticator.lti13.auth import LTI13Authenticator
from ltiauthenticator.lti13.handlers import LTI13CallbackHandler, LTI13LoginInitHandler
from ltiauthenticator.lti13.validator import LTI13LaunchValidator
from tornado.web import HTTPError
from traitlets import import_item

PREFIX = "lti-"
"""What the names of a platform's users begin with."""
PLAIN = re.compile(r"(?!x-)[a-z0-9][a-z0-9_-]{0,40}")
"""A subject that is a name as it stands."""
DEPLOYMENT = "https://purl.imsglobal.org/spec/lti/claim/deployment_id"


def name_of(subject: str) -> str:
    """Return the hub's name of a platform's user, from the ``sub`` of the token.

    Names at the hub know no upper case, subjects do: what is not plain is told by its digest, so no two become one.
    """
    if PLAIN.fullmatch(subject):
        return PREFIX + subject
    return f"{PREFIX}x-{hashlib.sha256(subject.encode()).hexdigest()[:24]}"


class Platform(LTI13Authenticator):
    """The users of one platform. Who may launch is decided there."""

    deployments: frozenset[str] = frozenset()

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.allow_all = True
        self._used: dict[str, float] = {}

    async def authenticate(self, handler: Any, data: Any = None) -> dict[str, Any] | None:
        """Return the user of a token that was verified; None for one that names nobody."""
        subject = (data or {}).get("sub")
        if not isinstance(subject, str) or not subject:
            return None
        # Never a say in rights: an administrator of the platform is none here.
        return {"name": name_of(subject), "admin": None, "auth_state": {"id_token": data}}

    def add_user(self, user: Any) -> None:
        """Add nothing: who may launch is decided at the platform, each time."""

    def is_admin(self, handler: Any, authentication: Any) -> None:
        """Leave rights as they are."""

    def use(self, token: dict[str, Any]) -> bool:
        """Tell whether a token is used for the first time. Those that are too old to count are forgotten."""
        now, keep = time.time(), LTI13LaunchValidator(parent=self.parent)
        oldest = now - keep.max_age - 2 * keep.time_leeway - 60
        self._used = {nonce: at for nonce, at in self._used.items() if at > oldest}
        fresh = token["nonce"] not in self._used
        self._used[token["nonce"]] = now
        return fresh


class _OfPlatform:
    """A page of the hub for which the platform's users are the users."""

    settings: dict[str, Any]

    @property
    def authenticator(self) -> Platform:
        """The platform."""
        platform: Platform = self.settings["authenticator"].platform
        return platform


class Begin(_OfPlatform, LTI13LoginInitHandler):
    """Where a launch begins: sends the browser to the platform."""

    def _set_oauth_cookie(self, key: str, value: str) -> None:
        # The answer comes as a form from another site: browsers send only cookies that say so, and those only over HTTPS.
        cross = (
            {"samesite": "None", "secure": True} if self.authenticator.get_uri_scheme(self.request) == "https" else {}
        )
        self._set_cookie(key, value, expires_days=1, httponly=True, encrypted=True, **cross)


class Land(_OfPlatform, LTI13CallbackHandler):
    """Where a launch lands, with the signed token."""

    def check_nonce(self, id_token: dict[str, Any]) -> None:
        """Refuse a token that is not the answer to this browser, is of another deployment, or was used."""
        super().check_nonce(id_token)
        deployments = self.authenticator.deployments
        if deployments and id_token[DEPLOYMENT] not in deployments:
            raise HTTPError(401, "This deployment of the platform is not known here.")
        if not self.authenticator.use(id_token):
            raise HTTPError(400, "This launch was used already: open the link in the learning platform again.")


class BesideMixin:
    """A hub's own authenticator that leaves the platform's users alone."""

    platform: Platform
    told: dict[str, Any]

    def get_handlers(self, app: Any) -> list[Any]:
        """Return the pages of the hub's own login, and those of launches."""
        self.platform = Platform(parent=self, **self.told)
        own: list[Any] = super().get_handlers(app)  # type: ignore[misc]
        return [*own, (self.platform.login_url("/"), Begin), (self.platform.callback_url("/"), Land)]

    async def check_blocked_users(self, username: str, authentication: Any = None) -> bool:
        """Refuse the names of a platform's users at the hub's own login."""
        if username.startswith(PREFIX):
            return False
        allowed: bool = await maybe_future(super().check_blocked_users(username, authentication))  # type: ignore[misc]
        return allowed

    async def add_user(self, user: Any) -> None:
        """Add a user, unless it is one of a platform: those need no account, and no place among those allowed here."""
        if not user.name.startswith(PREFIX):
            await maybe_future(super().add_user(user))  # type: ignore[misc]

    async def refresh_user(self, user: Any, handler: Any = None, **more: Any) -> Any:
        """Look whether a login still counts; one by a launch does until it ends."""
        if user.name.startswith(PREFIX):
            return True
        return await maybe_future(super().refresh_user(user, handler, **more))  # type: ignore[misc]


def beside_lti(
    c: Any, *, issuer: str, client_ids: set[str], authorize_url: str, jwks_url: str, deployments: set[str] | None = None,
) -> None:  # fmt: skip
    """Let users of a learning platform in; call it when ``c.JupyterHub.authenticator_class`` stands.

    Args:
        c: The configuration object of ``jupyterhub_config.py``.
        issuer: The platform's name for itself, as in its tokens.
        client_ids: What the platform calls this hub.
        authorize_url: Where it answers login requests.
        jwks_url: Where its public keys are.
        deployments: Its deployments that are let in; left out: all of that client.

    Raises:
        ValueError: One of them is empty: nothing would be checked against it.
    """
    if not (issuer and authorize_url and jwks_url and client_ids and all(client_ids)):
        raise ValueError(
            "issuer, client_ids, authorize_url and jwks_url are all needed: tokens are checked against them"
        )
    named = c.JupyterHub["authenticator_class"] if "authenticator_class" in c.JupyterHub else "pam"
    base = _class(named)
    told = {
        "issuer": issuer, "client_id": set(client_ids), "authorize_url": authorize_url, "jwks_endpoint": jwks_url,
        "manage_groups": False, "manage_roles": False,
    }  # fmt: skip
    Platform.deployments = frozenset(deployments or ())
    c.JupyterHub.authenticator_class = type(f"{base.__name__}BesideLti", (BesideMixin, base), {"told": told})


def _class(named: Any) -> type:
    if isinstance(named, type):
        return named
    for entry in entry_points(group="jupyterhub.authenticators"):
        if entry.name == named:
            found: type = entry.load()
            return found
    imported: type = import_item(named)
    return imported
