"""Single-user servers as Slurm jobs on CPU nodes.

    start:   sbatch ─► job ─► nvlkernels.server on the node ─► POST /hub/nvlhub-server/port {port}
                                                                     └─► address of the node, from Slurm alone
    later:   one squeue for the servers of all users; scancel at the end

What belongs to a server (token, environment, command) goes through the job's script, which Slurm shows to the job's owner and
its own operators alone. No option that a user could set is read here.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import pwd
import re
import shlex
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

from jupyterhub.apihandlers import APIHandler
from jupyterhub.spawner import Spawner, SpawnException
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tornado import web
from traitlets import Enum, Integer, List, Unicode

from nvlhub.engines.base import EngineError
from nvlhub.engines.slurm.commands import Commands, SlurmAwayError, SlurmRefusedError
from nvlhub.engines.slurm.job import EXPORT
from nvlhub.engines.slurm.reasons import OVER, why_ended, why_refused, why_waiting
from nvlhub.explain import duration
from nvlhub.portal.hub_pages import language_of
from nvlhub.portal.slurm_queue import ENDING, JOB_NAME, NODE_NAME, Job, Scheduler, scheduler, tail
from nvlhub.text import say

EAGER = 0.5
"""Seconds for which a look at the jobs is good enough for a start or a stop that is waited for."""
LINGERS = 60.0
"""Seconds after which a job that only clears away is not waited for any more."""
LAST_WORD = 3.0
"""Seconds that a job which is being cleared away has for Slurm to say how it ended."""
LATELY = 600.0
"""Seconds after the end of a server by itself in which there may be kernels of it: the portal's grace is shorter."""
NEAR = 20.0
"""Seconds that a server waits for the node of the last one."""
MARGIN = 5.0
"""Seconds before the hub gives a start up, in which it is given up with words."""
SCRIPT = "#!/bin/sh\nexec {python} -P -m nvlkernels.server <<'NVLHUB'\n{letter}\nNVLHUB\n"
COMMAND_TAKES = 15.0
"""Seconds that a command of Slurm's may take."""
TIME_OPTION = re.compile(r"--time(=|$)|-t")
PARTITION_OPTION = re.compile(r"(?:--partition=|-p)(.+)")
OWN_WORDS = {
    "slurm-refused-account": "servers-refused-account",
    "slurm-refused-budget": "servers-refused-limit",
    "slurm-refused-limit": "servers-refused-limit",
}
"""Refusals for which a server has words of its own."""


def script(python: str, letter: Mapping[str, Any]) -> str:
    """Return the job's script. `letter` is one line of JSON in a quoted here-document: no shell looks into it."""
    return SCRIPT.format(python=shlex.quote(python), letter=json.dumps(letter))


def _named(options: Sequence[str]) -> str:
    """Return the partition that options of sbatch name, each a word or two; empty: none."""
    for word, following in pairwise([*options, ""]):
        if word in {"--partition", "-p"}:
            return following
        if found := PARTITION_OPTION.fullmatch(word):
            return found[1]
    return ""


def log_name(server: str) -> str:
    """Return the name of a server's log in its user's home directory; a server's name may be anything."""
    return f".nvlhub-server{'-' + hashlib.sha256(server.encode()).hexdigest()[:8] if server else ''}.log"


