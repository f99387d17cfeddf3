"""The hub's configuration under ``nvlhub up``: one machine, one user account, three demo users, loopback only."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from jupyterhub.spawner import SimpleLocalProcessSpawner

from nvlhub.demo_data import USERS
from nvlhub.portal.configure import configure
from nvlhub.portal.slurm_spawner import SlurmSpawner
from nvlhub.ports import free_port


class LocalSpawner(SimpleLocalProcessSpawner):
    """Runs servers as the account of the hub, on ports that no outgoing connection can take meanwhile."""

    async def start(self) -> Any:
        """Start a server."""
        self.port = free_port()
        return await super().start()


def server_partition() -> str:
    """Return the partition that servers run in as jobs; empty: they are processes of this machine.

    ``NVLHUB_SERVER_PARTITION`` names it. A simulated cluster has one for CPU work.
    """
    told = {name: os.environ.get(name) for name in ("NVLHUB_ENGINE", "NVLHUB_SLURM__SIMULATED")}
    simulated = told == {"NVLHUB_ENGINE": "slurm", "NVLHUB_SLURM__SIMULATED": "true"}
    return os.environ.get("NVLHUB_SERVER_PARTITION", "cpu" if simulated else "")


def embed(c: Any) -> None:
    """Configure `c` from what ``nvlhub up`` wrote into the data directory (``NVLHUB_DATA``)."""
    data = Path(os.environ["NVLHUB_DATA"])
    up = json.loads((data / "up.json").read_text(encoding="utf-8"))
    hub = c.JupyterHub
    hub.bind_url = f"http://127.0.0.1:{up['port']}"
    if up["subdomains"]:
        hub.subdomain_host = os.environ["NVLHUB_PUBLIC_URL"]
    hub.hub_bind_url = f"http://127.0.0.1:{up['hub_port']}"
    hub.db_url = f"sqlite:///{data / 'hub.sqlite'}"
    hub.cookie_secret_file = str(data / "cookie_secret")
    hub.pid_file = str(data / "hub.pid")
    hub.log_level = "WARN"
    # The proxy is a process of its own: a hub that restarts cuts no connection.
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.auth_token = up["proxy_token"]
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{up['proxy_port']}"
    hub.cleanup_proxy = False
    hub.authenticator_class = "shared-password"
    c.SharedPasswordAuthenticator.user_password = up["password"]
    c.Authenticator.allowed_users = set(USERS)
    hub.spawner_class = LocalSpawner
    home = data / "home"
    c.SimpleLocalProcessSpawner.home_dir_template = str(home / "{username}")
    if partition := server_partition():
        hub.spawner_class = SlurmSpawner
        c.SlurmSpawner.partition = partition
        c.SlurmSpawner.slurm_conf = os.environ.get("NVLHUB_SLURM__CONF", "")
        c.SlurmSpawner.run_as = "hub"
        c.SlurmSpawner.directory = str(home / "{username}")
    c.Spawner.notebook_dir = ""
    c.Spawner.cmd = [sys.executable, "-m", "nvlkernels.singleuser"]
    c.Spawner.environment = {"JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp"}
    c.Spawner.args = ["--allow-root"] if os.geteuid() == 0 else []
    # Panel is here for the dashboards; its own extension takes a third of the time in which a server starts.
    c.LeaseSpawnerMixin.server_extensions = {"panel.io.jupyter_server_extension": False}
    c.Spawner.poll_interval = 10
    # One system call a server: a server that crashed is missed soon.
    c.SimpleLocalProcessSpawner.poll_interval = 3
    c.Spawner.start_timeout = 120
    c.Spawner.http_timeout = 90
    hub.services = [{"name": "operator", "api_token": up["operator_token"]}]
    hub.load_roles = [
        {"name": "admin", "users": ["admin"]},
        {
            "name": "operator",
            "scopes": ["admin:users", "admin:servers", "access:servers", "tokens", "shutdown",
                       "custom:nvlhub:admin", "access:services!service=portal"],
            "services": ["operator"],
        },
    ]  # fmt: skip
    configure(
        c,
        data=data,
        portal_url=f"http://127.0.0.1:{up['portal_port']}",
        hub_token=up["hub_token"],
        admins=("admin",),
        cull_after=up["cull_after"],
        panels_url=f"http://127.0.0.1:{up['panels_port']}",
    )
    if up["subdomains"]:
        # Programs on this machine know no hub.localhost.
        c.Proxy.extra_routes["127.0.0.1/services/portal/"] = f"http://127.0.0.1:{up['portal_port']}"
