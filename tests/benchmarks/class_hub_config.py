"""A hub with 200 learners whose servers cost nothing: with the portal, or stock. Told by ``CLASS``, JSON in the environment."""

import json
import os

from jupyterhub.spawner import Spawner
from traitlets import Integer

c = get_config()  # type: ignore[name-defined]  # noqa: F821
told = json.loads(os.environ["CLASS"])


class NothingSpawner(Spawner):
    """Starts nothing: one process answers for all servers, so that the hub, the proxy and the portal are what is measured."""

    server_port = Integer(0, config=True)
    started = False

    async def start(self):
        self.started = True
        return f"http://127.0.0.1:{self.server_port}"

    async def stop(self, now=False):
        self.started = False

    async def poll(self):
        return None if self.started else 0


hub = c.JupyterHub
hub.bind_url = f"http://127.0.0.1:{told['port']}"
hub.hub_bind_url = f"http://127.0.0.1:{told['hub_port']}"
hub.db_url = f"sqlite:///{told['data']}/hub.sqlite"
hub.cookie_secret_file = f"{told['data']}/secret"
hub.pid_file = f"{told['data']}/pid"
hub.log_level = "WARN"
hub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = told["token"]
c.Authenticator.allowed_users = set(told["users"])
c.ConfigurableHTTPProxy.command = told["proxy"]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{told['proxy_port']}"
hub.spawner_class = NothingSpawner
hub.allow_named_servers = True
c.NothingSpawner.server_port = told["server_port"]
hub.services = [{"name": "operator", "api_token": told["token"]}]
hub.load_roles = [{"name": "operator", "scopes": ["admin:users", "admin:servers"], "services": ["operator"]}]
if told["portal_port"]:
    from nvlhub.portal import configure

    configure(c, data=told["data"], portal_url=f"http://127.0.0.1:{told['portal_port']}", panels_url="")
