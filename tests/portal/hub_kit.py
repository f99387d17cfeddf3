"""JupyterHub's pages without a hub: its templates and ours, with what its handlers give them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
from jupyterhub._data import DATA_FILES_PATH
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from nvlhub.portal import hub_pages

STOCK = Path(DATA_FILES_PATH) / "templates"
MARKUP = "<b>&amp;</b>"


def environment(*first: Path, ours: bool = True) -> jinja2.Environment:
    """Return the templates as JupyterHub finds them (``app.py``, `init_tornado_settings`)."""
    folders = [*first, *([hub_pages.TEMPLATES] if ours else []), STOCK]
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PrefixLoader({"templates": jinja2.FileSystemLoader([STOCK])}), jinja2.FileSystemLoader(folders)]
        ),
        autoescape=True,
    )


class Handler:
    """What answers a request: templates find the request by it."""

    def __init__(self, uri: str, **headers: str) -> None:
        told = HTTPHeaders({"Host": "hub"} | {name.replace("_", "-"): value for name, value in headers.items()})
        start = RequestStartLine("GET", uri, "HTTP/1.1")
        self.request = HTTPServerRequest(
            start_line=start,
            headers=told,
            connection=SimpleNamespace(context=None),  # type: ignore[arg-type]
        )
        self.base_url = "/"

    def static_url(self, path: str, **_: Any) -> str:
        return f"/hub/static/{path}"


def spawner(name: str = "", active: bool = True) -> Any:
    return SimpleNamespace(
        name=name, display_name=name, active=active, ready=active, pending=None, options_form="", last_activity=None
    )


def user(name: str = "researcher", active: bool = True) -> Any:
    return SimpleNamespace(
        name=name, json_escaped_name=name, spawner=spawner(active=active), server_url=lambda server: f"/user/{name}/{server}",
        all_spawners=lambda **_: [spawner(MARKUP), spawner("second", active=False)],
    )  # fmt: skip


def values(name: str) -> dict[str, Any]:
    """Return what the hub's handlers give to a template, with markup wherever people choose what it is."""
    when = datetime(2027, 1, 15, tzinfo=UTC).replace(tzinfo=None)
    token = SimpleNamespace(
        api_id="1", note=MARKUP, scopes=["self"], last_activity=None, created=when, expires_at=None
    )  # fmt: skip
    client = {
        "token_id": 1, "description": MARKUP, "tokens": [token], "last_activity": when, "created": None,
    }  # fmt: skip
    common = {"url": "/user/researcher/"}
    own: dict[str, dict[str, Any]] = {
        "home": {
            "default_server": spawner(), "allow_named_servers": True, "named_server_limit_per_user": 3,
            "invalid_server_names": [MARKUP],
        },
        "login": {
            "login_error": "Invalid username or password", "authenticator_login_url": "/hub/login", "username": MARKUP,
            "authenticator": SimpleNamespace(request_otp=False), "login_term_url": "/terms", "user": None, "services": [],
        },
        "spawn": {"for_user": user(MARKUP), "error_message": MARKUP, "spawner_options_form": "<p id=form></p>"},
        "spawn_pending": {"progress_url": "/hub/api/progress"},
        "not_running": {
            "failed": True, "failed_message": MARKUP, "server_name": MARKUP, "spawn_url": "/hub/spawn/researcher",
        },
        "error": {"status_code": 500, "status_message": "Internal Server Error", "message": MARKUP},
        "404": {"status_code": 404, "status_message": "Not Found"},
        "logout": {"user": None, "services": []},
        "token": {
            "api_tokens": [token], "oauth_clients": [client],
            "token_expires_in_options_html": '<option value="3600">1 Hour</option>\n<option value="">Never</option>',
        },
        "oauth": {
            "oauth_client": SimpleNamespace(description="x", redirect_uri="/x"), "scope_descriptions": [],
            "allowed_scopes": [],
        },
        "accept-share": {"owner": user(), "spawner": spawner(), "scope_descriptions": [], "next_url": "/"},
    }  # fmt: skip
    return {**common, **own.get(name, {})}


def show(
    name: str, lang: str = "", uri: str = "/hub/home?a=b", templates: jinja2.Environment | None = None, **more: Any
) -> str:
    """Return a page of the hub's as it is answered to a browser of that language."""
    headers = {"Accept_Language": lang} | more.pop("headers", {})
    handler = Handler(uri, **headers)
    person = user()
    told = {name: value(person) if callable(value) else value for name, value in hub_pages.variables().items()}
    services = [SimpleNamespace(name=service, href=f"/services/{service}/") for service in ("portal", "panels", "wiki")]
    namespace = {
        "base_url": "/hub/", "prefix": "/", "user": person, "login_url": "/hub/login", "logout_url": "/hub/logout",
        "static_url": handler.static_url, "services": services, "parsed_scopes": {"admin-ui": {}}, "xsrf": "x",
        "xsrf_token": "x", "announcement": "", **told,
    }  # fmt: skip
    found = (templates or environment()).get_template(f"{name}.html")
    return found.render(**{**namespace, **values(name), **more})
