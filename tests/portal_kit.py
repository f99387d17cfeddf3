"""A portal without a hub: store, desk and run loop, turned by hand."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from nvlhub.arena import Arena, ScriptedArena
from nvlhub.demo_data import seed
from nvlhub.desk import Desk
from nvlhub.engines.base import Engine
from nvlhub.engines.floor import SimulatedFloor
from nvlhub.engines.scripted import Script, ScriptedEngine
from nvlhub.flow.lease import Lease
from nvlhub.flow.request import Pool
from nvlhub.observer import SILENT, Observer
from nvlhub.registry import Registry
from nvlhub.run import Runner
from nvlhub.snapshots import Snapshots
from nvlhub.store import Broken, Store, verify
from nvlhub.visitor import Visitor
from nvlhub.wire import LeaseAsk, LeaseView, Mailbox
from tests.conftest import HandClock

MAILBOX = Mailbox(address="tcp://127.0.0.1:5555", public_key="k" * 40, token="t" * 40)
RESEARCHER = Visitor("researcher", server="researcher/")
ADMIN = Visitor("admin", admin=True)
GRACE = 15


class StepRunner(Runner):
    """A run loop without a thread: what is said is heard at once."""

    def admitted(self, *leases: Lease) -> Future[Lease]:
        answer = super().admitted(*leases)
        self.step()
        return answer

    def tell(self, *what: object) -> Future[Lease]:
        answer = super().tell(*what)  # type: ignore[arg-type]
        self.step()
        return answer


@dataclass
class Kit:
    """One portal, and a restart of it."""

    store: Store
    clock: HandClock
    engine: Engine
    observer: Observer = SILENT
    loop: type[StepRunner] = StepRunner
    pool: str = "main"
    runner: StepRunner = field(init=False)
    desk: Desk = field(init=False)
    registry: Registry = field(init=False)
    keys: int = 0
    arena: Arena = field(default_factory=ScriptedArena)
    snapshots: Snapshots = field(default_factory=Snapshots)

    def __post_init__(self) -> None:
        domains = self.engine.capacity()
        pool = Pool(
            self.pool, "GB300", 1000, max(domain.size for domain in domains), sum(domain.size for domain in domains)
        )
        with self.store.writing() as unit:
            unit.set_pool(pool)
        seed(self.store, pool, self.clock.now())
        self.restart()

    def restart(self) -> None:
        """Forget everything that a process remembers."""
        self.runner = self.loop(
            self.store, self.engine, self.clock, self.pool, grace=GRACE, tick=0, sweep=0, observer=self.observer
        )  # type: ignore[arg-type]
        self.runner.step()
        self.desk = Desk(
            self.store,
            self.runner,
            self.engine,
            self.clock,
            pool=self.pool,
            more_url="http://x/more",
            observer=self.observer,
        )  # type: ignore[arg-type]
        self.registry = Registry(self.desk, arena=self.arena, snapshots=self.snapshots)

    def ask(self, profile: str = "gpu1", who: Visitor = RESEARCHER, project: str = "demo", **more: object) -> LeaseView:
        self.keys += 1
        body = LeaseAsk(project=project, profile=profile, mailbox=MAILBOX, **more)  # type: ignore[arg-type]
        return self.desk.ask(who, body, f"key-{self.keys}")[0]

    def step(self, seconds: int = 1, beats: bool = True) -> None:
        """Let time pass; everybody alive says so."""
        self.clock.forward(seconds)
        if beats:
            for lease_id in self.runner.board.leases:
                self.runner.beat(lease_id, 0)
        self.runner.step()

    def seen(self, lease: LeaseView) -> LeaseView:
        return self.desk.lease(ADMIN, lease.id)

    def broken(self) -> list[Broken]:
        with self.store.reading() as unit:
            return verify(unit)

    def free(self) -> int:
        return sum(domain.free_gpus for domain in self.runner.board.domains)


def kit(
    store: Store, clock: HandClock, scripts: Mapping[str, Script] | None = None, domains: int = 1, trays: int = 18,
    observer: Observer = SILENT,
) -> Kit:  # fmt: skip
    return Kit(store, clock, ScriptedEngine(SimulatedFloor(domains, trays), scripts or {}, now=clock.now), observer)
