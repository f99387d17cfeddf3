"""A stock hub for comparison: the same spawner, proxy, authenticator and server options, without the portal."""

import json
import os
import sys

c = get_config()  # type: ignore[name-defined]  # noqa: F821
told = json.loads(os.environ["STOCK"])
c.JupyterHub.bind_url = f"http://127.0.0.1:{told['port']}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{told['hub_port']}"
c.JupyterHub.db_url = f"sqlite:///{told['data']}/hub.sqlite"
c.JupyterHub.cookie_secret_file = f"{told['data']}/secret"
c.JupyterHub.pid_file = f"{told['data']}/pid"
c.JupyterHub.log_level = "WARN"
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = told["token"]
c.Authenticator.allowed_users = {"researcher"}
c.ConfigurableHTTPProxy.command = told["proxy"]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{told['proxy_port']}"
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = f"{told['data']}/{{username}}"
c.Spawner.notebook_dir = ""
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.environment = {"JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp"}
c.Spawner.args = [*(["--allow-root"] if os.geteuid() == 0 else []), "--LabApp.extension_manager=readonly"]
c.Spawner.default_url = "/lab"
if "form" in told:
    c.Spawner.options_form = told["form"]
c.JupyterHub.services = [{"name": "operator", "api_token": told["token"]}]
c.JupyterHub.load_roles = [
    {"name": "operator", "scopes": ["admin:users", "admin:servers", "tokens"], "services": ["operator"]}
]
