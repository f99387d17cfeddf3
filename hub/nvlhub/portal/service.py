"""The portal's process: ``python -m nvlhub.portal.service``, started by the hub or by a service manager.

Told by the hub's environment (``JUPYTERHUB_…``) where the hub is, and by ``NVLHUB_DATA`` where its own data are.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI, Request

from nvlhub.api import Doors, make_app
from nvlhub.api.limiter import Limiter
from nvlhub.arena import LocalArena
from nvlhub.arena.leased import LeasedArena
from nvlhub.clock import SteadyClock
from nvlhub.dcgm import Dcgm
from nvlhub.demo_data import seed
from nvlhub.desk import Desk
from nvlhub.engines.base import Engine
from nvlhub.engines.registry import make_engine
from nvlhub.flow.bucket import Pace
from nvlhub.flow.request import Pool
from nvlhub.logs import write_json_lines
from nvlhub.parent import follow_parent
from nvlhub.portal import pages
from nvlhub.portal.asking import Asking
from nvlhub.portal.caretaker import Caretaker
from nvlhub.portal.classroom import Classroom
from nvlhub.portal.counts import Counts
from nvlhub.portal.courses_pages import CoursesPages
from nvlhub.portal.handing_in import HandingIn
from nvlhub.portal.html import hub_of, site_of
from nvlhub.portal.identity import Hub
from nvlhub.portal.joining import Joining
from nvlhub.portal.judging import Judges
from nvlhub.portal.login import Login
from nvlhub.portal.metrics import Metrics
from nvlhub.portal.planning import PlanningPages
from nvlhub.portal.problem_pages import ProblemPages
from nvlhub.portal.roster_page import RosterPage
from nvlhub.portal.teaching import TeachingPages
from nvlhub.portal.verifying import Verifying
from nvlhub.portal.warming import Warming
from nvlhub.registry import Registry
from nvlhub.run import Runner
from nvlhub.settings import Settings, SettingsError, load
from nvlhub.signing import Signer
from nvlhub.snapshots import Snapshots
from nvlhub.store import Store
from nvlhub.visitor import Visitor

logger = logging.getLogger("nvlhub")

KEPT = 3600
"""Seconds that an idle connection is kept. The proxy uses them again and does not close them itself: a request on one that is just
being closed is lost, and answered 503. So it is as long as Tornado keeps those of the hub and of the dashboards."""


class Portal:
    """Everything of one portal, put together; `open` and `close` are its life."""

    def __init__(self, settings: Settings, engine: Engine | None = None) -> None:
        self.settings = settings
        self.store = Store(settings.database_url)
        self.store.migrate()
        with self.store.reading() as unit:
            floor = unit.latest_time()
        self.clock = SteadyClock(floor)
        self.engine = engine or make_engine(settings)
        self.counts = Counts()
        domains = self.engine.capacity()
        pool = Pool(
            settings.pool, self.engine.gpu_model, settings.factor_milli,
            domain_gpus=max((domain.size for domain in domains), default=0),
            gpus=sum(domain.size for domain in domains),
        )  # fmt: skip
        with self.store.writing() as unit:
            unit.set_pool(pool)
        if settings.demo:
            seed(self.store, pool, self.clock.now())
        self.runner = Runner(
            self.store, self.engine, self.clock, settings.pool, grace=settings.grace, tick=settings.tick,
            sweep=settings.sweep, observer=self.counts, preempt_notice=settings.preempt_notice,
        )  # fmt: skip
        more_url = f"{settings.public_url.rstrip('/')}/services/portal/more"
        self.desk = Desk(self.store, self.runner, self.engine, self.clock, pool=settings.pool, more_url=more_url,
            private_fabric=settings.private_fabric, observer=self.counts, zone=settings.zone,
        )  # fmt: skip
        arena = self._arena() if settings.assessors else None
        self.registry = Registry(
            self.desk, Signer(settings.data / "certificate-keys"), settings.public_url, arena,
            Snapshots(settings.data / "attempts"),
        )  # fmt: skip
        self.judges = Judges(self.registry.assessing, settings.assessors)
        self.caretaker = Caretaker(self.registry.boards, self.clock)
        self.dcgm = Dcgm(
            self.desk.telemetry, lambda: self.runner.board, settings.telemetry_url, settings.telemetry_node
        )

    def _arena(self) -> LeasedArena:
        here = LocalArena(self.settings.data / "arena", self.settings.kernel_python, self.settings.assessors)
        return LeasedArena(here, self.desk, self.settings.mailbox_bind, self.settings.kernel_python)

    def open(self) -> None:
        """Begin to drive leases."""
        # What there is by now stays. Looking through it for garbage would hold up everybody, for 60 ms and again and again.
        gc.collect()
        gc.freeze()
        self.runner.start()
        self.desk.telemetry.start()
        self.dcgm.start()
        self.caretaker.start()
        self.judges.start()

    def close(self) -> None:
        """Stop; what runs goes on, and the next portal takes it up."""
        self.caretaker.stop()
        self.judges.stop()
        self.dcgm.stop()
        self.runner.stop()
        self.desk.telemetry.stop()
        self.store.close()


def token_of(request: Request) -> str:
    """Return the token of a request's header, or nothing."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() in {"token", "bearer"} else ""


