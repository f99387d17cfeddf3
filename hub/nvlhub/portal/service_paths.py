"""Where the portal is for those who look for it at another host: a handler of the hub's."""

from __future__ import annotations

from tornado.web import RequestHandler


class ServicePath(RequestHandler):
    """``GET /hub/services/portal/...``: leads to the same path beside the hub's, at the hub's host.

    JupyterHub sends here what no host of a user's server knows. Nothing is looked up and nobody is asked who they are.
    """

    def initialize(self, host: str) -> None:
        """Take the hub's own address, without a path."""
        self._host = host

    def get(self) -> None:
        """Redirect."""
        base, _, path = str(self.request.uri).partition("/hub/services/")
        self.redirect(f"{self._host}{base}/services/{path}")
