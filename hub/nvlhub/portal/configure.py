"""``configure(c)``: everything that an existing ``jupyterhub_config.py`` needs to become a portal."""

from __future__ import annotations

import os
import secrets
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from traitlets import import_item

from nvlhub.portal import hub_pages
from nvlhub.portal.service_paths import ServicePath
from nvlhub.portal.spawner import LeaseSpawnerMixin, read_form
from nvlhub.visitor import ADMIN_SCOPE, HUB_SCOPE

ACCESS = "access:services!service=portal"
PANELS = "access:services!service=panels"
CLASSES = ("start:servers", "read:servers", "delete:servers")
"""What the portal's own token may do at the hub, for the servers of seats: start them, see whether they run, stop them. The
hub knows no narrower way: a scope can be bound to a user, a server or a group that are known beforehand, not to all
servers of a name, and learners are known when they come. Neither users nor groups are its to change: who could put people
into groups could give anybody whatever a group may do."""
VISITS = "shares"
"""To let an instructor open one server of their class for the run's time. It contains ``access:servers``, which the portal
does not use itself. Only where users' servers have origins of their own: a page of a learner's server that has the portal's
origin could act at the portal as the instructor who opens it."""
NAMED_SERVERS = 3
"""Named servers that a user may have where the site has not said so; those of classes are started beyond it."""


def configure(
    c: Any,
    *,
    data: str | Path = "nvlhub-data",
    portal_url: str = "http://127.0.0.1:8090",
    managed: bool = True,
    portal_token: str = "",
    hub_token: str = "",
    admins: tuple[str, ...] = (),
    cull_after: int = 0,
    panels_url: str = "http://127.0.0.1:8091",
    panels_token: str = "",
    pages: bool = True,
    visits: bool | None = None,
) -> None:
    """Add the portal to a hub's configuration `c`; call it after the rest of the file.

    Args:
        c: The configuration object of ``jupyterhub_config.py``.
        data: Directory with ``portal.toml``; made if it is missing. Used by a managed portal only.
        portal_url: Where the hub and the user servers reach the portal's process.
        managed: The hub starts the portal itself. False: the portal runs on its own, with `portal_token`.
        portal_token: Token of the portal's service; needed when it is not managed.
        hub_token: Token by which the hub calls the portal; left out: made afresh at each start.
        admins: Users who run the portal. Their own tokens carry the right; their servers' tokens do not.
        cull_after: Seconds after which idle servers are stopped; 0: never.
        panels_url: Where the dashboards' process listens; empty: no dashboards.
        panels_token: Token of the dashboards' service; needed when it is not managed.
        pages: JupyterHub's own pages in English and Chinese, with leases and offers. A template of the same name in a
            directory of ``JupyterHub.template_paths`` is taken before ours. False: JupyterHub's pages stay as they are.
        visits: Instructors can open the servers of their class, one by one, while it is on. The hub's scope for that,
            ``shares``, lets the portal open every server. None: only where ``JupyterHub.subdomain_host`` is set, which
            gives each user's servers an origin of their own; without it a learner's server could act in the instructor's
            name, so that True is refused. False: the portal does not have the scope.

    Raises:
        ValueError: An unmanaged portal without `portal_token`, unmanaged dashboards without `panels_token`, or `visits`
            without ``JupyterHub.subdomain_host``.
    """
    if not managed and not portal_token:
        raise ValueError("portal_token is needed when managed=False: the portal and the hub must know the same one")
    if not managed and panels_url and not panels_token:
        raise ValueError("panels_token is needed when managed=False, or panels_url='' for no dashboards")
    hub_token = hub_token or secrets.token_hex(32)
    hub = c.JupyterHub
    visits = _visits(hub, visits)
    hub.custom_scopes = {
        **_old(hub, "custom_scopes", {}),
        ADMIN_SCOPE: {"description": "Run the portal: projects, awards, profiles, domains, everybody's leases"},
        HUB_SCOPE: {"description": "The hub's own calls to the portal"},
    }
    hub.services = [
        *_old(hub, "services", []),
        _portal_service(
            Path(data), portal_url, portal_token, managed=managed, dashboards=bool(panels_url), visits=visits
        ),
        {"name": "nvlhub-hub", "api_token": hub_token},
    ]
    if panels_url:
        hub.services.append(_panels_service(Path(data), panels_url, panels_token, portal_url, managed=managed))
    if _old(hub, "subdomain_host", ""):
        _stay_with_the_hub(c, {"portal": portal_url, **({"panels": panels_url} if panels_url else {})})
    hub.load_roles = [
        *_old(hub, "load_roles", []),
        {"name": "server", "scopes": ["users:activity!user", "access:servers!server", ACCESS]},
        {"name": "user", "scopes": ["self", ACCESS, PANELS]},
        # What is the same to everybody is asked for once, by the dashboards themselves: nobody in particular.
        {"name": "nvlhub-panels", "scopes": [ACCESS], "services": ["panels"] if panels_url else []},
        {"name": "nvlhub-hub", "scopes": [HUB_SCOPE], "services": ["nvlhub-hub"]},
        {"name": "nvlhub-portal", "scopes": [*CLASSES, *([VISITS] if visits else [])], "services": ["portal"]},
        {"name": "nvlhub-admin", "scopes": [ADMIN_SCOPE, ACCESS], "users": list(admins)},
    ]
    # Servers and kernels outlive the hub; leases outlive both.
    hub.cleanup_servers = False
    _named_servers(hub)
    _spawner(c, portal_url, hub_token)
    if pages:
        hub.template_paths = [*_old(hub, "template_paths", []), str(hub_pages.TEMPLATES)]
        hub.template_vars = {**_old(hub, "template_vars", {}), **hub_pages.variables()}
    if cull_after:
        _culler(c, cull_after)


