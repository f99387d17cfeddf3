"""Runs tasks as jobs of a Slurm cluster, each as its user.

start      one sbatch; the job is found again by its comment
look       one squeue for all jobs; who newly runs is looked up once, with the GPUs that Slurm gave it
capacity   nodes and topology; drained and failed nodes are out of service
records    sacct, and what the controller still remembers
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from nvlhub.engines.base import Engine, EngineError, Handle, Sight, Sighting, Task
from nvlhub.engines.slurm import reading
from nvlhub.engines.slurm.abilities import Abilities, abilities
from nvlhub.engines.slurm.commands import Commands, SlurmAwayError, SlurmRefusedError
from nvlhub.engines.slurm.inventory import Inventory, inventory
from nvlhub.engines.slurm.job import Site, arguments, limit, script
from nvlhub.engines.slurm.reading import Job, Queued
from nvlhub.engines.slurm.reasons import why_ended, why_waiting
from nvlhub.flow.placement import Domain, Placement
from nvlhub.flow.queue import Running, Wait
from nvlhub.flow.reconciliation import Record

logger = logging.getLogger(__name__)

FRESH = 0.4
"""Seconds for which what squeue said counts as now: who ends something asks often."""
BACK_OFF = 5.0
"""Seconds without a question after Slurm gave no answer: each costs the run loop the whole time limit of a command."""
AGAIN = 3.0
"""Seconds between two cancellations of the same job."""
FOREVER = 365 * 24 * 3600
"""Seconds that a stranger's job without a time limit is taken to run."""

PENDING = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
)
RUNNING = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"})
BROKEN = frozenset({"NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED"})


@dataclass
class _Queue:
    """What squeue said, and when (monotonic)."""

    jobs: list[Queued]
    at: float
    by_lease: dict[str, list[Queued]] = field(init=False)
    strangers: frozenset[int] = field(init=False)
    """Running jobs that are none of ours."""

    def __post_init__(self) -> None:
        self.by_lease = {}
        for job in self.jobs:
            if job.lease:
                self.by_lease.setdefault(job.lease, []).append(job)
        self.strangers = frozenset(job.job for job in self.jobs if not job.lease and job.state in RUNNING)