class SlurmSpawner(Spawner):
    """Use it as ``c.JupyterHub.spawner_class``, with :func:`nvlhub.portal.configure` after it.

    `Spawner.mem_limit` and `Spawner.cpu_limit` are what a job asks for.
    """

    hub_handlers: ClassVar[Sequence[tuple[str, type[APIHandler]]]]
    """What the hub has to serve for it: :func:`nvlhub.portal.configure` adds it to ``JupyterHub.extra_handlers``."""

    partition = Unicode("", config=True, help="Partition that servers run in; empty: the cluster's default one.")
    account = Unicode("", config=True, help="Account that servers' jobs belong to; empty: each user's default one.")
    time_limit = Integer(
        0,
        min=0,
        config=True,
        help="""Seconds that a server may run, rounded up to minutes. 0: as long as the partition lets a job run at most
        (`MaxTime`); where an account or a QOS allows less, say so here.""",
    )
    sbatch_options = List(
        Unicode(), config=True, help="Further options of sbatch, each a word of its own, e.g. `--qos=interactive`."
    )
    run_as = Enum(
        ("user", "hub"), "user", config=True,
        help="""Whose jobs they are: each user's own account's (`user`; the hub must be root, or `as_user` be set), or all of
        them the hub's account's (`hub`): only for one person's machine and for demos, as every user can then do whatever
        that account can.""",
    )  # fmt: skip
    as_user = List(
        Unicode(), config=True,
        help="""Words before `sbatch` and `scancel` by which a hub that is not root runs them as a user, with `{username}` for
        the account, e.g. `["sudo", "-n", "-u", "{username}", "--"]`. Left out: the hub is root and changes its identity.""",
    )  # fmt: skip
    slurm_conf = Unicode(
        os.environ.get("SLURM_CONF", ""),
        config=True,
        help="Path of slurm.conf; empty: where Slurm's commands look themselves.",
    )
    python = Unicode(
        sys.executable, config=True, help="Interpreter on the nodes in which this package is installed (`nvlkernels`)."
    )
    directory = Unicode(
        "", config=True,
        help="""Directory that a server starts in and takes for its home, with `{username}`; it must be there on the nodes.
        Empty: the account's home directory.""",
    )  # fmt: skip
    bind = Unicode(
        "", config=True,
        help="""Address of the node that servers listen on; empty: the one by which the node reaches the hub. Set it to
        `0.0.0.0` where the hub reaches the nodes by another network than they reach it.""",
    )  # fmt: skip
    patience = Integer(
        120, min=1, config=True,
        help="""Seconds that a server has from the start of its job until it answers. Waiting in Slurm's queue does not count:
        `start_timeout` is for both together.""",
    )  # fmt: skip
    interrupt_timeout = Integer(
        10, min=0, config=True,
        help="Seconds that a server which is to stop has for ending its kernels, before its job is cancelled.",
    )  # fmt: skip
    start_timeout = Integer(600, config=True, help="Seconds that a start may take, waiting in Slurm's queue included.")

    job = ""
    """Id of the job; empty: there is none."""
    _last: Mapping[str, Any] = MappingProxyType({})
    """How the last job ended by itself: its number, ``state``, ``node``, and when (``at``); empty: it did not."""
    _port: asyncio.Future[int] | None = None
    """The port to come, while a start waits for it."""
    _asked = float("-inf")
    """When the job was submitted, on the monotonic clock: an earlier look cannot know it."""
    _lang = "en"
    _said: tuple[int, str] = (0, "")

    # --- what is submitted ------------------------------------------------------------------------------------

    def _whose(self) -> pwd.struct_passwd | None:
        """Return the account that the job is to belong to; None: the hub's own. Raises `SpawnException`."""
        if self.run_as == "hub":
            return None
        try:
            account = pwd.getpwnam(self.user.name)
        except (KeyError, ValueError):
            raise self._failure("servers-no-account-here", user=self.user.name) from None
        if account.pw_uid == 0:
            raise self._failure("servers-not-root", user=self.user.name)
        if account.pw_uid == os.geteuid():
            return None
        if os.geteuid() != 0 and not self.as_user:
            raise self._failure("servers-not-permitted", user=self.user.name)
        return account

    def _home(self, account: pwd.struct_passwd | None) -> Path:
        if self.directory:
            name = quote(self.user.name, safe="@~")
            if not name.strip("."):
                # What quoting leaves as a way out of the directory.
                name = name.replace(".", "%2E")
            return Path(self.directory.replace("{username}", name))
        return Path((account or pwd.getpwuid(os.geteuid())).pw_dir)

    def _log_file(self, account: pwd.struct_passwd | None) -> Path:
        return self._home(account) / log_name(self.name)

    def get_env(self) -> dict[str, str]:
        """Return the server's environment, laid over that of its job."""
        env: dict[str, str] = super().get_env()
        if self.directory:
            env |= {"HOME": str(self._home(None)), "USER": self.user.name}
        return env

    async def _time(self) -> str:
        """Return the job's time limit as sbatch takes it; empty: not for us to say.

        Without one Slurm would give a job its partition's *default* time, and end a server in the middle of the day.
        """
        if self.time_limit:
            return str(-(-self.time_limit // 60))
        if any(TIME_OPTION.match(word) for word in self.sbatch_options):
            return ""
        try:
            return await self._scheduler.longest(self.partition or _named(self.sbatch_options))
        except EngineError as error:
            # Should it not answer, so will not sbatch, which says so.
            self.log.warning("how long a server may run is not known: %s", error)
            return ""

    def arguments(self, account: pwd.struct_passwd | None, time_limit: str = "") -> list[str]:
        """Return the words after ``sbatch``. Ours come last: an administrator's options do not take them away."""
        server = f"{quote(self.user.name, safe='')}/{quote(self.name, safe='')}"
        return [
            *self.sbatch_options,
            *([f"--partition={self.partition}"] if self.partition else []),
            *([f"--account={self.account}"] if self.account else []),
            *([f"--time={time_limit}"] if time_limit else []),
            *([f"--mem={-(-self.mem_limit // 2**20)}M"] if self.mem_limit else []),
            *([f"--cpus-per-task={-(-self.cpu_limit // 1):.0f}"] if self.cpu_limit else []),
            "--nodes=1", "--ntasks=1", "--parsable", "--no-requeue", f"--job-name={JOB_NAME}",
            f"--comment=nvlhub-server:{server}", EXPORT, f"--chdir={self._home(account)}",
            # A percent sign in it would be Slurm's.
            f"--output={str(self._log_file(account)).replace('%', '%%')}", "--open-mode=truncate",
        ]  # fmt: skip

    @property
    def _scheduler(self) -> Scheduler:
        conf = Path(self.slurm_conf) if self.slurm_conf else None
        run = tuple(word.replace("{username}", "{user}") for word in self.as_user)
        return scheduler(Commands(conf, timeout=COMMAND_TAKES, run=run, as_user=self.run_as == "user"))

    async def _command(self, account: pwd.struct_passwd | None, *command: str, text: str = "") -> str:
        """Run a command with the rights of the job's owner."""
        name = (account or pwd.getpwuid(os.geteuid())).pw_name
        return await self._scheduler.tell(name, *command, text=text)

    async def _submit(self, node: str = "") -> str:
        """Return the id of a new job. Raises `SpawnException`."""
        if self.internal_ssl:
            raise self._failure("servers-no-tls")
        account = self._whose()
        letter = {"argv": [*self.cmd, *self.get_args()], "env": self.get_env(), "bind": self.bind}
        try:
            said = await self._command(
                account, "sbatch", *self.arguments(account, await self._time()),
                *([f"--nodelist={node}"] if node else []), text=script(self.python, letter),
            )  # fmt: skip
        except SlurmAwayError as error:
            self.log.warning("no job was submitted for %s: %s", self._log_name, error)
            raise self._failure("servers-no-scheduler", status=503) from None
        except EngineError as error:
            text = error.text if isinstance(error, SlurmRefusedError) else str(error)
            self.log.warning("no job was submitted for %s: %s", self._log_name, text)
            raise self._refusal(text) from None
        job = said.strip().partition(";")[0]
        if not job.isdecimal():
            raise self._refusal(said)
        return job

    def _refusal(self, said: str) -> SpawnException:
        slug = why_refused(said)
        if slug in OWN_WORDS:
            return self._failure(OWN_WORDS[slug])
        return self._failure("servers-refused", why=say(slug, self._lang) if slug else said.strip()[:200])

    # --- a start ----------------------------------------------------------------------------------------------

    async def start(self) -> str:
        """Submit the job and wait until its server listens; return the server's address. Raises `SpawnException`."""
        self._lang = language_of(self.handler.request if self.handler else None)
        node = self._last_node()
        self._said, self._last = (0, ""), {}
        self._port = asyncio.get_running_loop().create_future()
        try:
            if not (node and await self._begins_on(node)):
                await self._queue()
            port = await self._listening(self._port)
            host = await self._host()
        finally:
            self._port = None
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def _queue(self, node: str = "") -> None:
        """Submit the job, for one node alone where one is named. Raises `SpawnException`."""
        self._asked = time.monotonic()
        self.job = await self._submit(node)
        self._asked = time.monotonic()
        self._tell(10, say("servers-submitted", self._lang, job=self.job))

    def _last_node(self) -> str:
        """Return the node of a server that ended by itself a short while ago; else nothing."""
        node = str(self._last.get("node", ""))
        lately = time.time() - int(self._last.get("at", 0)) < LATELY
        return node if lately and NODE_NAME.fullmatch(node) else ""

    async def _begins_on(self, node: str) -> bool:
        """Submit the job for one node; tell whether it gets there soon. If not, nothing of it is left.

        Kernels that the last server left dial the address that it had: one on another node could not take them back.
        Raises `SpawnException`.
        """
        try:
            await self._queue(node)
        except SpawnException as error:
            if error.reason == "servers-no-scheduler":
                raise
            return False
        until = time.monotonic() + NEAR
        while time.monotonic() < until:
            job = await self._job_now()
            if job is None or job.state not in {"PENDING", "CONFIGURING"}:
                # It began, or ended; or Slurm is away, and could not be told anything else either.
                return True
            self._tell(*self._stands(job))
            await asyncio.sleep(EAGER)
        self.log.warning("%s waits for no place on %s any longer: it takes any node", self._log_name, node)
        await self._end_job()
        if self._port is not None and self._port.done():
            # It had begun in the last moment.
            self._port = asyncio.get_running_loop().create_future()
        return False

    async def _listening(self, port: asyncio.Future[int]) -> int:
        """Wait until the server has said its port; give up as soon as it cannot. Raises `SpawnException`."""
        give_up = time.monotonic() + self.start_timeout - MARGIN
        runs_since: float | None = None
        while not port.done():
            job = await self._job_now()
            if job is not None and job.over:
                raise await self._ended(job)
            if job is not None and job.state == "RUNNING":
                runs_since = runs_since or time.monotonic()
                if time.monotonic() - runs_since > self.patience:
                    raise self._failure(
                        "servers-silent", job=self.job, span=duration(self.patience, self._lang),
                        more=await self._log_end(),
                    )  # fmt: skip
            self._tell(*self._stands(job))
            if time.monotonic() > give_up:
                raise self._failure(
                    "servers-waited", span=duration(self.start_timeout, self._lang), why=self._said[1], status=503
                )  # fmt: skip
            await asyncio.wait([port], timeout=1)
        self._tell(80, say("servers-listening", self._lang))
        return port.result()

    def _stands(self, job: Job | None) -> tuple[int, str]:
        """Return how far a start is, in percent and in words; None: Slurm does not answer."""
        if job is None:
            return self._said[0], say("servers-away", self._lang)
        if job.state == "RUNNING":
            return 50, say("servers-running", self._lang, node=job.node)
        why = say(why_waiting(job.reason), self._lang)
        wait = (job.starts or 0) - int(time.time())
        if wait <= 0:
            return 20, why
        # Whole minutes: the sentence changes, and is told again, once a minute.
        return 20, say("servers-expected", self._lang, why=why, wait=duration(-(-wait // 60) * 60, self._lang))

    async def _host(self) -> str:
        """Return the address of the node that Slurm gave; nothing that the job says counts. Raises `SpawnException`."""
        began = time.monotonic()
        while True:
            job = await self._job_now(began)
            if job is not None and job.over:
                raise await self._ended(job)
            if job is not None and job.node:
                try:
                    return await self._scheduler.address(job.node)
                except EngineError as error:
                    self.log.warning("no address of node %s: %s", job.node, error)
            # The job runs, so Slurm is away for a while: the hub's own patience ends it.
            await asyncio.sleep(1)

    async def _ended(self, job: Job) -> SpawnException:
        slug = why_ended(job.state)
        why = say(slug, self._lang) if slug else job.state.lower().replace("_", " ")
        if job.reason not in {"", "None"}:
            why = say("servers-ended-why", self._lang, why=why, slurm=job.reason)
        return self._failure("servers-ended", job=self.job, why=why, more=await self._log_end())

    async def _log_end(self) -> str:
        account = self._whose()
        owner = account.pw_uid if account else os.geteuid()
        found = await asyncio.to_thread(tail, self._log_file(account), owner)
        return f"\n{say('servers-ended-log', self._lang)}\n{found}" if found else ""

    def _failure(self, slug: str, *, status: int = 400, more: str = "", **members: object) -> SpawnException:
        return SpawnException(
            say(slug, self._lang, **members) + more, reason=slug, log_message=say(slug, "en", **members), status_code=status
        )  # fmt: skip

    def _tell(self, progress: int, text: str) -> None:
        self._said = (progress, text)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what is told of the start, whenever it changes; the hub stops asking when the start is over."""
        told = (0, "")
        while True:
            if self._said != told:
                told = self._said
                progress, text = told
                # The page takes what the hub says for English.
                shown = f'<span lang="{self._lang}">{escape(text)}</span>'
                yield {"progress": progress, "message": text, "html_message": shown}
            await asyncio.sleep(EAGER)

    def take_port(self, port: int) -> bool:
        """Take the port that the server's own job told; tell whether it was waited for."""
        if self._port is None or self._port.done():
            return False
        self._port.set_result(port)
        return True

    # --- afterwards -------------------------------------------------------------------------------------------

    async def _job_now(self, since: float = float("-inf")) -> Job | None:
        """Return the job as Slurm sees it, in a look that began after `since`; None: Slurm cannot tell now."""
        try:
            look = await self._scheduler.look(max(since, self._asked))
        except EngineError as error:
            self.log.warning("squeue tells nothing about servers: %s", error)
            return None
        return look.jobs.get(self.job) or await self._scheduler.end_of(self.job) or Job("COMPLETED")

    async def poll(self) -> int | None:
        """Return None while the job may run; the unknown counts as running."""
        if not self.job:
            return None if self._port is not None else 0
        job = await self._job_now()
        if job is None or not job.over:
            return None
        until = time.monotonic() + LAST_WORD
        while job.state == ENDING and time.monotonic() < until:
            await asyncio.sleep(EAGER)
            job = await self._job_now(time.monotonic() - EAGER) or job
        self._last = {"job": self.job, "state": job.state, "node": job.node, "at": int(time.time())}
        return 0 if job.state == "COMPLETED" else 1

    def end_in_words(self, lang: str) -> str:
        """Return how the last server's job ended, for the pages from which the next one is started; empty: as it should."""
        slug = why_ended(str(self._last.get("state", "")))
        if not slug or self.job:
            return ""
        ago = duration(max(0, int(time.time()) - int(self._last["at"])), lang)
        return say("servers-over", lang, job=self._last["job"], ago=ago, why=say(slug, lang))

    async def stop(self, now: bool = False) -> None:
        """Cancel the job and wait until it is gone, as long as it takes: a server that still runs is not forgotten.

        Unless it is to be `now`, the server is asked to end first.
        """
        self._last = {}
        if now or not await self._ends_itself():
            await self._end_job()

    async def _end_job(self) -> None:
        asked = await self._cancelled()
        ending_since: float | None = None
        while True:
            job = await self._job_now(max(asked, time.monotonic() - EAGER))
            if job is not None and job.state in OVER:
                return
            if job is not None and job.state == ENDING:
                ending_since = ending_since or time.monotonic()
                if time.monotonic() - ending_since > LINGERS:
                    self.log.warning("job %s of %s is still being cleared away", self.job, self._log_name)
                    return
            await asyncio.sleep(EAGER)

    async def _ends_itself(self) -> bool:
        """Ask the server to end with all that it runs; tell whether it did.

        A job that is cancelled gets another signal, the one that Slurm ends jobs with for whatever reason: a server takes
        that for a fate of its own, and leaves its kernels to the next one.
        """
        job = await self._job_now(time.monotonic() - EAGER)
        if job is None or job.state != "RUNNING":
            return False
        try:
            await self._command(self._whose(), "scancel", "--signal=INT", "--batch", self.job)
        except EngineError as error:
            self.log.warning("job %s of %s is cancelled at once: %s", self.job, self._log_name, error)
            return False
        until = time.monotonic() + self.interrupt_timeout
        while time.monotonic() < until:
            await asyncio.sleep(EAGER)
            job = await self._job_now(time.monotonic() - EAGER)
            if job is not None and job.state in OVER:
                return True
        return False

    async def _cancelled(self) -> float:
        """Cancel the job; return when, on the monotonic clock."""
        account = self._whose()
        while True:
            try:
                await self._command(account, "scancel", self.job)
            except SlurmAwayError as error:
                self.log.warning("job %s of %s is not cancelled yet: %s", self.job, self._log_name, error)
                await asyncio.sleep(2)
            except EngineError as error:
                # It has ended by itself; if not, the looks that follow say so, and nothing is forgotten.
                self.log.warning("job %s of %s: %s", self.job, self._log_name, error)
                return time.monotonic()
            else:
                return time.monotonic()

    def get_state(self) -> dict[str, Any]:
        """Return what a restarted hub finds the job by, and how the last one ended."""
        state: dict[str, Any] = super().get_state()
        return {**state, **({"job": self.job} if self.job else {}), **({"last": self._last} if self._last else {})}

    def load_state(self, state: dict[str, Any]) -> None:
        """Find the job again after a restart of the hub."""
        super().load_state(state)
        job = state.get("job")
        self.job = job if isinstance(job, str) and job.isdecimal() else ""
        self._last = state.get("last", {})

    def clear_state(self) -> None:
        """Forget the job: it is gone. How it ended is told until the next one starts."""
        super().clear_state()
        self.job = ""


# --- the port's way to the hub ------------------------------------------------------------------------------------

MOST = 100
"""Bytes of a body; a longer one is not read."""


class PortBody(BaseModel):
    """All that a server may tell."""

    model_config = ConfigDict(extra="forbid", strict=True)

    port: Annotated[int, Field(ge=1024, le=65535)]


class PortHandler(APIHandler):
    """``POST /hub/nvlhub-server/port``: once per start, with the token of the server that starts."""

    async def post(self) -> None:
        """Take the port. 403: not such a server's token; 409: no start waits for it; 400: a body that is not ``{port}``."""
        spawner = self._own()
        try:
            body = PortBody.model_validate_json(self.request.body if len(self.request.body) <= MOST else b"")
        except ValidationError:
            raise web.HTTPError(400, 'the body must be {"port": 1024 to 65535} and nothing else') from None
        if not spawner.take_port(body.port):
            raise web.HTTPError(409, "no start of this server waits for a port")
        self.set_status(204)

    def _own(self) -> SlurmSpawner:
        """Return the server whose own token came with the request."""
        token = self.get_auth_token() or ""
        for spawner in getattr(self.current_user, "spawners", {}).values():
            own = getattr(spawner, "api_token", "")
            if isinstance(spawner, SlurmSpawner) and own and hmac.compare_digest(own.encode(), token.encode()):
                return spawner
        raise web.HTTPError(403, "only a server that starts may tell its port, with its own token")


SlurmSpawner.hub_handlers = ((r"/nvlhub-server/port", PortHandler),)
