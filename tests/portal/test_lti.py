"""Launches from a learning platform into a real hub: the double of a platform signs them, honest ones and all kinds of others."""

from __future__ import annotations

import hmac
import json
import re
import subprocess
import sys
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nvlhub.portal.lti import beside_lti, name_of
from nvlhub.ports import free_port
from nvlhub.trust import trusted

CLAIM = "https://purl.imsglobal.org/spec/lti/claim/"
CLIENT, DEPLOYMENT = "client-17", "deployment-1"
PASSWORD = "a password of the hub"
CONFIG = """
from jupyterhub.proxy import Proxy
from nvlhub.portal.lti import beside_lti


class NoProxy(Proxy):
    should_start = False

    async def add_route(self, routespec, target, data): ...
    async def delete_route(self, routespec): ...
    async def get_all_routes(self): return {{}}


c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.cookie_secret = b"{secret}" * 2
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = "{password}"
c.Authenticator.allowed_users = {{"researcher"}}
c.Authenticator.admin_users = {{"admin"}}
c.SharedPasswordAuthenticator.admin_password = "{password} for those who run it"
beside_lti(
    c,
    issuer="{platform}",
    client_ids={{"{client}"}},
    authorize_url="{platform}/authorize",
    jwks_url="{platform}/keys",
    deployments={{"{deployment}"}},
)
"""


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Platform:
    """A learning platform: its keys over HTTP, and tokens as it or a forger would sign them."""

    port: int = field(default_factory=free_port)
    key: rsa.RSAPrivateKey = field(default_factory=new_key)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def keys(self) -> bytes:
        told = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return json.dumps({"keys": [{**told, "kid": "key-1", "alg": "RS256", "use": "sig"}]}).encode()

    def claims(self, nonce: str, subject: str = "Ada-1815", **but: Any) -> dict[str, Any]:
        now = int(time.time())
        told = {
            "iss": self.url, "aud": CLIENT, "sub": subject, "iat": now, "exp": now + 300, "nonce": nonce,
            f"{CLAIM}message_type": "LtiResourceLinkRequest", f"{CLAIM}version": "1.3.0",
            f"{CLAIM}deployment_id": DEPLOYMENT, f"{CLAIM}target_link_uri": "http://hub/services/portal/join",
            f"{CLAIM}resource_link": {"id": "link-1"}, f"{CLAIM}roles": ["…membership#Learner"],
            "email": "researcher", "name": "Ada Lovelace",
        }  # fmt: skip
        return {name: value for name, value in (told | but).items() if value is not None}

    def sign(self, claims: dict[str, Any], **how: Any) -> str:
        told = {"key": self.key, "algorithm": "RS256", "headers": {"kid": "key-1"}} | how
        return jwt.encode(claims, **told)


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    made = Platform()

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(made.keys)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", made.port), Keys)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(scope="module")
def hub(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("hub"), free_port()
    told = CONFIG.format(
        port=port, secret="0123456789abcdef", password=PASSWORD, platform=platform.url, client=CLIENT,
        deployment=DEPLOYMENT,
    )  # fmt: skip
    (folder / "jupyterhub_config.py").write_text(told, encoding="utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "jupyterhub"], cwd=folder, stdout=log, stderr=log)
        try:
            _wait_for(f"http://127.0.0.1:{port}/hub/api/", process, folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            if httpx.get(url, timeout=5, verify=trusted()).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError(log.read_text()[-3000:])


@dataclass
class Browser:
    """One browser at the hub, and what the platform was asked for."""

    hub: str
    platform: Platform
    asked: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.hub, timeout=20)

    def begin(self, target: str = "/services/portal/join?code=WAFER7") -> dict[str, str]:
        """Follow the platform's link to the hub; return what the hub then asks the platform for."""
        told = {
            "iss": self.platform.url, "login_hint": "42", "target_link_uri": self.hub + target, "client_id": CLIENT,
            "lti_message_hint": "link-1",
        }  # fmt: skip
        answer = self.http.get("/hub/lti13/oauth_login", params=told)
        assert answer.status_code == 302, answer.text
        where = urlsplit(answer.headers["location"])
        assert f"{where.scheme}://{where.netloc}{where.path}" == f"{self.platform.url}/authorize"
        self.asked = {name: values[0] for name, values in parse_qs(where.query).items()}
        return self.asked

    def land(self, token: str, state: str | None = None) -> httpx.Response:
        """Post the platform's form to the hub."""
        form = {"id_token": token, "state": self.asked["state"] if state is None else state}
        return self.http.post("/hub/lti13/oauth_callback", data=form)

    def launch(self, target: str = "/services/portal/join?code=WAFER7", **but: Any) -> httpx.Response:
        nonce = self.begin(target)["nonce"]
        return self.land(self.platform.sign(self.platform.claims(nonce, **but)))

    @property
    def user(self) -> dict[str, Any]:
        """Who is logged in here; empty: nobody."""
        page = self.http.get("/hub/home")
        if page.status_code != 200:
            return {}
        found = re.search(r'user: "([^"]+)"', page.text)
        assert found, page.text
        return {"name": found[1], "admin": "/hub/admin" in page.text}


@pytest.fixture
def browser(hub: str, platform: Platform) -> Iterator[Callable[[], Browser]]:
    opened: list[Browser] = []

    def another() -> Browser:
        opened.append(Browser(hub, platform))
        return opened[-1]

    yield another
    for one in opened:
        one.http.close()


def test_a_launch_logs_in_and_goes_where_the_link_says(browser: Callable[[], Browser]) -> None:
    visitor = browser()
    asked = visitor.begin()
    assert asked["response_mode"] == "form_post"
    assert asked["scope"] == "openid"
    assert asked["login_hint"] == "42"
    assert asked["lti_message_hint"] == "link-1"
    assert asked["redirect_uri"] == f"{visitor.hub}/hub/lti13/oauth_callback"
    landed = visitor.land(visitor.platform.sign(visitor.platform.claims(asked["nonce"])))
    assert landed.status_code == 302, landed.text
    assert landed.headers["location"] == "/services/portal/join?code=WAFER7"
    assert visitor.user == {"name": name_of("Ada-1815"), "admin": False}


def test_nobody_of_the_platform_becomes_somebody_of_the_hub(browser: Callable[[], Browser]) -> None:
    visitor = browser()
    assert visitor.launch(subject="admin", **{f"{CLAIM}roles": ["…system#Administrator"]}).status_code == 302
    assert visitor.user == {"name": "lti-admin", "admin": False}


def test_the_hubs_own_login_works_beside_but_not_for_the_platforms_users(browser: Callable[[], Browser]) -> None:
    assert browser().launch(subject="grace").status_code == 302
    for name, seen in (("researcher", "researcher"), ("lti-grace", None)):
        own = browser()
        form = own.http.get("/hub/login")
        [token] = re.findall(r'name="_xsrf" value="([^"]+)"', form.text)
        own.http.post("/hub/login", data={"username": name, "password": PASSWORD, "_xsrf": token})
        assert own.user.get("name") == seen


def test_a_link_that_leads_elsewhere_stays_at_the_hub(browser: Callable[[], Browser]) -> None:
    visitor = browser()
    landed = visitor.launch("/hub/home?next=https://elsewhere.example/phish")
    assert landed.status_code == 302
    assert landed.headers["location"] == "/phish"


def _by_secret(platform: Platform, claims: dict[str, Any]) -> str:
    """Return what a reader fooled by the header would verify: HMAC with the public key's text (PyJWT would not write it)."""

    def part(content: bytes) -> bytes:
        return urlsafe_b64encode(content).rstrip(b"=")

    head = part(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "key-1"}).encode())
    body = head + b"." + part(json.dumps(claims).encode())
    secret = platform.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return (body + b"." + part(hmac.digest(secret, body, "sha256"))).decode()


