"""What ``configure(c)`` adds to a hub, and what ``nvlhub up`` says when it cannot."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tornado.web import Application
from traitlets.config import Config

from nvlhub.portal import configure
from nvlhub.ports import free_port
from nvlhub.up import Options, UpError, remembered, running
from nvlhub.visitor import ADMIN_SCOPE


def test_a_hub_keeps_what_it_had_and_gets_the_portal(tmp_path: Path) -> None:
    c = Config()
    c.JupyterHub.spawner_class = "simple"
    c.JupyterHub.services = [{"name": "mine"}]
    c.JupyterHub.load_roles = [{"name": "mine"}]
    configure(c, data=tmp_path / "data", admins=("ann",))
    assert [service["name"] for service in c.JupyterHub.services] == ["mine", "portal", "nvlhub-hub", "panels"]
    roles = {role["name"]: role for role in c.JupyterHub.load_roles}
    assert roles["nvlhub-admin"]["users"] == ["ann"]
    assert ADMIN_SCOPE in c.JupyterHub.custom_scopes
    assert ADMIN_SCOPE not in roles["server"]["scopes"]
    assert c.JupyterHub.spawner_class.__name__ == "LeaseSimpleLocalProcessSpawner"
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_seats_need_named_servers_and_what_the_site_says_of_them_stays(tmp_path: Path) -> None:
    c = Config()
    configure(c, data=tmp_path)
    assert c.JupyterHub.allow_named_servers is True
    limit = c.JupyterHub.named_server_limit_per_user
    asks = [SimpleNamespace(current_user=who and SimpleNamespace(kind=who)) for who in ("user", None, "service")]
    assert [limit(handler) for handler in asks] == [3, 3, 0]
    c = Config()
    c.JupyterHub.allow_named_servers = True
    configure(c, data=tmp_path)
    assert "named_server_limit_per_user" not in c.JupyterHub
    c = Config()
    c.JupyterHub.named_server_limit_per_user = 7
    configure(c, data=tmp_path)
    assert c.JupyterHub.named_server_limit_per_user == 7


def test_the_portal_may_do_no_more_at_the_hub_than_classes_need(tmp_path: Path) -> None:
    apart = "https://hub.example"
    for host, visits, more in (
        (apart, None, {"shares"}), (apart, True, {"shares"}), (apart, False, set()), ("", None, set()), ("", False, set())
    ):  # fmt: skip
        c = Config()
        if host:
            c.JupyterHub.subdomain_host = host
        configure(c, data=tmp_path, visits=visits)
        [role] = [role for role in c.JupyterHub.load_roles if role.get("services") == ["portal"]]
        assert set(role["scopes"]) == {"start:servers", "read:servers", "delete:servers"} | more
        assert c.JupyterHub.services[0]["environment"]["NVLHUB_VISITS"] == ("true" if more else "false")


@pytest.mark.parametrize(
    ("told", "base", "origin"),
    [
        ({"subdomain_host": "https://hub.example:8443"}, "", "https://hub.example:8443"),
        ({"subdomain_host": "hub.example", "bind_url": "http://:80/jupyter"}, "/jupyter", "https://hub.example"),
        ({"subdomain_host": "http://hub.example/", "base_url": "/hub/"}, "/hub", "http://hub.example"),
        ({"subdomain_host": "https://users.example", "public_url": "https://hub.example/"}, "", "https://hub.example"),
    ],
)
async def test_portal_and_dashboards_stay_at_the_hubs_host_where_servers_have_their_own(
    tmp_path: Path, told: dict[str, str], base: str, origin: str
) -> None:
    c = Config(JupyterHub=Config(told))
    c.Proxy.extra_routes = {"hub.example/other/": "http://127.0.0.1:1"}
    configure(c, data=tmp_path)
    assert c.Proxy.extra_routes == {
        "hub.example/other/": "http://127.0.0.1:1",
        f"hub.example{base}/services/portal/": "http://127.0.0.1:8090",
        f"hub.example{base}/services/panels/": "http://127.0.0.1:8091",
    }
    callbacks = {service["name"]: service.get("oauth_redirect_uri") for service in c.JupyterHub.services}
    assert callbacks == {
        "portal": f"{base}/services/portal/oauth_callback", "panels": f"{base}/services/panels/oauth_callback", "nvlhub-hub": None
    }  # fmt: skip
    # Who asks at another host is led there; a proxy that has lost the routes gets them again.
    [(path, handler, more)] = c.JupyterHub.extra_handlers
    routes: dict[str, str] = {}

    class Proxy:
        async def add_route(self, route: str, url: str, data: Any) -> None:
            routes[route] = url

    app = Application([(f"{base}/hub{path}", handler, more)], proxy=Proxy())
    server = app.listen(port := free_port(), "127.0.0.1")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        for rest in ("/services/portal/more?to=%2F%2Fevil&x=1", "/services/panels", "/services/portal//evil.example/"):
            assert (await http.get(f"{base}/hub{rest}")).headers["location"] == f"{origin}{base}{rest}"
        for asked in (
            f"{base}/hub/services/portals/",
            f"{base}/hub/services/other/",
            f"/evil{base}/hub/services/portal/",
        ):
            assert (await http.get(asked)).status_code == 404
    assert routes.items() < c.Proxy.extra_routes.items()
    assert len(routes) == 2
    server.stop()
    await server.close_all_connections()


def test_no_servers_are_visited_that_have_the_portals_own_origin(tmp_path: Path) -> None:
    c = Config()
    with pytest.raises(ValueError, match="subdomain_host"):
        configure(c, data=tmp_path, visits=True)
    assert "load_roles" not in c.JupyterHub


def test_a_portal_of_its_own_needs_a_token() -> None:
    with pytest.raises(ValueError, match="portal_token"):
        configure(Config(), managed=False)
    with pytest.raises(ValueError, match="panels_token"):
        configure(Config(), managed=False, portal_token="t" * 32)


def test_a_hub_can_do_without_dashboards(tmp_path: Path) -> None:
    c = Config()
    configure(c, data=tmp_path, panels_url="")
    assert [service["name"] for service in c.JupyterHub.services] == ["portal", "nvlhub-hub"]


def test_no_secret_of_the_hub_reaches_the_portals_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "kept-to-itself")
    c = Config()
    configure(c, data=tmp_path)
    assert "kept-to-itself" not in str(c.JupyterHub.services)


def test_what_opens_the_database_is_nothing_to_the_dashboards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVLHUB_DATABASE", "postgresql+psycopg://portal:secret@db/nvlhub")
    monkeypatch.setenv("NVLHUB_PANELS_RECHECK", "5")
    c = Config()
    configure(c, data=tmp_path)
    told = {service["name"]: service.get("environment", {}) for service in c.JupyterHub.services}
    assert "NVLHUB_DATABASE" in told["portal"]
    assert "NVLHUB_DATABASE" not in told["panels"]
    assert told["panels"]["NVLHUB_PANELS_RECHECK"] == "5"


def test_what_is_remembered_stays_and_is_private(tmp_path: Path) -> None:
    first = remembered(Options(data=tmp_path))
    assert remembered(Options(data=tmp_path, port=8001)) == {**first, "port": 8001}
    for name in ("up.json", "admin-token"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert len({first[name] for name in first if name.endswith("token")}) == 3


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port := free_port()))
        taken.listen()
        with pytest.raises(UpError, match=f"port {port} is in use"), running(Options(tmp_path, port), print):
            pass


def cli(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("nvlhub"), *words]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_line_says_when_it_knows_no_portal(tmp_path: Path) -> None:
    done = cli("award", "list", NVLHUB_DATA=str(tmp_path))
    assert done.returncode == 1
    assert "nvlhub up" in done.stderr


def test_the_command_line_says_when_the_portal_does_not_answer(tmp_path: Path) -> None:
    done = cli(
        "award", "list", NVLHUB_URL=f"http://127.0.0.1:{free_port()}", NVLHUB_TOKEN="x", NVLHUB_DATA=str(tmp_path)
    )
    assert done.returncode == 1
    assert "does not answer" in done.stderr


def test_the_example_configuration_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("NVLHUB_SIMULATE", "NVLHUB_DEMO"):
        monkeypatch.setenv(name, "1")
    c = Config()
    source = (Path(__file__).parents[2] / "hub" / "jupyterhub_config.py").read_text(encoding="utf-8")
    exec(compile(source, "jupyterhub_config.py", "exec"), {"get_config": lambda: c})  # noqa: S102
    assert json.dumps([service["name"] for service in c.JupyterHub.services]) == '["portal", "nvlhub-hub", "panels"]'