def _visits(hub: Any, wanted: bool | None) -> bool:
    """Tell whether instructors may open learners' servers. Raises `ValueError` where that would let learners act for them."""
    apart = bool(_old(hub, "subdomain_host", ""))
    if wanted and not apart:
        raise ValueError(
            "visits=True needs c.JupyterHub.subdomain_host, set before configure(c): without it all servers have the hub's "
            "own origin, and a page on a learner's server could act at the portal as the instructor who opens it"
        )
    return apart if wanted is None else wanted


def _stay_with_the_hub(c: Any, urls: dict[str, str]) -> None:
    """Have our services stay paths of the hub's own host where users' servers have hosts of their own.

    JupyterHub gives every service a host, too. Ours trust each other and the hub; with one address for all of them every link on a
    page, in a notebook or in a message is a path, whether there are hosts or not.
    """
    hub = c.JupyterHub
    told = str(_old(hub, "public_url", "") or hub.subdomain_host)
    there = urlsplit(told if "://" in told else f"https://{told}")
    base = _old(hub, "base_url", urlsplit(_old(hub, "bind_url", "")).path).strip("/")
    paths = {name: f"{f'/{base}' if base else ''}/services/{name}/" for name in urls}
    for service in hub.services:
        if service["name"] in paths:
            # Of JupyterHub's own menu: there is no way in at a host of the service's own.
            service |= {"oauth_redirect_uri": f"{paths[service['name']]}oauth_callback", "display": False}
    routes = {f"{there.hostname}{path}": urls[name] for name, path in paths.items()}
    c.Proxy.extra_routes = {**_old(c.Proxy, "extra_routes", {}), **routes}
    # From any other host, and where a proxy has lost these routes, JupyterHub leads to this path below its own.
    origin = f"{there.scheme}://{there.netloc}"
    handler = (rf"/services/(?:{'|'.join(paths)})(?:/.*)?", ServicePath, {"origin": origin, "routes": routes})
    hub.extra_handlers = [*_old(hub, "extra_handlers", []), handler]


def _named_servers(hub: Any) -> None:
    """Allow named servers, which seats need; what the site says of them stays."""
    if _old(hub, "allow_named_servers", False):
        return
    hub.allow_named_servers = True
    if "named_server_limit_per_user" not in hub:
        hub.named_server_limit_per_user = limit_of