def make_portal_app(portal: Portal, environment: Mapping[str, str]) -> FastAPI:
    """Return the whole application: API, pages, login and metrics."""
    prefix = environment.get("JUPYTERHUB_SERVICE_PREFIX", "/services/portal/")
    api_url = environment["JUPYTERHUB_API_URL"]
    hub = Hub(api_url)
    login = Login(
        hub,
        api_url=api_url,
        hub_prefix=hub_of(environment),
        client_id=environment.get("JUPYTERHUB_CLIENT_ID", "service-portal"),
        secret=environment["JUPYTERHUB_API_TOKEN"],
        prefix=prefix,
    )

    def identify(request: Request) -> Visitor:
        # The API knows tokens only: a cookie that a browser sends by itself opens nothing here.
        return hub.visitor(token_of(request))

    settings = portal.settings
    limiter = Limiter(Pace(settings.rate, settings.burst)) if settings.rate else None
    classroom = Classroom(api_url, environment["JUPYTERHUB_API_TOKEN"], settings.spawns)
    joining = portal.registry.joining
    warming = Warming(portal.store, portal.clock, classroom, joining, settings.spawns)
    joining.on_seat = portal.registry.boards.on_seat = warming.wake
    portal.registry.boards.rooms = classroom
    portal.registry.boards.visits = settings.visits
    doors = Doors(portal.desk, portal.registry, identify, limiter)
    app = make_app(doors, prefix)
    app.include_router(login.routes())
    site = site_of(prefix, environment, settings.zone, dashboards=settings.dashboards)
    app.add_middleware(ProblemPages, site=site)
    app.include_router(pages.routes(portal.desk, portal.registry, login, site))
    app.include_router(Asking(portal.registry, login, site, settings.contact).routes())
    app.include_router(HandingIn(portal.registry, login, site).routes())
    app.include_router(Verifying(portal.registry, site, settings.public_url).routes())
    for kind in (CoursesPages, PlanningPages, RosterPage):
        app.include_router(kind(portal.registry, login, site).routes())
    app.include_router(TeachingPages(portal.registry, login, site, settings.public_url).routes())
    app.include_router(Joining(doors, login, site).routes())
    app.include_router(Metrics(portal.desk, portal.counts, settings.tick).routes(prefix))

    @contextlib.asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        portal.open()
        warming.start()
        yield
        warming.stop()
        classroom.close()
        portal.close()

    app.router.lifespan_context = life
    return app


def main() -> None:
    """Serve until told to end."""
    write_json_lines()
    data = Path(os.environ.get("NVLHUB_DATA", "."))
    if os.environ.get("JUPYTERHUB_SERVICE_NAME"):
        # The next hub finds the port free then.
        follow_parent()
    with (data / "portal.lock").open("w") as lock:
        # One writer: a second portal on the same data would hand GPUs out twice.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"another portal is using {data}")
        try:
            portal = Portal(load(data))
        except SettingsError as error:
            sys.exit(str(error))
        told = {"engine": portal.engine.name, "pool": portal.settings.pool}
        logger.info("the portal of %s begins", data.resolve(), extra=told)
        address = urlsplit(os.environ.get("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:8090"))
        uvicorn.run(
            make_portal_app(portal, os.environ), host=address.hostname or "127.0.0.1", port=address.port or 8090,
            log_config=None, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3,
            timeout_keep_alive=KEPT,
        )  # fmt: skip


if __name__ == "__main__":
    main()
