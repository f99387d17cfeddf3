"""The clusters that JupyterLab's Dask sidebar makes: they live in the user's server and belong to no kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nvlhub.wire import State
from nvlkernels.cluster import Cluster
from nvlkernels.dashboard_key import LOOPBACK
from nvlkernels.payer import Payer, find_payer
from nvlkernels.provisioner import HELD


class SidebarCluster(Cluster):
    """A cluster without a kernel's lease.

    Paid by the project of the GPU kernel that was started last on this server; without one, by the project that has most
    left. ``labextension.factory.kwargs`` in Dask's configuration may name a `project`.
    """

    def __init__(self, **kwargs: Any) -> None:
        # Its server closes it. What Dask does at the exit comes after the end of the loop that this lives in, and waits for it.
        super().__init__(**{"quiet": True, "shutdown_on_close": False, **kwargs})

    async def _find_payer(self) -> Payer:
        if self._wish.project is None:
            running = [held.lease for held in HELD.values() if held.lease and held.lease.state is State.RUNNING]
            offers = await self.portal.offers() if not running else []
            named = [lease.project for lease in running[-1:]]
            named += [offer.project for offer in sorted(offers, key=lambda offer: -offer.left)[:1]]
            self._wish = replace(self._wish, project=next(iter(named), None))
        return await find_payer(self.portal, self._wish)

    @property
    def _dashboard_host(self) -> str:
        return LOOPBACK

    @property
    def dashboard_link(self) -> str:
        """Where the dashboard is for this server, which passes it on after its login."""
        port = self.scheduler_info.get("services", {}).get("dashboard")
        return "" if port is None else f"http://127.0.0.1:{port}/status"
