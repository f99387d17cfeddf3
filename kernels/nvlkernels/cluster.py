"""A Dask cluster whose every worker is a lease.

    from nvlkernels import Cluster

    cluster = Cluster(workers=8)
    client = cluster.get_client()

The scheduler runs in this kernel. Workers are started by the portal's engine, where their GPUs are, and dial back: the mailbox
is encrypted (CurveZMQ), and the cluster's TLS credentials go through it to the node agents, so nobody else ever has them.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import logging
import math
import os
import sys
import time
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any

from distributed import Client, Security
from distributed.core import Status
from distributed.deploy.adaptive import Adaptive
from distributed.deploy.cluster import Cluster as DaskCluster
from distributed.deploy.spec import SpecCluster

from nvlhub.text import say
from nvlhub.wire import Beaten, EndReason, LeaseView, State
from nvlkernels.adaptive import LeaseAdaptive
from nvlkernels.arguments import free_name, one_of, pairs, whole
from nvlkernels.client import Portal, PortalDownError, PortalError
from nvlkernels.cluster_view import Explanation, Standing, as_rows, as_table, explanation, queue, spent
from nvlkernels.dashboard import GuardedScheduler
from nvlkernels.dashboard_key import LOOPBACK
from nvlkernels.ground import ground
from nvlkernels.mailbox import Mailbox
from nvlkernels.payer import NoPayerError, Payer, Wish, find_payer
from nvlkernels.tuning import CREDENTIALS, NO_ENVIRONMENT, NO_OPTIONS, PROTOCOLS, GroundError, Tuning, tune
from nvlkernels.worker import DEATHS, DEATHS_WITHIN, LeaseWorker, worker_names

logger = logging.getLogger(__name__)

BEAT = 5.0
"""Seconds between two signs of life to the portal."""
MOST = 1000
"""Workers of one cluster; as many are asked for and beaten for in one call."""
MISSING = 15.0
"""Seconds that a worker may be unknown to the scheduler before it counts as hanging."""
REFUSAL_SHOWN = 60.0
"""Seconds for which the widget shows a refusal."""
REMIND = 300.0
"""Seconds after which a warning that still holds is told again."""
REPLACED = frozenset({EndReason.LOST, EndReason.ENGINE})
"""Ends of a lease that are nobody's wish: another one is asked for."""
REPLACEMENTS = 3
"""Leases replaced within a minute at most."""
SPANS = ("fabric", "domain")
NOT_FOR_WORKERS = ("JUPYTERHUB_", "JPY_", "NVLHUB_", "CONFIGPROXY_")
"""Beginnings of variables of this kernel that workers do not get: tokens, and what belongs to the kernel alone."""


class ClusterClosedError(RuntimeError):
    """The cluster is closed."""