FORGED: dict[str, Callable[[Platform, dict[str, Any]], str]] = {
    "signed by another key": lambda platform, claims: platform.sign(claims, key=new_key()),
    "not signed": lambda platform, claims: platform.sign(claims, key=None, algorithm="none"),
    "signed with the public key as a secret": _by_secret,
    "changed after it was signed": lambda platform, claims: _changed(platform.sign(claims)),
    "by another issuer": lambda platform, claims: platform.sign(claims | {"iss": "https://other.example"}),
    "for another client": lambda platform, claims: platform.sign(claims | {"aud": "client-18"}),
    "for two, issued to the other": lambda platform, claims: platform.sign(
        claims | {"aud": [CLIENT, "client-18"], "azp": "client-18"}
    ),
    "of another deployment": lambda platform, claims: platform.sign(claims | {f"{CLAIM}deployment_id": "deployment-2"}),
    "expired": lambda platform, claims: platform.sign(claims | {"exp": int(time.time()) - 1}),
    "issued long ago": lambda platform, claims: platform.sign(claims | {"iat": int(time.time()) - 3600}),
    "for another login": lambda platform, claims: platform.sign(claims | {"nonce": "0" * 64}),
    "without a nonce": lambda platform, claims: platform.sign(
        {name: value for name, value in claims.items() if name != "nonce"}
    ),
    "of another version": lambda platform, claims: platform.sign(claims | {f"{CLAIM}version": "1.1"}),
    "that names nobody": lambda platform, claims: platform.sign(
        {name: value for name, value in claims.items() if name != "sub"}
    ),
    "not a token": lambda platform, claims: "e30.e30.e30",
}


