"""How the portal's pages are answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import Response
from fastapi.responses import HTMLResponse

from nvlhub.page import HEADERS
from nvlhub.portal.markup import render
from nvlhub.text import LANGUAGES

FRAGMENT = "X-Nvlhub-For"
"""Header that names whose a fragment is, as in an address: by it a page knows that it got one, and for whom."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where things are, and how times are told. Addresses end with a slash."""

    prefix: str
    """Of the portal."""
    hub: str = "/hub/"
    panels: str = ""
    """Of the dashboards; empty: there are none."""
    zone: str = "UTC"

    def page(self, name: str, lang: str, status: int = 200, here: str = "", **values: Any) -> Response:
        """Return a page as an answer; `here`: its path below the portal's."""
        text = self._render(name, lang, here=self.prefix + here, languages=LANGUAGES, **values)
        return _answer(text, lang, status, {})

    def fragment(self, name: str, lang: str, user: str, **values: Any) -> Response:
        """Return a part of a page of JupyterHub's, for a user."""
        return _answer(self._render(name, lang, **values), lang, 200, {FRAGMENT: quote(user)})

    def _render(self, name: str, lang: str, **values: Any) -> str:
        return render(name, lang, self.zone, prefix=self.prefix, hub=self.hub, panels=self.panels, **values)


def site_of(prefix: str, environment: Mapping[str, str], zone: str, *, dashboards: bool) -> Site:
    """Return where things are, by what the hub tells its services."""
    base = environment.get("JUPYTERHUB_BASE_URL", "/").rstrip("/")
    return Site(prefix, f"{hub_of(environment)}/", f"{base}/services/panels/" if dashboards else "", zone)


def hub_of(environment: Mapping[str, str]) -> str:
    """Return the hub's address without a slash at the end: a path, or with its host where JupyterHub tells it."""
    return environment.get("JUPYTERHUB_HOST", "") + environment.get("JUPYTERHUB_BASE_URL", "/").rstrip("/") + "/hub"


def _answer(text: str, lang: str, status: int, more: Mapping[str, str]) -> Response:
    return HTMLResponse(text, status, headers={**HEADERS, "Content-Language": lang, "Vary": "Cookie", **more})
