"""A mixin that gives any spawner the offers on its form, validated options, and leases that end with the server."""

from __future__ import annotations

import os
from importlib.resources import files
from typing import Any

import httpx
import jinja2
from tornado import web
from traitlets import Unicode
from traitlets.config import Configurable

from nvlhub.text import language, say
from nvlhub.wire import API_PATH, Offer, gpu_hours

TIMEOUT = httpx.Timeout(5.0, connect=1.5)

_FORM = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
    (files("nvlhub.portal") / "templates" / "spawn_form.html").read_text(encoding="utf-8")
)


def read_form(formdata: dict[str, list[str]]) -> dict[str, str]:
    """Keep what a form or a query string says; :meth:`LeaseSpawnerMixin.check_options` judges it like any other input."""
    return {name: values[0] for name, values in formdata.items() if name != "_xsrf" and values and values[0]}


class LeaseSpawnerMixin(Configurable):
    """Put it before a spawner's class; :func:`nvlhub.portal.configure` does so."""

    portal_url = Unicode("http://127.0.0.1:8090", config=True, help="Where the hub and user servers reach the portal.")
    portal_token = Unicode(
        os.environ.get("NVLHUB_HUB_TOKEN", ""), config=True, help="Token of the hub's own service, nvlhub-hub."
    )

    async def _portal(self, method: str, path: str, lang: str = "en", **more: Any) -> Any:
        headers = {"Authorization": f"token {self.portal_token}", "Accept-Language": lang}
        async with httpx.AsyncClient(timeout=TIMEOUT, headers=headers) as http:
            response = await http.request(method, f"{self.portal_url.rstrip('/')}{API_PATH}{path}", **more)
        response.raise_for_status()
        return response.json()

    async def _offers(self, lang: str) -> list[Offer]:
        answer = await self._portal("GET", "/offers", lang, params={"user": self.user.name})  # type: ignore[attr-defined]
        return [Offer(**item) for item in answer["items"]]

    # --- the spawn page ---------------------------------------------------------------------------------------

    async def offers_form(self, spawner: Any = None) -> str:
        """Return the form of the spawn page."""
        handler = getattr(self, "handler", None)
        lang = language(handler.request.headers.get("Accept-Language") if handler else None)
        try:
            offers = await self._offers(lang)
            down = False
        except httpx.HTTPError as error:
            self.log.warning("the portal gave no offers for the spawn page: %s", error)  # type: ignore[attr-defined]
            offers, down = [], True
        projects: dict[str, list[Offer]] = {}
        for offer in offers:
            projects.setdefault(offer.project, []).append(offer)
        return _FORM.render(
            projects=projects, down=down, hours=gpu_hours, _=lambda message, **members: say(message, lang, **members)
        )

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
        """Tell the server where the portal is."""
        env: dict[str, str] = super().get_env()  # type: ignore[misc]
        handler = getattr(self, "handler", None)
        lang = language(handler.request.headers.get("Accept-Language") if handler else None)
        sidebar = {
            "DASK_LABEXTENSION__FACTORY__MODULE": "nvlkernels.sidebar",
            "DASK_LABEXTENSION__FACTORY__CLASS": "SidebarCluster",
        }
        return {**sidebar, **env, "NVLHUB_PORTAL_URL": self.portal_url, "NVLHUB_LANGUAGE": lang}

    def get_args(self) -> list[str]:
        """Have the server use the lease kernels, without questions to the outside."""
        return [
            *super().get_args(),  # type: ignore[misc]
            "--ServerApp.kernel_spec_manager_class=nvlkernels.specs.OfferKernelSpecManager",
            "--ServerApp.kernel_manager_class=nvlkernels.manager.LeaseKernelManager",
            # What listens on a port of the machine may belong to anybody: no general way to ports.
            "--ServerApp.jpserver_extensions={'nvlkernels.extension': True, 'jupyter_server_proxy': False}",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.extension_manager=readonly",
        ]

    async def release_leases(self, spawner: Any = None) -> None:
        """Tell the portal that the server is gone, so that its leases end now and not after the grace time."""
        name = self.name or "-"  # type: ignore[attr-defined]
        try:
            await self._portal("POST", f"/servers/{self.user.escaped_name}/{name}/stopped")  # type: ignore[attr-defined]
        except httpx.HTTPError as error:
            self.log.warning("the portal was not told that a server stopped; its leases end by silence: %s", error)  # type: ignore[attr-defined]
