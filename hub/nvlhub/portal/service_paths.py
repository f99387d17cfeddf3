"""Where the portal is for those who look for it at another host: a handler of the hub's."""

from __future__ import annotations

from collections.abc import Mapping

from tornado.web import RequestHandler


class ServicePath(RequestHandler):
    """``GET /hub/services/portal/...``: leads to the same path beside the hub's, at the hub's host.

    JupyterHub sends here what no host of a user's server knows, and what the proxy has no route for. Nobody is asked who they are.
    """

    def initialize(self, origin: str, routes: Mapping[str, str]) -> None:
        """Take the hub's own origin, and the proxy's routes to the services with what they lead to."""
        self._origin, self._routes = origin, routes

    async def get(self) -> None:
        """Redirect, with the routes in place: a proxy that was started again gets them from the hub after minutes only."""
        for route, url in self._routes.items():
            await self.settings["proxy"].add_route(route, url, {"extra": True})
        base, _, path = str(self.request.uri).partition("/hub/services/")
        self.redirect(f"{self._origin}{base}/services/{path}")