def limit_of(handler: Any) -> int:
    """Return how many named servers may be had, for whoever asks the hub: users some, the portal's classes any number (0)."""
    return 0 if getattr(handler.current_user, "kind", "user") == "service" else NAMED_SERVERS


def _old(section: Any, name: str, default: Any) -> Any:
    return section[name] if name in section else default


def _portal_service(
    data: Path, url: str, token: str, *, managed: bool, dashboards: bool, visits: bool
) -> dict[str, Any]:  # fmt: skip
    service: dict[str, Any] = {"name": "portal", "url": url, "oauth_no_confirm": True, "display": True}
    if token:
        service["api_token"] = token
    if managed:
        told = {name: value for name, value in os.environ.items() if name.startswith("NVLHUB_")}
        told["NVLHUB_VISITS"] = "true" if visits else "false"
        service |= _managed(
            "nvlhub.portal.service", data, **told, **({} if dashboards else {"NVLHUB_DASHBOARDS": "false"})
        )
    return service


def _panels_service(data: Path, url: str, token: str, portal_url: str, *, managed: bool) -> dict[str, Any]:
    # An administrator's visit may do what the administrator may: the token that the dashboards get says so.
    allowed = [ADMIN_SCOPE, ACCESS]
    service = {
        "name": "panels",
        "url": url,
        "oauth_no_confirm": True,
        "display": True,
        "oauth_client_allowed_scopes": allowed,
    }
    if token:
        service["api_token"] = token
    if managed:
        # What opens the portal's database is nothing to the dashboards.
        told = {
            name: value for name, value in os.environ.items() if name.startswith(("NVLHUB_PANELS_", "NVLHUB_PUBLIC_"))
        }
        service |= _managed("nvlwidgets.panels.service", data, **told, NVLHUB_PORTAL_URL=portal_url)
    return service


def _managed(module: str, data: Path, **more: str) -> dict[str, Any]:
    """Return how the hub starts a service of ours."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = {name: value for name in ("PATH", "LANG", "LC_ALL", "HOME") if (value := os.environ.get(name))}
    environment = {**kept, **more, "NVLHUB_DATA": str(data.resolve())}
    return {"command": [sys.executable, "-m", module], "environment": environment}


def _spawner(c: Any, portal_url: str, hub_token: str) -> None:
    base = _spawner_class(_old(c.JupyterHub, "spawner_class", "localprocess"))

    class LeaseSpawner(LeaseSpawnerMixin, base):  # type: ignore[misc,valid-type]
        """The configured spawner, with leases."""

    if handlers := getattr(base, "hub_handlers", ()):
        c.JupyterHub.extra_handlers = [*_old(c.JupyterHub, "extra_handlers", []), *handlers]
    LeaseSpawner.__name__ = f"Lease{base.__name__}"
    c.JupyterHub.spawner_class = LeaseSpawner
    c.LeaseSpawnerMixin.portal_url = portal_url
    c.LeaseSpawnerMixin.portal_token = hub_token
    c.Spawner.options_form = lambda spawner: spawner.offers_form()
    c.Spawner.options_from_form = read_form
    c.Spawner.apply_user_options = lambda spawner, options: spawner.check_options(spawner, options)
    c.Spawner.post_stop_hook = lambda spawner: spawner.release_leases()
    if "default_url" not in c.Spawner:
        c.Spawner.default_url = "/lab"


def _spawner_class(named: Any) -> type:
    if isinstance(named, type):
        return named
    for entry in entry_points(group="jupyterhub.spawners"):
        if entry.name == named:
            found: type = entry.load()
            return found
    imported: type = import_item(named)
    return imported


def _culler(c: Any, after: int) -> None:
    c.JupyterHub.services.append(
        {
            "name": "idle-culler",
            "command": [sys.executable, "-m", "nvlhub.portal.culler", f"--timeout={after}"],
        }
    )
    c.JupyterHub.load_roles.append(
        {
            "name": "idle-culler",
            "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
            "services": ["idle-culler"],
        }
    )