class Cluster(SpecCluster):
    """A Dask cluster of leases.

    Args:
        workers: Workers to start with, one GPU each.
        project: Who pays; left out: the project of this kernel's lease.
        profile: Profile of the workers' leases; left out: the smallest that is offered and large enough.
        span: ``fabric``: this kernel's NVLink domain while it has room, then others. ``domain``: that domain and no other.
        gang: All workers of one :meth:`scale` in one lease, in one domain, or none of them.
        protocol: ``tls`` or ``ucx``; left out: what the pool allows (see :meth:`explain`).
        seconds: Longest time of the workers' leases; left out: what this kernel's lease has left.
        preemptible: Whether workers cost nothing, and end as soon as others need their GPUs; the programme must allow it.
        threads: Threads of each worker.
        worker_options: Command-line options laid over those chosen, e.g. ``{"--memory-limit": "16GB"}``.
        worker_env: Environment laid over that chosen.
        name: What the cluster is called; no other open cluster of this process may be called so.
        asynchronous: Whether it is used with ``await``.
        quiet: Whether messages are only kept (``cluster.get_logs()``) and not printed.

    Raises:
        ValueError: An argument that cannot be meant; the text names it and what would be allowed.
        PortalError: The portal refused, with the arithmetic; nothing was started.
        PortalDownError: The portal does not answer.
        NoPayerError: This kernel holds no lease and no project is named, or nothing is offered that would do.
        GroundError: Packages are missing here.
    """

    def __init__(
        self,
        workers: int = 0,
        *,
        project: str | None = None,
        profile: str | None = None,
        span: str = "fabric",
        gang: bool = False,
        protocol: str | None = None,
        seconds: int | None = None,
        preemptible: bool = False,
        threads: int = 1,
        worker_options: Mapping[str, str | None] = NO_OPTIONS,
        worker_env: Mapping[str, str] = NO_ENVIRONMENT,
        name: str | None = None,
        asynchronous: bool = False,
        loop: Any = None,
        quiet: bool = False,
        shutdown_on_close: bool = True,
    ) -> None:
        self.portal = Portal()
        self._lang = lang = self.portal.lang
        # Dask takes clusters of one name for the same cluster.
        taken = [other.name for other in SpecCluster._instances if other.status is Status.running]  # noqa: SLF001
        self._first = self._whole("workers", workers, 0, MOST)
        self._wish = Wish(
            project=project, profile=profile, pinned=one_of(lang, "span", span, SPANS) == "domain", gang=gang,
            seconds=None if seconds is None else self._whole("seconds", seconds, 60, 30 * 24 * 3600),
            preemptible=preemptible, label=f"nvlhub-{uuid.uuid4().hex[:6]}" if name is None else free_name(lang, name, taken),
        )  # fmt: skip
        self._asked: dict[str, Any] = {
            "protocol": None if protocol is None else one_of(lang, "protocol", protocol, PROTOCOLS),
            "threads": self._whole("threads", threads, 1, 1024),
            "options": pairs(lang, "worker_options", worker_options, "--"),
            "environment": {name: value or "" for name, value in pairs(lang, "worker_env", worker_env).items()},
        }  # fmt: skip
        self._told: dict[str, float] = {}
        self._refused = (-REFUSAL_SHOWN, "")
        self._spent = 0
        self._clock = (0, time.monotonic())
        """The portal's time, and when it was told."""
        self._lost_at: deque[float] = deque(maxlen=REPLACEMENTS)
        self._opening: asyncio.Future[None] | None = None
        self._background: set[asyncio.Future[Any]] = set()
        self._payer: Payer
        self._tuning: Tuning
        self.mailbox: Mailbox
        self._asking: asyncio.Lock
        try:
            super().__init__(
                scheduler={"cls": GuardedScheduler, "options": {}},
                # Tells Dask how many threads a worker has; ours are made by `_add`.
                worker={"cls": LeaseWorker, "options": {"nthreads": threads}},
                silence_logs=logging.WARNING,
                asynchronous=asynchronous, loop=loop, name=self._wish.label, shutdown_on_close=shutdown_on_close,
            )  # fmt: skip
        except BaseException:
            # Dask leaves the thread of a cluster running that could not start.
            if not asynchronous:
                self._loop_runner.stop()
            raise
        self.quiet = quiet

    def _whole(self, argument: str, given: object, least: int, most: int) -> int:
        return whole(self._lang, argument, given, least, most)

    def _check_open(self) -> None:
        if self.status in {Status.closing, Status.closed, Status.failed}:
            raise ClusterClosedError(say("cluster-closed", self._lang, name=self.name))

    # --- start and end ----------------------------------------------------------------------------------------

    async def _start(self) -> None:
        """Start once, however often it is called."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        """Take the first leases, then start the scheduler: a refusal comes before anything runs."""
        self._asking = asyncio.Lock()
        leases: list[LeaseView] = []
        try:
            self._payer = await self._find_payer()
            bind = os.environ.get("NVLHUB_BIND") or os.environ.get("NVLHUB_MAILBOX_BIND") or "127.0.0.1"
            facts = ground(simulated=self._payer.simulated, private_fabric=self._payer.private_fabric)
            self._tuning = tune(facts, **self._asked)
            self.mailbox = Mailbox(bind)
            leases = await self._payer.take(self._first, self.mailbox.address) if self._first else []
            await self._start_scheduler(bind)
        except BaseException as error:
            await self._end(leases)
            await self._close()
            if isinstance(error, GroundError):
                raise GroundError(say(error.message, self._lang)) from None
            raise
        self._spawn(self._beat())
        for warning in self._tuning.warnings:
            self._log(say(f"explain-{warning}", self._lang))
        self._add(leases)
        if leases:
            self._tell_partial(leases, self._first)

    async def _start_scheduler(self, bind: str) -> None:
        if self._tuning.protocol == "tls":
            self.security = Security.temporary()
        self.scheduler_spec["options"] = {
            "protocol": f"{self._tuning.protocol}://", "host": bind, "port": 0, "security": self.security,
            "dashboard": True, "dashboard_address": f"{self._dashboard_host}:0",
        }  # fmt: skip
        await super()._start()

    async def _find_payer(self) -> Payer:
        return await find_payer(self.portal, self._wish)

    async def _close(self) -> None:
        await super()._close()
        for task in self._background:
            task.cancel()
        if hasattr(self, "mailbox"):
            self.mailbox.close()
        await self.portal.close()

    def _spawn(self, work: Any, *, awaited: bool = False) -> None:
        """Do something until the cluster closes; `awaited`: Dask lets it come to its end before that."""
        tasks = self._futures if awaited else self._background
        task = asyncio.ensure_future(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _end(self, leases: list[LeaseView]) -> None:
        """Give leases back that no worker of this cluster will use."""
        with contextlib.suppress(PortalDownError, PortalError):
            await asyncio.gather(*(self.portal.end(lease.id) for lease in leases))

    # --- workers ----------------------------------------------------------------------------------------------

    def start_message(self, name: str, device: str) -> dict[str, Any]:
        """Return what the node agent must know to start the worker `name`."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_FOR_WORKERS)}
        scheduler: Any = self.scheduler
        secrets = self.security.get_tls_config_for_role("worker") if self._tuning.protocol == "tls" else {}
        return {
            "argv": self._tuning.command(sys.executable, scheduler.address, name),
            "env": {**inherited, **self._tuning.environment},
            "files": {file: secrets[part.replace("-", "_")] for part, file in CREDENTIALS.items()} if secrets else {},
        }

    async def retire(self, names: list[str]) -> None:
        """Have the scheduler move data away from workers and let them go."""
        scheduler: Any = self.scheduler
        if scheduler.status is Status.running:
            await scheduler.retire_workers(names=names, close_workers=True, remove=True)

    def wants(self, name: str) -> bool:
        """Tell whether the lease called `name` still belongs to the cluster."""
        return self.status is Status.running and name in self.worker_spec

    def ended(self, lease: LeaseView) -> None:
        """Hear that a lease was given back: what it used is part of what the cluster cost."""
        self._spent += spent(lease, lease.now)

    def gave_up(self, worker: LeaseWorker, tail: str) -> None:
        """Hear that a worker ended too often: its lease is given back."""
        self._tell("cluster-gave-up", deaths=str(DEATHS), seconds=str(int(DEATHS_WITHIN)), tail=tail.strip()[-1000:])
        self._remove([worker.name])

    def lacks(self, worker: LeaseWorker, devices: int) -> None:
        """Hear that the nodes of a lease have other GPUs than it holds: it is given back."""
        self._tell("cluster-wrong-gpus", gpus=str(worker.lease.gpus), given=str(devices))
        self._remove([worker.name])

    def _correct_soon(self) -> None:
        """Have Dask bring the workers in line with what is wanted."""
        loop: Any = self.loop
        loop.add_callback(self._correct_state)

    @property
    def _size(self) -> int:
        return sum(len(spec.get("group", "-")) for spec in self.worker_spec.values())

    def _add(self, leases: list[LeaseView]) -> None:
        for lease in leases:
            self._clock = (lease.now, time.monotonic())
            name = lease.id[:13]
            spec: dict[str, Any] = {"cls": LeaseWorker, "options": {"name": name, "lease": lease, "crew": self}}
            if lease.gpus > 1:
                spec["group"] = [worker.removeprefix(name) for worker in worker_names(name, lease.gpus)]
            self.worker_spec[name] = spec
        self._correct_soon()

    def _remove(self, names: list[str]) -> None:
        made = {worker.name for worker in self._created}
        gone = {name: spec for name in names if (spec := self.worker_spec.pop(name, None)) is not None}
        # Dask closes the workers that it has made. Of a lease that it did not come to yet nobody else knows.
        unmade = [spec["options"]["lease"] for name, spec in gone.items() if name not in made]
        if unmade:
            self._spawn(self._end(unmade), awaited=True)
        self._correct_soon()

    def _views(self) -> list[LeaseView]:
        """Return the leases of the cluster as they were last told."""
        own = (self.workers.get(name) for name in self.worker_spec)
        specs = self.worker_spec.values()
        return [
            worker.lease if worker is not None else spec["options"]["lease"]
            for worker, spec in zip(own, specs, strict=True)
        ]

    def scale(self, n: int = 0, memory: str | None = None, cores: int | None = None) -> Any:
        """Have `n` workers. Returns when it is known whether that is allowed; workers join as they start.

        Raises `PortalError` with the arithmetic before anything is changed, `ValueError` for a number that cannot be,
        `ClusterClosedError` after the end.
        """
        if memory is not None or cores is not None:
            n = max(n, 0 if memory is None else math.ceil(self._memory_needs(memory)))
            n = max(n, 0 if cores is None else math.ceil(cores / self._threads_per_worker()))
        if self.status is Status.closing:
            self._remove(list(self.worker_spec))
            return _done()
        self._check_open()
        wanted = self._whole("workers", n, 0, MOST)
        self._end_adapting()
        if self.asynchronous:
            return self._scale(wanted)
        try:
            leases = self.sync(self._scale, wanted)
        except Exception as error:
            # Who asked by the button of the widget reads it there: nobody sees what a callback raises.
            self._refused = (time.monotonic(), str(error))
            raise
        self._tell_partial(leases, sum(lease.gpus for lease in leases))
        return None

    def _end_adapting(self) -> None:
        """Let a number that was set by hand stand: what follows the load would undo it."""
        if self._adaptive is not None and self._adapts:
            self._adaptive.stop(reason="scaled-by-hand")
            self._log(say("cluster-adapt-ends", self._lang))

    @property
    def _adapts(self) -> bool:
        return self._adaptive is not None and self._adaptive.state in {"starting", "running"}

    def _memory_needs(self, memory: str) -> float:
        from dask.utils import parse_bytes  # noqa: PLC0415  # rarely used

        return float(parse_bytes(memory)) / self._memory_per_worker()

    async def _scale(self, n: int) -> list[LeaseView]:
        async with self._asking:
            leases = await self._grow(n - self._size) if n > self._size else []
            if n < self._size:
                self._shrink(n)
            return leases

    async def _grow(self, more: int, *, wait: bool = True) -> list[LeaseView]:
        leases = await self._payer.take(more, self.mailbox.address, wait=wait)
        if self.status is not Status.running:
            await self._end(leases)
            self._check_open()
        self._add(leases)
        return leases

    def _shrink(self, n: int) -> None:
        """Give up the newest leases, those that wait first, until `n` workers are left."""
        waiting = {lease.id[:13] for lease in self._views() if not lease.placement}
        newest = sorted(enumerate(self.worker_spec), key=lambda place: (place[1] not in waiting, -place[0]))
        going, left = [], self._size
        for _, name in newest:
            size = len(self.worker_spec[name].get("group", "-"))
            if left - size >= n:
                going.append(name)
                left -= size
        if left != n:
            raise ValueError(say("cluster-gang-cut", self._lang, workers=str(n), allowed=str(left)))
        self._remove(going)

    async def grow_as_allowed(self, n: int) -> int:
        """Have up to `n` workers, as many as balance, caps and room allow now; return how many it is going to have."""
        async with self._asking:
            if self._adaptive is not None and self._adaptive.state == "stopped":
                # By a number that was set by hand, which had its turn first.
                return self._size
            more, why = n - self._size, ""
            while more > 0:
                try:
                    await self._grow(more, wait=False)
                    break
                except PortalError as error:
                    why, most = str(error), int(error.problem.member("largest_count") or 0)
                    more = min(more - 1, most)
                except (PortalDownError, NoPayerError) as error:
                    why, more = str(error), 0
            if self._size < n:
                self._tell(
                    "cluster-less", wanted=str(n), got=str(self._size), why=why or say("cluster-no-room", self._lang)
                )
            return self._size

    def adapt(  # type: ignore[override]  # Dask's further bounds are among the keywords
        self,
        Adaptive: type[Adaptive] = LeaseAdaptive,  # noqa: N803  # Dask's name
        minimum: int = 0,
        maximum: float = math.inf,
        **kwargs: Any,
    ) -> Adaptive:
        """Let the number of workers follow the load, between `minimum` and `maximum`, never beyond what is allowed.

        Raises `ValueError` for bounds that cannot be, `ClusterClosedError` after the end.
        """
        self._check_open()
        if self._wish.gang:
            raise ValueError(say("cluster-gang-adapt", self._lang))
        least = self._whole("minimum", minimum, 0, MOST)
        most = maximum if maximum == math.inf else self._whole("maximum", maximum, least, MOST)
        return super().adapt(Adaptive=Adaptive, minimum=least, maximum=most, **kwargs)

    def get_client(self) -> Client:
        """Return a client. Raises `ClusterClosedError` after the end."""
        self._check_open()
        client: Client = super().get_client()
        return client

    def _update_worker_status(self, op: str, msg: Any) -> None:
        # Dask would close what is unknown to the scheduler for a while. Ours comes back inside its lease, unless it hangs.
        if op == "remove":
            name = self.scheduler_info["workers"][msg]["name"]
            asyncio.get_running_loop().call_later(MISSING, self._restart_missing, name)
        DaskCluster._update_worker_status(self, op, msg)  # noqa: SLF001

    def _restart_missing(self, name: str) -> None:
        if self.status is Status.running and name not in self.observed:
            for worker in self.workers.values():
                worker.restart(name)

    # --- signs of life ----------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            try:
                await self._beat_once()
            except (PortalDownError, PortalError):
                # A portal that is away hears the next one.
                pass
            except Exception:
                # Whatever it was (an answer that nobody understands): without the next one all workers would be lost.
                logger.exception("a sign of life of %s failed; trying again", self.name)

    async def _beat_once(self) -> None:
        scheduler: Any = self.scheduler
        idle = scheduler.check_idle()
        idle_seconds = 0 if idle is None else max(0, int(time.time() - idle))
        workers = {worker.lease.id: worker for worker in self.workers.values()}
        beats = {lease: worker.beat(idle_seconds) for lease, worker in workers.items() if worker.speaks}
        answers = await self.portal.beat_all(beats) if beats else []
        # Who is silent gets no sign of life from here, and is over when the portal says so.
        silent = [self.portal.lease(lease) for lease in workers if lease not in beats]
        answers += [Beaten(lease=lease) for lease in await asyncio.gather(*silent)]
        for answer in answers:
            self._hear(workers[answer.lease.id], answer)

    def _hear(self, worker: LeaseWorker, answer: Beaten) -> None:
        worker.lease = answer.lease
        self._clock = (answer.lease.now, time.monotonic())
        if answer.warn:
            self._tell("cluster-warning", text=answer.warn)
        if answer.lease.state in {State.ENDING, State.SETTLED} and self.wants(worker.name):
            self._over(worker)

    def _over(self, worker: LeaseWorker) -> None:
        """Take the end of a lease that the cluster still wants; where nobody wished it, ask for another."""
        self._remove([worker.name])
        self._tell("cluster-lost", gpus=str(worker.lease.gpus), why=worker.lease.detail)
        if worker.lease.end_reason not in REPLACED:
            return
        now = time.monotonic()
        if len(self._lost_at) == REPLACEMENTS and now - self._lost_at[0] < 60:
            # What is lost again and again has a cause that asking does not mend.
            if self._adaptive is not None:
                self._adaptive.stop(reason="leases-are-lost")
            self._tell("cluster-stops-replacing", losses=str(REPLACEMENTS))
            return
        self._lost_at.append(now)
        if not self._adapts:
            self._spawn(self._replace(worker.lease.gpus))

    async def _replace(self, gpus: int) -> None:
        async with self._asking:
            try:
                await self._grow(gpus)
                self._tell("cluster-replaced")
            except (PortalError, PortalDownError, NoPayerError) as error:
                self._tell("cluster-not-replaced", why=str(error))

    # --- for people -------------------------------------------------------------------------------------------

    def _tell(self, message: str, **members: str) -> None:
        """Say something once; again only after a while."""
        text = say(message, self._lang, **members)
        now = time.monotonic()
        if now - self._told.get(message, -REMIND) >= REMIND:
            self._told[message] = now
            self._log(text)

    def _tell_partial(self, leases: list[LeaseView], asked: int) -> None:
        waiting = [lease for lease in leases if not lease.placement]
        if waiting:
            standing = Standing(tuple(waiting), 0, waiting[0].now)
            coming = sum(lease.gpus for lease in waiting)
            self._log(
                say("cluster-partial", self._lang, started=str(asked - coming), asked=str(asked),
                    waiting=str(coming), wait=queue(standing, self._lang))
            )  # fmt: skip

    @property
    def standing(self) -> Standing:
        """What the cluster holds now."""
        views = self._views()
        told, at = self._clock
        now = told + int(time.monotonic() - at)
        return Standing(
            tuple(views), len(self.scheduler_info["workers"]), now, self._spent, self._payer.simulated,
            self._tuning.protocol,
        )  # fmt: skip

    def explain(self) -> Explanation:
        """Return what the workers run on, over which transport, and why."""
        return explanation(self._tuning, self.standing, self._lang)

    @property
    def _dashboard_host(self) -> str:
        """Where the dashboard listens: the user's server reaches a kernel on another machine by the address of its lease."""
        return os.environ.get("NVLHUB_BIND") or LOOPBACK

    @property
    def dashboard_link(self) -> str:
        """The dashboard behind the login of this user's own server; empty where there is no such server."""
        services = self.scheduler_info.get("services", {})
        prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
        if "dashboard" not in services or prefix is None:
            return ""
        where = "" if self._dashboard_host == LOOPBACK else f"{os.environ.get('NVLHUB_LEASE')}/"
        return f"{prefix}nvlhub/dask/{where}{services['dashboard']}/status"

    def __repr__(self) -> str:
        if not hasattr(self, "_tuning") or self.status is not Status.running:
            charged = f", {say('cluster-row-charge', self._lang)}: {self._spent // 1000} GPU-s" if self._spent else ""
            return f"Cluster({self._wish.label!r}, {self.status.name}{charged})"
        return f"Cluster({self.name!r}, {', '.join(f'{name}: {value}' for name, value in as_rows(self.standing, self._lang))})"

    def _scaling_status(self) -> str:
        at, text = self._refused
        shown = f'<p style="white-space: pre-wrap"><strong>{html.escape(text)}</strong></p>'
        return str(super()._scaling_status()) + (shown if time.monotonic() - at < REFUSAL_SHOWN else "")

    def _repr_html_(self, cluster_status: str | None = None) -> str:
        rows = ""
        if self.status is Status.running:
            # Dask's own view counts the workers already; ours says what is missing.
            whole = len(self.scheduler_info["workers"]) == self._size
            rows = as_table(as_rows(self.standing, self._lang)[whole:])
        return str(super()._repr_html_(cluster_status=(cluster_status or "") + rows))


async def _done() -> None:
    """Nothing to wait for."""
