"""The idle culler, as a process that ends with the hub: ``python -m nvlhub.portal.culler --timeout=…``."""

from __future__ import annotations

import runpy

from nvlhub.parent import follow_parent

if __name__ == "__main__":
    follow_parent()
    runpy.run_module("jupyterhub_idle_culler", run_name="__main__", alter_sys=True)
