"""What stands between JupyterHub and the portal. ``from nvlhub.portal import configure`` for a hub's configuration."""

from nvlhub.portal.configure import configure

__all__ = ["configure"]
