"""A hub with the portal on one machine, CPU only: ``jupyterhub -f hub/jupyterhub_config.py``.

Two simulated domains stand in for the GPUs. A start for your own hub: choose its authenticator and spawner, then call
``configure``. ``nvlhub up`` needs none of this.
"""

import os

from nvlhub.portal import configure

os.environ.setdefault("NVLHUB_SIMULATE", "2")
os.environ.setdefault("NVLHUB_DEMO", "true")

c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.authenticator_class = "pam"
c.JupyterHub.spawner_class = "localprocess"
c.Authenticator.allow_existing_users = True
# JupyterHub's own server, ready sooner.
c.Spawner.cmd = ["nvlhub-singleuser"]

configure(c, data="nvlhub-data", admins=("admin",))