def _changed(token: str) -> str:
    head, body, signature = token.split(".")
    return f"{head}.{body[:-4]}{'AAAA' if body[-4:] != 'AAAA' else 'BBBB'}.{signature}"


@pytest.mark.parametrize("kind", FORGED)
def test_a_launch_that_is_not_the_platforms_own_logs_nobody_in(kind: str, browser: Callable[[], Browser]) -> None:
    visitor = browser()
    claims = visitor.platform.claims(visitor.begin()["nonce"])
    landed = visitor.land(FORGED[kind](visitor.platform, claims))
    assert landed.status_code in {400, 401, 403}, landed.text
    assert visitor.user == {}


def test_a_launch_counts_once(browser: Callable[[], Browser]) -> None:
    visitor = browser()
    token = visitor.platform.sign(visitor.platform.claims(visitor.begin()["nonce"]))
    kept = dict(visitor.http.cookies)
    assert visitor.land(token).status_code == 302
    # The same browser again; a thief of the token; a thief of the token and of the cookies that went with it.
    again, thief, neighbour = visitor.land(token), browser(), browser()
    thief.begin()
    neighbour.asked = visitor.asked
    neighbour.http.cookies.update(kept)
    assert [answer.status_code for answer in (again, thief.land(token), neighbour.land(token))] == [400, 400, 400]
    assert thief.user == neighbour.user == {}


def test_a_launch_that_this_browser_did_not_begin_logs_nobody_in(browser: Callable[[], Browser]) -> None:
    """A neighbour's whole launch, pressed on a visitor: who would then work under the neighbour's name."""
    neighbour, visitor = browser(), browser()
    token = neighbour.platform.sign(neighbour.platform.claims(neighbour.begin()["nonce"]))
    assert visitor.land(token, neighbour.asked["state"]).status_code == 400
    visitor.begin()
    assert visitor.land(token, neighbour.asked["state"]).status_code == 400
    assert visitor.user == {}


def test_a_key_that_the_platform_gave_up_opens_nothing(
    browser: Callable[[], Browser], platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = platform.key
    monkeypatch.setattr(platform, "key", new_key())
    assert browser().launch().status_code == 302
    visitor = browser()
    claims = platform.claims(visitor.begin()["nonce"])
    assert visitor.land(platform.sign(claims, key=old)).status_code == 400


def test_names_of_two_subjects_are_never_the_same() -> None:
    subjects = [
        "ada",
        "Ada",
        "ADA",
        "x-ada",
        "x-" + name_of("Ada").removeprefix("lti-x-"),
        "ada@example.org",
        "a/b",
        "艾達",
    ]
    names = [name_of(subject) for subject in subjects]
    assert len(set(names)) == len(subjects)
    assert all(re.fullmatch(r"lti-[a-z0-9_-]+", name) for name in names)
    assert name_of("ada") == "lti-ada"


@pytest.mark.parametrize("empty", ["issuer", "client_ids", "authorize_url", "jwks_url"])
def test_a_platform_without_something_to_check_against_is_refused_at_once(empty: str) -> None:
    told: dict[str, Any] = {"issuer": "i", "client_ids": {"c"}, "authorize_url": "a", "jwks_url": "k"}
    with pytest.raises(ValueError, match="all needed"):
        beside_lti(None, **told | {empty: set() if empty == "client_ids" else ""})