class SlurmEngine(Engine):
    """Submits, sees and cancels jobs. What it keeps in memory is only what Slurm said last."""

    name = "slurm"

    def __init__(
        self, commands: Commands, site: Site, *, model: str = "", modules: tuple[str, ...] = ()
    ) -> None:  # fmt: skip
        self.simulated = site.simulated
        self._commands = commands
        self._site = site
        self._modules = modules
        self._inventory = Inventory()
        self._model = model
        self._queue: _Queue | None = None
        self._quiet_until = float("-inf")
        self._given: dict[int, Placement] = {}
        self._others: tuple[Running, ...] = ()
        self._strangers: frozenset[int] = frozenset()
        self._asked: dict[int, float] = {}
        self.gpu_model = model
        self.capacity()

    @cached_property
    def abilities(self) -> Abilities:
        """What this Slurm can. Raises `EngineError`."""
        version = self._commands.ask("sbatch", "--version")
        told = self._commands.ask("sbatch", "--help"), self._commands.ask("scontrol", "show", "config")
        try:
            return abilities(version, *told)
        except ValueError as error:
            raise EngineError(str(error)) from None

    def capacity(self) -> tuple[Domain, ...]:
        """Return the domains; those that were known last while Slurm does not answer."""
        try:
            nodes = reading.nodes(self._commands.ask("scontrol", "show", "node", "-o"))
            self._inventory = inventory(nodes, reading.topology(self._topology()))
            self.away = False
        except EngineError as error:
            if not self._inventory.domains:
                # Nothing is known of this cluster yet: a portal without capacity would tell people wrong things.
                raise
            self._missed(error)
        self.gpu_model = self._inventory.gpu_type.upper() or self._model
        return self._inventory.domains

    def _topology(self) -> str:
        try:
            return self._commands.ask("scontrol", "show", "topology")
        except SlurmRefusedError:
            # There is none: names and features tell the domains.
            return ""

    def others(self) -> tuple[Running, ...]:
        """Return what strangers' jobs hold; asked anew when other ones run."""
        queue = self._queue
        if queue is not None and queue.strangers != self._strangers:
            try:
                jobs = self._jobs(())
            except EngineError as error:
                self._missed(error)
                return self._others
            now = int(time.time())
            held = [
                Running(placement, job.end or now + FOREVER)
                for job in jobs
                if job.job in queue.strangers and (placement := self._inventory.placement(job.given))
            ]
            self._others, self._strangers = tuple(held), queue.strangers
        return self._others

    def devices(self, placement: Placement) -> tuple[str, ...]:
        """Return e.g. ``nvl001-03/2``: the node, and the index of the GPU on it."""
        nodes = self._inventory.nodes
        return tuple(
            f"{nodes.get((share.domain, share.tray), share.domain)}/{gpu}" for share in placement for gpu in share.gpus
        )

    def start(self, task: Task) -> Iterator[Handle]:
        """Submit a job."""
        yield {"account": task.user}
        if self.away:
            raise EngineError("slurm-away")
        try:
            wanted = arguments(task, self._site, self._inventory, self.abilities)
            text = script(task, self._site, self._environment(task), self._modules)
            said = self._commands.tell(task.user, "sbatch", *wanted, text=text)
        except SlurmAwayError as error:
            self._missed(error)
            raise
        finally:
            # What was known before does not have the job, whether or not it was taken.
            self._queue = None
        job = said.strip().split(";")[0]
        if not job.isdecimal():
            raise EngineError(f"sbatch said {said.strip()[:100]!r}, which is no number of a job")
        yield {"account": task.user, "job": int(job)}

    def _environment(self, task: Task) -> dict[str, str]:
        domains = dict.fromkeys(share.domain for share in task.placement)
        return {
            "NVLHUB_LEASE": task.lease_id,
            "NVLHUB_SIMULATED": str(int(self.simulated)),
            "NVLHUB_DOMAIN": ",".join(domains),
        }

    def look(self, tasks: Mapping[str, Handle]) -> Mapping[str, Sighting]:
        """Look at all jobs at once."""
        try:
            queue = self._listed()
        except EngineError as error:
            self._missed(error)
            return dict.fromkeys(tasks, Sighting(Sight.UNKNOWN))
        seen = {lease_id: self._of(queue, lease_id, handle) for lease_id, handle in tasks.items()}
        self._learn(job for job in seen.values() if job is not None and job.state in RUNNING)
        return {lease_id: self._sighting(tasks[lease_id], job) for lease_id, job in seen.items()}

    def _listed(self) -> _Queue:
        """Return what squeue says, at most once every moment. Raises `EngineError`."""
        now = time.monotonic()
        if now < self._quiet_until:
            raise SlurmAwayError("slurm-away")
        if self._queue is None or now - self._queue.at > FRESH:
            text = self._commands.ask("squeue", "-h", "-t", "all", "-o", reading.QUEUE_FORMAT)
            self._queue = _Queue(reading.queue(text, self._site.pool), time.monotonic())
            self.away = False
            self._asked = {job: at for job, at in self._asked.items() if now - at < 2 * AGAIN}
        return self._queue

    def _missed(self, error: EngineError) -> None:
        if not self.away:
            logger.warning("Slurm does not answer: %s", error)
        self.away, self._queue = True, None
        self._quiet_until = time.monotonic() + BACK_OFF

    def _of(self, queue: _Queue, lease_id: str, handle: Handle) -> Queued | None:
        """Return the job of a lease: the one that it is known by, else the newest with its mark."""
        jobs = queue.by_lease.get(lease_id, [])
        known = next((job for job in jobs if job.job == handle.get("job")), None)
        if known is not None:
            return known
        mine = [job for job in jobs if self._is_of(job, handle)]
        return max(mine, key=lambda job: job.job, default=None)

    def _is_of(self, job: Queued, handle: Handle) -> bool:
        """Tell whether a job can be a lease's: anybody may put its mark on a job, but not run it as another."""
        return not self._commands.as_user or handle.get("account") in {None, job.user}

    def _learn(self, running: Iterable[Queued]) -> None:
        """Look up which GPUs Slurm gave to jobs that newly run."""
        new = [job.job for job in running if job.job not in self._given and job.state != "COMPLETING"]
        if not new:
            return
        try:
            for job in self._jobs(new):
                self._given[job.job] = self._inventory.placement(job.given)
        except EngineError as error:
            logger.warning("what Slurm gave to jobs is not known yet: %s", error)

    def _jobs(self, which: Iterable[int]) -> list[Job]:
        """Return jobs with what they were given: one by one where there are few, else all at once."""
        wanted = list(which)
        if len(wanted) == 1:
            try:
                text = self._commands.ask("scontrol", "show", "job", "-d", "-o", str(wanted[0]))
            except SlurmRefusedError:
                # It is over, and forgotten.
                return []
            return list(reading.jobs(text, self._site.pool))
        text = self._commands.ask("scontrol", "show", "job", "-d", "-o")
        return list(reading.jobs(text, self._site.pool))

    def _sighting(self, handle: Handle, job: Queued | None) -> Sighting:
        if job is None:
            return Sighting(Sight.GONE)
        new = None if handle.get("job") == job.job else {"account": handle.get("account") or job.user, "job": job.job}
        if job.state in PENDING:
            return Sighting(Sight.PENDING, new, wait=Wait(why_waiting(job.reason), job.start))
        if job.state in RUNNING:
            return Sighting(Sight.RUNNING, new, placement=self._given.get(job.job, ()), began=job.start)
        self._given.pop(job.job, None)
        sight = Sight.BROKEN if job.state in BROKEN else Sight.GONE
        # One that was cancelled while it waited has an end, and ran for no time.
        began = job.start if job.ran else None
        return Sighting(sight, new, began=began, ran=job.ran, note=why_ended(job.state))

    def extend(self, lease_id: str, handle: Handle, seconds: int) -> None:
        """Set the time limit of a job; the portal's account must be an operator of the cluster."""
        job = self._one(lease_id, handle)
        minutes = -(-limit(seconds, self._site.grace) // 60)
        try:
            self._commands.ask("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")
        except SlurmAwayError as error:
            self._missed(error)
            raise

    def _one(self, lease_id: str, handle: Handle) -> int:
        job = self._of(self._listed(), lease_id, handle)
        if job is None:
            raise EngineError("slurm-no-job")
        return job.job

    def stop(self, lease_id: str, handle: Handle) -> None:
        """Cancel all jobs of a lease, as whoever runs them."""
        try:
            queue = self._listed()
        except EngineError as error:
            self._missed(error)
            return
        now = time.monotonic()
        for job in queue.by_lease.get(lease_id, []):
            over = job.state not in PENDING | RUNNING or job.state == "COMPLETING"
            if not over and now - self._asked.get(job.job, float("-inf")) > AGAIN:
                self._asked[job.job] = now
                self._cancel(job)

    def _cancel(self, job: Queued) -> None:
        try:
            self._commands.tell(job.user, "scancel", str(job.job))
        except SlurmAwayError as error:
            self._missed(error)
        except EngineError as error:
            # It may have ended by itself; the next look says so.
            logger.warning("job %s could not be cancelled: %s", job.job, error)
        finally:
            self._queue = None

    def strays(self, known: frozenset[str]) -> frozenset[str]:
        """Return leases of our jobs that nobody knows, and forget what is known of jobs that are no more."""
        try:
            queue = self._listed()
        except EngineError as error:
            self._missed(error)
            return frozenset()
        listed = {job.job for job in queue.jobs}
        self._given = {job: placement for job, placement in self._given.items() if job in listed}
        found = {job.lease for job in queue.jobs if job.lease and job.state in PENDING | RUNNING}
        return frozenset(found - known)

    def records(self, since: int) -> list[Record]:
        """Return what ran: by sacct, and for what ended lately by the controller itself, which knows it first."""
        now = int(time.time())
        text = self._commands.ask("scontrol", "show", "job", "-d", "-o")
        found = {
            (job.job, job.start): _record(job.lease, job.gpus, job.start, job.end, job.ran, job.state, now)
            for job in reading.jobs(text, self._site.pool)
            if job.lease and job.gpus and job.start is not None and (job.state in RUNNING or job.ran)
        }
        if self.abilities.accounting:
            for past in reading.records(self._past(since), self._site.pool):
                found.setdefault(
                    (past.job, past.start),
                    _record(past.lease, past.gpus, past.start, past.end, past.ran, past.state, now),
                )
        elif since < now - self.abilities.min_job_age:
            raise EngineError("slurm-no-accounting")
        return [record for record in found.values() if record.ended_at is None or record.ended_at >= since]

    def _past(self, since: int) -> str:
        # sacct refuses a time to come.
        begin = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(min(max(since, 0), int(time.time()))))
        return self._commands.ask(
            "sacct", "-a", "-D", "-X", "-n", "-P", "-S", begin, "-E", "now", "-o", reading.RECORD_FORMAT
        )


def _record(lease: str, gpus: int, start: int, end: int | None, ran: int, state: str, now: int) -> Record:
    """Return one run; time for which it was suspended is not in it."""
    if state in RUNNING and state != "COMPLETING":
        return Record(lease, gpus, now - ran, None)
    return Record(lease, gpus, start, start + ran if end is None else min(end, start + ran))
