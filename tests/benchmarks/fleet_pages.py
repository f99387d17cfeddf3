"""The screen Fleet on a whole factory, and an empty Panel page, served by one process: ``python -m tests.benchmarks.fleet_pages PORT``.

``POST /change`` starts leases on 1 % of the GPUs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import panel as pn
from tornado.web import RequestHandler

from nvlhub.api import Doors, make_app
from nvlhub.parent import follow_parent
from nvlhub.store import Store
from nvlwidgets.panels.api import Api
from nvlwidgets.panels.door import Guest
from nvlwidgets.panels.frame import frame
from nvlwidgets.panels.screens import SCREENS
from nvlwidgets.panels.source import Sources
from nvlwidgets.panels.visit import Visit
from tests.api.test_api import identify
from tests.conftest import HandClock
from tests.portal_kit import Kit, kit


def change(portal: Kit) -> None:
    """Start leases on 100 GPUs."""
    for profile in ["gpu8"] * 12 + ["gpu4"]:
        portal.ask(profile, seconds=60)
    portal.step()


def main(port: int, folder: Path) -> None:
    """Serve until told to end."""
    store = Store(f"sqlite:///{folder / 'fleet.sqlite'}")
    store.migrate()
    portal = kit(store, HandClock(), domains=139)
    change(portal)
    app = make_app(Doors(portal.desk, portal.registry, identify), "/services/portal/")
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app))
    sources = Sources()
    [screen] = [screen for screen in SCREENS if screen.slug == "fleet"]

    def fleet() -> Any:
        doc: Any = pn.state.curdoc
        own, nobody = (Api(http, "http://portal", token) for token in ("admin", "outsider"))
        visit = Visit(Guest("admin", "admin", admin=True), "en", "UTC", "", {}, own, nobody, sources, doc)
        doc.on_session_destroyed(lambda _context: visit.leave())
        return frame(visit, screen, SCREENS)

    class Change(RequestHandler):
        """Has 1 % of the GPUs change."""

        def post(self) -> None:
            change(portal)

        def check_xsrf_cookie(self) -> None:
            """Nobody else comes here."""

    pn.serve(
        {"/fleet": fleet, "/empty": lambda: pn.pane.HTML("<p class='nothing'>nothing</p>")}, port=port, address="127.0.0.1",
        show=False, verbose=False, extra_patterns=[("/change", Change)], websocket_origin=[f"127.0.0.1:{port}"],
    )  # fmt: skip


if __name__ == "__main__":
    follow_parent()
    with tempfile.TemporaryDirectory() as folder:
        main(int(sys.argv[1]), Path(folder))
