"""Runs tasks as jobs of a Slurm cluster, each as its user.

start      one sbatch; the job is found again by its comment
look       one squeue for all jobs; who newly runs is looked up once, with the GPUs that Slurm gave it
capacity   nodes and topology; drained and failed nodes are out of service
records    sacct, and what the controller still remembers
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from nvlhub.engines.base import Engine, EngineError, Handle, Sight, Sighting, Task
from nvlhub.engines.slurm import reading
from nvlhub.engines.slurm.abilities import Abilities, abilities
from nvlhub.engines.slurm.commands import Commands, SlurmAwayError, SlurmRefusedError
from nvlhub.engines.slurm.hostlist import expand
from nvlhub.engines.slurm.inventory import Inventory, inventory
from nvlhub.engines.slurm.job import Site, arguments, limit, script
from nvlhub.engines.slurm.reading import Given, Past, Queued
from nvlhub.engines.slurm.reasons import BROKEN, OVER, OWN, why_ended, why_waiting
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
STILL = frozenset({"SUSPENDED", "STOPPED"})
"""States of a job that has its nodes and does nothing."""

FEW = 8
"""Jobs that are asked about one by one at most; more of them all at once."""
AT_ONCE = 200
"""Jobs that one command cancels at most."""


@dataclass
class _Queue:
    """What squeue said, and when (monotonic)."""

    jobs: list[Queued]
    at: float
    by_number: dict[int, Queued] = field(init=False)
    by_lease: dict[str, list[Queued]] = field(init=False)

    def __post_init__(self) -> None:
        self.by_number = {job.job: job for job in self.jobs}
        self.by_lease = {}
        for job in self.jobs:
            if job.lease:
                self.by_lease.setdefault(job.lease, []).append(job)


class SlurmEngine(Engine):
    """Submits, sees and cancels jobs. What it keeps in memory is only what Slurm said last."""

    name = "slurm"
    count_every = 10

    def __init__(self, commands: Commands, site: Site, *, model: str = "") -> None:
        self.simulated = site.simulated
        self.to_the_tray = site.pin == "tray"
        self._commands = commands
        self._site = site
        self._inventory = Inventory()
        self._model = model
        self._queue: _Queue | None = None
        self._quiet_until = float("-inf")
        self._given: dict[int, Placement] = {}
        self._past: dict[int, Past] = {}
        self._accounts: dict[str, str] = {}
        """Whose job a lease's is, of those that were looked at last."""
        self._others: tuple[Running, ...] = ()
        self._strangers: frozenset[int] = frozenset()
        self._asked: dict[int, float] = {}
        self._touched = False
        """Whether jobs were cancelled since squeue was asked."""
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
            self._need_answers()
            nodes = reading.nodes(self._commands.ask("scontrol", "show", "node", "-o"))
            self._inventory = inventory(nodes, reading.topology(self._topology()))
            self.closed = self._is_closed()
            self.away = False
        except EngineError as error:
            if not self._inventory.domains:
                # Nothing is known of this cluster yet: a portal without capacity would tell people wrong things.
                raise
            self._missed(error)
        self.gpu_model = self._inventory.gpu_type.upper() or self._model
        return self._inventory.domains

    def _is_closed(self) -> bool:
        """Tell whether the partition of the jobs takes or starts none now."""
        try:
            found = list(reading.partitions(self._commands.ask("scontrol", "show", "partition", "-o")))
        except SlurmRefusedError:
            return False
        named = [one for one in found if (one.name == self._site.partition if self._site.partition else one.default)]
        return any(one.state != "UP" for one in named)

    def _topology(self) -> str:
        try:
            return self._commands.ask("scontrol", "show", "topology")
        except SlurmRefusedError:
            # There is none: names and features tell the domains.
            return ""

    def others(self) -> tuple[Running, ...]:
        """Return what strangers' jobs hold; asked anew when other ones run."""
        try:
            jobs = self._listed().jobs
            # How many GPUs they ask for is said in too many ways: the partition tells whose turn it is among them.
            waiting = (
                job for job in jobs if job.state == "PENDING" and job.reason not in OWN and not self._is_ours(job)
            )
            self.queue_outside = sum(not self._inventory.partitions.isdisjoint(job.partitions) for job in waiting)
            # However a job asked for its GPUs: what it was given tells.
            running = [
                job
                for job in jobs
                if job.state in RUNNING and not self._is_ours(job) and self._inventory.places.keys() & _nodes(job)
            ]
            strangers = frozenset(job.job for job in running)
            if strangers != self._strangers:
                given = self._placements(running)
                now = int(time.time())
                held = [Running(given[job.job], job.end or now + FOREVER) for job in running if given.get(job.job)]
                self._others, self._strangers = tuple(held), strangers
        except EngineError as error:
            self._missed(error)
        return self._others

    def _is_ours(self, job: Queued) -> bool:
        """Tell whether a job that has the mark of a lease can be that lease's."""
        return bool(job.lease) and self._is_of(job, {"account": self._accounts.get(job.lease)})

    def devices(self, placement: Placement) -> tuple[str, ...]:
        """Return e.g. ``nvl001-03/2``: the node, and the index of the GPU on it."""
        nodes = self._inventory.nodes
        return tuple(
            f"{nodes.get((share.domain, share.tray), share.domain)}/{gpu}" for share in placement for gpu in share.gpus
        )

    def start(self, task: Task) -> Iterator[Handle]:
        """Submit a job."""
        account = self._commands.account or task.user
        yield {"account": account}
        if self.away:
            raise SlurmAwayError("slurm-away")
        try:
            wanted = arguments(task, self._site, self._inventory, self.abilities)
            text = script(task, self._site, self._environment(task))
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
        yield {"account": account, "job": int(job)}

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
            seen = self._seen(tasks)
            if any("job" in tasks[lease_id] and job is None for lease_id, job in seen.items()):
                # What is not there any more is looked for twice: an answer that lacks it ends nothing.
                self._queue = None
                seen = self._seen(tasks)
        except EngineError as error:
            self._missed(error)
            return dict.fromkeys(tasks, Sighting(Sight.UNKNOWN))
        self._accounts |= {
            lease_id: str(handle["account"]) for lease_id, handle in tasks.items() if "account" in handle
        }
        self._learn([job for job in seen.values() if job is not None and job.state in RUNNING])
        self._remember([tasks[lease_id].get("job") for lease_id, job in seen.items() if job is None])
        return {lease_id: self._sighting(tasks[lease_id], job) for lease_id, job in seen.items()}

    def _seen(self, tasks: Mapping[str, Handle]) -> dict[str, Queued | None]:
        """Return the job of each lease, as squeue says; None: there is none. Raises `EngineError`."""
        queue = self._listed()
        return {lease_id: self._of(queue, lease_id, handle) for lease_id, handle in tasks.items()}

    def _listed(self, *, as_it_was: bool = False) -> _Queue:
        """Return what squeue says, at most once every moment; `as_it_was`: before what was cancelled in this moment.

        Raises `EngineError`.
        """
        self._need_answers()
        now = time.monotonic()
        if self._queue is None or now - self._queue.at > FRESH or (self._touched and not as_it_was):
            self._touched = False
            self._queue = _Queue(self._queued(), time.monotonic())
            self.away = False
            self._asked = {job: at for job, at in self._asked.items() if now - at < 2 * AGAIN}
        return self._queue

    def _queued(self) -> list[Queued]:
        """Return all jobs that the controller knows. Raises `EngineError`."""
        mark = reading.fresh_separator()
        text = self._commands.ask("squeue", "-h", "-t", "all", "-o", reading.queue_format(mark))
        return reading.queue(text, self._site.pool, mark)

    def _need_answers(self) -> None:
        """Raise `SlurmAwayError` for a while after there was no answer."""
        if time.monotonic() < self._quiet_until:
            raise SlurmAwayError("slurm-away")

    def _missed(self, error: EngineError) -> None:
        if not self.away:
            logger.warning("Slurm does not answer: %s", error)
        self.away, self._queue = True, None
        if time.monotonic() >= self._quiet_until:
            # Not again for what was not asked.
            self._quiet_until = time.monotonic() + BACK_OFF

    def _of(self, queue: _Queue, lease_id: str, handle: Handle) -> Queued | None:
        """Return the job of a lease: the one that it is known by; before that the first that lives, else the newest.

        There can be others: of a start that nobody knew had worked, and of its repetition, or such as its user marked.
        They are ended.
        """
        mine = self._mine(queue, lease_id, handle)
        living = [job for job in mine if _lives(job)]
        if "job" in handle:
            chosen = next((job for job in mine if job.job == handle["job"]), None)
        else:
            chosen = min(living, key=lambda job: job.job, default=max(mine, key=lambda job: job.job, default=None))
        self._cancel([job for job in living if job is not chosen])
        return chosen

    def _mine(self, queue: _Queue, lease_id: str, handle: Handle) -> list[Queued]:
        """Return the jobs that can be a lease's: whoever runs a job can change its mark, but not its number."""
        number = handle.get("job")
        known = queue.by_number.get(number) if isinstance(number, int) else None
        others = [job for job in queue.by_lease.get(lease_id, []) if job is not known]
        return [job for job in ([known] if known else []) + others if self._is_of(job, handle)]

    def _is_of(self, job: Queued, handle: Handle) -> bool:
        """Tell whether a job is run by whom it must be: anybody may put our mark on a job, but not run it as another."""
        return job.user == (handle.get("account") or self._commands.account or job.user)

    def _learn(self, running: Sequence[Queued]) -> None:
        """Look up which GPUs Slurm gave to jobs that newly run."""
        new = [job for job in running if job.job not in self._given and job.state != "COMPLETING"]
        if not new:
            return
        try:
            self._given |= self._placements(new)
        except EngineError as error:
            logger.warning("what Slurm gave to jobs is not known yet: %s", error)

    def _placements(self, which: Sequence[Queued]) -> dict[int, Placement]:
        """Return the GPUs of running jobs that Slurm can tell of: one by one where there are few, else all at once.

        Words of people can look like Slurm's: what is not on the very nodes of a job is none of it, and where there are
        several answers only that job is asked about.
        """
        jobs = {job.job: job for job in which}
        names = {job.job: job.name for job in which}
        found: dict[int, list[Given]] = {number: [] for number in jobs}
        if len(jobs) > FEW:
            found = reading.given(self._commands.ask("scontrol", "show", "job", "-d", "-o"), names)
        alone = [number for number, told in found.items() if len(told) != 1]
        for number in alone[:FEW]:
            try:
                text = self._commands.ask("scontrol", "show", "job", "-d", "-o", str(number))
            except SlurmRefusedError:
                # It is over, and forgotten.
                continue
            found[number] = reading.given(text, names).get(number, [])
        return {
            number: self._inventory.placement(told[0])
            for number, told in found.items()
            if told
            and (len(told) == 1 or number in alone[:FEW])
            and {node for node, _ in told[0]} == _nodes(jobs[number])
        }

    def _remember(self, numbers: Iterable[object]) -> None:
        """Look up in the accounting what became of jobs that the controller has forgotten."""
        forgotten = [number for number in numbers if isinstance(number, int) and number not in self._past]
        if not forgotten:
            return
        try:
            if self.abilities.accounting:
                told = self._recorded("-j", ",".join(map(str, forgotten)))
                self._past |= {past.job: past for past in told}
        except EngineError as error:
            logger.warning("what became of jobs is not known: %s", error)

    def _sighting(self, handle: Handle, job: Queued | None) -> Sighting:
        if job is None:
            number = handle.get("job")
            past = self._past.get(number) if isinstance(number, int) else None
            if past is None or past.state in RUNNING:
                return Sighting(Sight.GONE)
            sight = Sight.BROKEN if past.state in BROKEN else Sight.GONE
            return Sighting(sight, began=past.start, ran=past.ran, note=why_ended(past.state))
        new = None if handle.get("job") == job.job else {"account": handle.get("account") or job.user, "job": job.job}
        if job.state in PENDING:
            wait = Wait(why_waiting(job.reason), job.start)
            return Sighting(Sight.PENDING, new, wait=wait, held_back=job.reason in OWN)
        if job.state in RUNNING:
            still = Wait("slurm-still", None) if job.state in STILL else None
            return Sighting(
                Sight.RUNNING, new, placement=self._given.get(job.job, ()), began=job.start, wait=still
            )  # fmt: skip
        if job.state not in OVER:
            return Sighting(Sight.UNKNOWN)
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
        self._stop({lease_id: handle})

    def stop_strays(self, lease_ids: Iterable[str]) -> None:
        """Cancel all jobs of leases that nobody knows."""
        self._stop({lease_id: {} for lease_id in lease_ids})

    def _stop(self, tasks: Mapping[str, Handle]) -> None:
        try:
            queue = self._listed(as_it_was=True)
        except EngineError as error:
            self._missed(error)
            return
        mine = (job for lease_id, handle in tasks.items() for job in self._mine(queue, lease_id, handle))
        self._cancel([job for job in mine if _lives(job)])

    def _cancel(self, jobs: Iterable[Queued]) -> None:
        """Cancel jobs as whoever runs them: one command for each of these; again after a while, if they are still there."""
        now = time.monotonic()
        whose: dict[str, list[int]] = {}
        for job in jobs:
            if now - self._asked.get(job.job, float("-inf")) > AGAIN:
                whose.setdefault(job.user, []).append(job.job)
        for user, all_of_them in whose.items():
            numbers = all_of_them[:AT_ONCE]
            self._asked |= dict.fromkeys(numbers, now)
            try:
                self._commands.tell(user, "scancel", *map(str, numbers))
            except SlurmAwayError as error:
                self._missed(error)
                return
            except EngineError as error:
                # They may have ended by themselves; the next look says so.
                logger.warning("of jobs %s some could not be cancelled: %s", numbers, error)
            self._touched = True

    def strays(self, known: frozenset[str]) -> frozenset[str]:
        """Return leases of our jobs that nobody knows, and forget what is known of jobs that are no more."""
        try:
            queue = self._listed()
        except EngineError as error:
            self._missed(error)
            return frozenset()
        self._given = {job: placement for job, placement in self._given.items() if job in queue.by_number}
        self._past.clear()
        self._accounts = {lease_id: account for lease_id, account in self._accounts.items() if lease_id in known}
        found = {job.lease for job in queue.jobs if job.lease and _lives(job) and self._is_of(job, {})}
        return frozenset(found - known)

    def records(self, since: int) -> list[Record]:
        """Return what ran: by sacct, and for what ended lately by the controller itself, which knows it first."""
        now = int(time.time())
        # The controller first: what it forgets meanwhile stands in the accounting.
        queue = self._queued()
        past = []
        if self.abilities.accounting:
            # sacct refuses a time to come.
            begin = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(min(max(since, 0), now)))
            past = self._recorded("-S", begin, "-E", "now")
        elif since < now - self.abilities.min_job_age:
            raise EngineError("slurm-no-accounting")
        found = {(run.job, run.start): _record(run, run.lease, run.start, run.end, now) for run in past}
        for job in queue:
            # What the accounting has not heard yet; of what is over it has the last word.
            known = found.get((job.job, job.start or 0))
            if (
                job.lease and job.gpus and job.start is not None and (job.state in RUNNING or job.ran)
                and (known is None or known.ended_at is None) and self._is_of(job, {})
            ):  # fmt: skip
                lease = known.lease_id if known else job.lease
                found[job.job, job.start] = _record(job, lease, job.start, job.end, now)
        return [record for record in found.values() if record.ended_at is None or record.ended_at >= since]

    def _recorded(self, *which: str) -> list[Past]:
        """Return what accounting has of our jobs. Raises `EngineError`."""
        mark = reading.fresh_separator()
        text = self._commands.ask(
            "sacct", "-a", "-D", "-X", "-n", "-p", f"--delimiter={mark}", "-o", self._record_format, *which
        )
        told = reading.records(text, self._site.pool, mark, self._record_format)
        return [past for past in told if self._commands.account in {"", past.user}]

    @cached_property
    def _record_format(self) -> str:
        return reading.record_format(self._commands.ask("sacct", "--helpformat"))


def _lives(job: Queued) -> bool:
    return job.state not in OVER and job.state != "COMPLETING"


def _nodes(job: Queued) -> set[str]:
    return set(expand(job.nodes))


def _record(run: Queued | Past, lease: str, start: int, end: int | None, now: int) -> Record:
    """Return one run; time for which it was suspended is not in it."""
    task: dict[str, str | int] = {"account": run.user, "job": run.job}
    if run.state in RUNNING and run.state != "COMPLETING":
        return Record(lease, run.gpus, now - run.ran, None, task)
    return Record(lease, run.gpus, start, start + run.ran if end is None else min(end, start + run.ran), task)
