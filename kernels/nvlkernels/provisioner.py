"""A kernel provisioner that takes a lease before the kernel starts, and gives it back when the kernel is gone.

    pre_launch                 the first time: mailbox, lease, wait for the agent; at a restart nothing: the lease is kept
    launch_kernel              the agent starts the kernel and reports its ports
    cleanup(restart=False)     the lease is given back; so it is when a start fails, and when the kernel is given up

A kernel that a crashed server left (:data:`LEFT`) is "started" the same way: ``pre_launch`` makes the mailbox again and waits for the
agent, and ``launch_kernel`` returns where the kernel listens already.

Named in a kernelspec as ``nvlhub-lease``, with ``project`` and ``profile`` in its config.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.provisioning import KernelProvisionerBase
from pydantic import SecretStr
from traitlets import Bool, Integer, Unicode

from nvlhub.text import say
from nvlhub.wire import Extend, LeaseAsk, LeaseView, State
from nvlkernels.client import Portal, PortalDownError, PortalError, spoken, token_of
from nvlkernels.kept import Kept, Session, shelf
from nvlkernels.mailbox import Line, Mailbox

BEAT = 5.0
"""Seconds between two signs of life to the portal."""
QUEUE_POLL = 1.0
"""Seconds between two looks at a lease that waits."""
PATIENT = 3
"""Seconds for which an agent is left running until the portal has heard that its lease is given back."""
LAUNCH = 60.0
"""Seconds that a kernel has to report its ports."""
HEARD = 30.0
"""Seconds in which the agent of a kernel that a crashed server left must be heard."""
PORT_AGAIN = 0.5
"""Seconds between two tries to have a mailbox's port again."""
WORKERS_WITHIN = 2.0
"""Seconds that a restart waits to know what the kernel's clusters hold."""
LOST_RC = 137

WAITING: dict[str, LeaseProvisioner] = {}
"""Kernels whose start waits for a lease, by kernel id: what can be cancelled."""
HELD: dict[str, LeaseProvisioner] = {}
"""All provisioners of this server that hold a lease or wait for one, by kernel id."""
LEFT: dict[str, Kept] = {}
"""Kernels that an earlier server left, by kernel id: their next start finds them running."""
ENDED: dict[str, tuple[float, str]] = {}
"""Why kernels lost their lease, by kernel id: when (monotonic) and in words. Forgotten after :data:`TOLD` seconds."""
TOLD = 300.0
OVER_WITHIN = 3.0
"""Seconds in which the portal knows why an agent left."""


class LeaseProvisioner(KernelProvisionerBase):
    """Holds one lease for one kernel."""

    project = Unicode(config=True, help="Short name of the project that pays.")
    profile = Unicode(config=True, help="Name of the profile to start.")
    seconds = Integer(0, config=True, help="Time to pay for; 0: the profile's longest.")
    preemptible = Bool(False, config=True, help="Whether it makes room for others as soon as they need its GPUs.")
    bind = Unicode(
        os.environ.get("NVLHUB_MAILBOX_BIND", "127.0.0.1"), config=True,
        help="Address that node agents dial; it must be reachable from where kernels run.",
    )  # fmt: skip

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._portal = Portal()
        self.lease: LeaseView | None = None
        self._mailbox: Mailbox | None = None
        self._line: Line | None = None
        """Set while there is a lease whose agent can be spoken to."""
        self._beating: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[Any] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._cancelled = False
        self._alive = False
        self._generation = 0
        self.zone = ""
        """Time zone that the user is told times in; empty: not known yet."""
        self.warning = ""
        """What the portal last said the user should know."""
        self._heard = time.monotonic()
        """When the lease was last heard of: its ``now``."""
        self._left_behind: Kept | None = None
        """Set while a kernel of an earlier server is taken back."""
        self._cwd: str | None = None
        self.sessions: tuple[Session, ...] = ()
        """What opened the kernel, as it was written down last."""

    # --- before the kernel ------------------------------------------------------------------------------------

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Take a lease, unless one is held since the last start. Raises `RuntimeError` with words for the user."""
        kwargs.pop("transport_encryption", None)
        extra = kwargs.pop("extra_arguments", [])
        environment = kwargs.pop("env", None) or dict(os.environ)
        if self.lease is None:
            self._left_behind = LEFT.pop(str(self.kernel_id), None)
            await (self._take() if self._left_behind is None else self._take_back(self._left_behind))
        elif self._left:
            # The agent has left, so the lease is over: a restart can only say why.
            await self._over()
            raise RuntimeError(say("kernel-ended", self._portal.lang, detail=self._why()))
        argv = [part.replace("{resource_dir}", self.kernel_spec.resource_dir) for part in self.kernel_spec.argv]
        if argv[0] in {"python", "python3"}:
            argv[0] = sys.executable
        told: dict[str, Any] = await super().pre_launch(cmd=[*argv, *extra], env=environment, **kwargs)
        return told

    async def _take(self) -> None:
        self._cancelled = False
        HELD[self.kernel_id] = WAITING[self.kernel_id] = self
        self._asking = asyncio.create_task(self._ask())
        try:
            await asyncio.shield(self._asking)
        except asyncio.CancelledError:
            if not self._cancelled:
                self._asking.cancel()
                await self._give_back()
                raise
            begun = self.lease is not None and self.lease.started_at is not None
            await self._give_back()
            raise RuntimeError(
                say("kernel-cancelled-late" if begun else "kernel-cancelled", self._portal.lang)
            ) from None
        except (PortalError, PortalDownError) as error:
            await self._give_back()
            raise RuntimeError(str(error)) from None
        except BaseException:
            await self._give_back()
            raise
        finally:
            WAITING.pop(self.kernel_id, None)

    async def _ask(self) -> None:
        """Ask for the lease, and wait until its agent has dialled in."""
        self._mailbox = Mailbox(self.bind)
        self._generation += 1
        ask = LeaseAsk(
            project=self.project,
            profile=self.profile,
            seconds=self.seconds or None,
            label=str(self.kernel_id)[:80],
            mailbox=self._mailbox.address,
            preemptible=self.preemptible,
        )
        self.lease = await self._portal.ask(ask, f"{self.kernel_id}-{self._generation}")
        self._line = line = self._mailbox.line(self.lease.id)
        self._beating = asyncio.create_task(self._beat())
        while not line.hello.done():
            await asyncio.wait([line.hello], timeout=QUEUE_POLL)
            if not line.hello.done():
                with contextlib.suppress(PortalDownError):
                    self._know(await self._portal.lease(self.lease.id))
                    if self.lease.expected_start is not None and not self.zone:
                        self.zone = await self._portal.zone()
                self._check(self.lease)

    def _check(self, lease: LeaseView) -> None:
        if lease.end_reason is not None:
            raise RuntimeError(say("kernel-ended", self._portal.lang, detail=lease.detail))

    # --- a kernel that an earlier server left ------------------------------------------------------------------

    async def _take_back(self, kept: Kept) -> None:
        """Speak to the agent of a running kernel again. Raises `RuntimeError` with words for the user."""
        HELD[self.kernel_id] = self
        try:
            await self._find_agent(kept)
        except (RuntimeError, TimeoutError, ValueError, zmq.ZMQError) as error:
            # Not heard, or not to be heard: its port is somebody else's.
            why = str(error) if isinstance(error, RuntimeError) else say("kernel-not-back", self._portal.lang)
            self._tell_end(why)
            await self._give_back()
            raise RuntimeError(why) from None
        except BaseException:
            await self._give_back()
            raise

    async def _find_agent(self, kept: Kept) -> None:
        lease = kept.lease
        # What runs goes on while the portal is down, also this: the agent decides.
        with contextlib.suppress(PortalDownError):
            lease = await self._portal.lease(lease.id)
        if lease.label != str(self.kernel_id):
            # Not what this server wrote; whose lease it is does not matter, it is left alone.
            raise RuntimeError(say("kernel-not-its-lease", self._portal.lang))
        self._check(lease)
        self._know(lease)
        self.sessions = kept.sessions
        self._mailbox = await _again(kept)
        self._line = line = self._mailbox.line(lease.id)
        self._beating = asyncio.create_task(self._beat())
        line.resume()
        said = await asyncio.wait_for(asyncio.shield(line.hello), HEARD)
        runs = said.get("runs", {})
        line.run().resume(runs.get("", kept.run), runs="" in runs)
        # The hub took the token of the server that died; clusters in the kernel need this one's.
        line.say("files", files={"token": token_of()})

    def _tell_dead(self, why: str) -> None:
        """Tell everybody that a kernel which could not start again is gone: nobody else would, and it would be listed on."""
        self._tell_end(why)
        restarter = getattr(self.parent, "_restarter", None)
        if restarter is not None:
            restarter.stop()
            restarter._fire_callbacks("dead")  # noqa: SLF001  # there is no other way

    def _tell_end(self, why: str) -> None:
        ENDED[str(self.kernel_id)] = (time.monotonic(), why)
        self.log.warning("kernel %s: %s", self.kernel_id, why)

    def _go_on(self, kept: Kept) -> dict[str, Any]:
        """Return where a kernel listens that runs already."""
        # What the earlier server wrote is the same; written again it is removed with the kernel.
        Path(self.parent.connection_file).unlink(missing_ok=True)
        self._left_behind = None
        return self._runs({**kept.connection})

    def _keep(self) -> None:
        """Write down what the next server needs to take this kernel back."""
        manager: Any = self.parent
        if self.lease is None or self._mailbox is None or self._line is None or not self.connection_info:
            return
        keys = self._mailbox.keys
        kept = Kept(
            kernel=str(self.kernel_id), kernel_name=manager.kernel_name, cwd=self._cwd, lease=self.lease, host=self.bind,
            port=keys.port, public=keys.public, secret=SecretStr(keys.secret), token=SecretStr(keys.token),
            connection=self._connection(), run=self._line.run().number, sessions=self.sessions,
        )  # fmt: skip
        shelf().save(kept)

    def opened_by(self, sessions: tuple[Session, ...]) -> None:
        """Hear which sessions use the kernel."""
        if sessions != self.sessions:
            self.sessions = sessions
            self._keep()

    # --- waiting ----------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """End the wait for a lease; the place in the queue is given back."""
        if self._asking is not None and not self._asking.done():
            self._cancelled = True
            self._asking.cancel()

    # --- the kernel -------------------------------------------------------------------------------------------

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        """Have the agent start the kernel; return where it listens."""
        again = bool(self.connection_info)
        try:
            return await self._launch(cmd, kwargs)
        except BaseException as error:
            await self._give_back()
            if again and isinstance(error, RuntimeError):
                self._tell_dead(str(error))
            raise

    async def _launch(self, cmd: list[str], kwargs: dict[str, Any]) -> dict[str, Any]:
        if self._line is None:
            raise RuntimeError(say("kernel-ended", self._portal.lang, detail=self._why()))
        self._cwd = kwargs.get("cwd")
        if self._left_behind is not None:
            return self._go_on(self._left_behind)
        if self.connection_info:
            await self._end_workers()
        # Ports 0 the first time, so that they are chosen where the kernel runs; at a restart the known ones, so that
        # open websockets stay valid.
        answer = self._line.run().start(
            argv=cmd, env=kwargs.get("env", {}), cwd=self._cwd, conn=self._connection()
        )  # fmt: skip
        said = await self._answered(self._line, answer)
        if said.get("phase") == "bye":
            await self._over()
            raise RuntimeError(say("kernel-ended", self._portal.lang, detail=self._why()))
        if said["kind"] != "started":
            tail = said.get("tail", "")
            raise RuntimeError(say("kernel-failed", self._portal.lang, rc=str(said.get("rc")), tail=tail))
        return self._runs(said["conn"])

    async def _answered(self, line: Line, answer: asyncio.Future[dict[str, Any]]) -> dict[str, Any]:
        """Wait for the agent's word on a start. Time in which it is not heard does not count: it may not have been asked yet.

        Raises `RuntimeError` with words for the user.
        """
        left = LAUNCH
        while not answer.done():
            began = time.monotonic()
            await asyncio.wait([answer], timeout=min(BEAT, left))
            if line.speaks:
                left -= time.monotonic() - began
            elif await self._lease_over():
                raise RuntimeError(say("kernel-ended", self._portal.lang, detail=self._why()))
            if left <= 0 and not answer.done():
                raise RuntimeError(say("kernel-silent", self._portal.lang, seconds=str(int(LAUNCH))))
        return answer.result()

    async def _lease_over(self) -> bool:
        """Ask the portal whether the lease of an agent that is not heard has ended; a portal that is away has not said so."""
        with contextlib.suppress(PortalDownError, PortalError):
            if self.lease is not None:
                self._know(await self._portal.lease(self.lease.id))
        return self.lease is None or self.lease.end_reason is not None

    def _runs(self, connection: dict[str, Any]) -> dict[str, Any]:
        """Take in that the kernel runs and where it listens."""
        self._alive = True
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        connection["key"] = connection["key"].encode()
        self.connection_info = connection
        self._keep()
        return connection

    async def _end_workers(self) -> None:
        """Give back what clusters of the kernel held that is about to start anew: nobody speaks for it any more."""
        if self.lease is not None:
            with contextlib.suppress(PortalDownError, PortalError, TimeoutError):
                # Known before the kernel is back and takes others. A portal that is slow hears their silence instead.
                workers = await asyncio.wait_for(self._portal.workers(self.lease.id), WORKERS_WITHIN)
                self._ending = asyncio.create_task(self._end(workers))

    async def _end(self, leases: list[LeaseView]) -> None:
        with contextlib.suppress(PortalDownError, PortalError):
            await asyncio.gather(*(self._portal.end(lease.id) for lease in leases))

    def _connection(self) -> dict[str, Any]:
        if self.connection_info:
            known: dict[str, Any] = dict(self.connection_info)
            return {**known, "key": known["key"].decode()}
        manager: Any = self.parent
        if manager.curve_publickey is None:
            manager.curve_publickey, manager.curve_secretkey = zmq.curve_keypair()
        return {
            **dict.fromkeys(("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"), 0),
            "transport": "tcp",
            "signature_scheme": manager.session.signature_scheme,
            "key": manager.session.key.decode(),
            "kernel_name": manager.kernel_name,
            "curve_publickey": manager.curve_publickey.decode(),
            "curve_secretkey": manager.curve_secretkey.decode(),
        }

    @property
    def address(self) -> str:
        """The address of the machine where the kernel runs, by the word of its agent; empty while there is none."""
        return str(self.connection_info.get("ip", ""))

    @property
    def has_process(self) -> bool:
        """Whether a kernel was started and not yet cleaned up."""
        return self._alive

    async def poll(self) -> int | None:
        """Return None while the kernel runs, else how it ended."""
        line = self._line
        if line is None or not self._alive:
            return LOST_RC
        # One that is not heard may stand still, or be cut off for a while, with everything that it has in memory: whether
        # that has lasted too long the portal decides, who may tell it so.
        return None if (exited := line.run().exited) is None else int(exited.get("rc") or 0)

    @property
    def silence(self) -> float:
        """Seconds for which a kernel that should run has not been heard; 0: it gives signs of life."""
        return self._line.silence if self._line is not None and self._alive else 0.0

    async def wait(self) -> int | None:
        """Wait for the kernel's end."""
        while self._line is not None and await self.poll() is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._line.run().ended.wait(), 1.0)
        return await self.poll() or 0

    async def send_signal(self, signum: int) -> None:
        """Pass a signal on to the kernel's process group; 0 asks whether there is one."""
        if self._line is not None and signum:
            self._line.run().signal(int(signum))

    async def kill(self, restart: bool = False) -> None:
        """Kill the kernel; the lease is kept for a restart."""
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:
        """Ask the kernel to end; the lease is kept for a restart."""
        await self.send_signal(signal.SIGTERM)

    async def cleanup(self, restart: bool = False) -> None:
        """Give the lease back, unless the kernel is about to start again."""
        self._alive = False
        if not restart:
            await self._give_back()

    # --- the lease --------------------------------------------------------------------------------------------

    def _know(self, lease: LeaseView) -> None:
        self.lease, self._heard = lease, time.monotonic()

    @property
    def seconds_left(self) -> int | None:
        """Seconds until the lease ends, by the portal's clock; None while that is not known."""
        if self.lease is None or self.lease.deadline is None:
            return None
        return max(0, self.lease.deadline - self.lease.now - int(time.monotonic() - self._heard))

    async def extend(self, extend: Extend) -> None:
        """Pay for more time. Raises `PortalError` or `PortalDownError` with words for the user."""
        if self.lease is not None:
            self._know(await self._portal.extend(self.lease.id, extend))

    @property
    def _left(self) -> bool:
        """Whether the agent has said good-bye."""
        return self._line is not None and (self._line.run().exited or {}).get("phase") == "bye"

    async def _watch(self) -> None:
        """Notice at once that the agent leaves though nobody here asked it to: the lease was ended from outside."""
        while (line := self._line) is not None and not self._left:
            await line.run().ended.wait()
            await asyncio.sleep(0 if self._left else 0.1)
        if self._left and self._alive:
            await self._over()

    async def _beat(self) -> None:
        """Give signs of life while the agent gives them; take the portal's word when the lease is over."""
        while self.lease is not None:
            try:
                if await self._beat_once(self.lease):
                    await self._over()
                    return
            except (PortalDownError, PortalError):
                # A portal that is away hears the next one.
                pass
            except Exception:
                # Whatever it was (an answer that nobody understands): without the next one the kernel would be lost.
                self.log.exception("a sign of life of kernel %s failed; trying again", self.kernel_id)
            await asyncio.sleep(BEAT)

    async def _beat_once(self, lease: LeaseView) -> bool:
        """Give a sign of life, if the agent does; return whether the portal says that the lease is over."""
        if self._line is None or not self._line.speaks:
            return bool(self.silence) and await self._lease_over()
        beat = self._line.beat("running" if self._line.hello.done() else "starting", self._idle())
        answer = await self._portal.beat(lease.id, beat)
        self.warning = answer.warn
        if self.lease is not None:
            self._know(self.lease.model_copy(update={"deadline": answer.deadline, "now": answer.now}))
        return answer.state in {State.ENDING, State.SETTLED} and self._alive

    def _idle(self) -> int:
        """Return for how many seconds the kernel has done nothing; 0 where nobody watches."""
        manager = self.parent
        last = getattr(manager, "last_activity", None)
        if getattr(manager, "execution_state", "busy") != "idle" or last is None:
            return 0
        return max(0, int((datetime.now(UTC) - last).total_seconds()))

    async def _over(self) -> None:
        """Take in that the lease is over: no restart can bring this kernel back, and its user reads why."""
        restarter = getattr(self.parent, "_restarter", None)
        if restarter is not None:
            restarter.restart_limit = 0
        until = time.monotonic() + OVER_WITHIN
        while self.lease is not None and self.lease.end_reason is None and time.monotonic() < until:
            with contextlib.suppress(PortalDownError, PortalError):
                self.lease = await self._portal.lease(self.lease.id)
            if self.lease.end_reason is None:
                await asyncio.sleep(0.2)
        self._tell_end(say("kernel-ended", self._portal.lang, detail=self._why()))
        shelf().drop(str(self.kernel_id))
        self._hang_up()

    def _why(self) -> str:
        return self.lease.detail if self.lease else ""

    async def _give_back(self) -> None:
        """End what there is of the lease. Does no harm when repeated."""
        lease, self.lease = self.lease, None
        if self._watching is not None and self._watching is not asyncio.current_task():
            self._watching.cancel()
        if self._asking is not None and not self._asking.done():
            self._asking.cancel()
        if self._beating is not None and self._beating is not asyncio.current_task():
            self._beating.cancel()
        self._alive = False
        self.connection_info = {}
        # The portal first: what it sees end before it was told would be lost, not given back.
        ending = asyncio.create_task(self._end_lease(lease))
        await asyncio.wait([ending], timeout=PATIENT)
        if self._line is not None:
            self._line.say("exit")
        await ending
        self._hang_up()
        shelf().drop(str(self.kernel_id))
        HELD.pop(str(self.kernel_id), None)

    async def _end_lease(self, lease: LeaseView | None) -> None:
        if lease is not None:
            # A portal that is down hears the silence of the lease instead.
            with contextlib.suppress(PortalDownError, PortalError):
                await self._portal.end(lease.id)

    def _hang_up(self) -> None:
        self._line = None
        if self._mailbox is not None:
            self._mailbox.close()
            self._mailbox = None

    def leave(self) -> bool:
        """Let the kernel run on without this server, which ends; tell whether the next one can take it back."""
        if not self._alive or self._line is None or not shelf().has(str(self.kernel_id)):
            return False
        for task in (self._beating, self._watching):
            if task is not None:
                task.cancel()
        self.lease, self._alive = None, False
        self._hang_up()
        HELD.pop(str(self.kernel_id), None)
        return True

    async def abandon(self) -> None:
        """Give the lease back although nobody cleaned up: the kernel was given up after too many deaths."""
        await self._give_back()

    # --- for a server that comes back -------------------------------------------------------------------------

    async def get_provisioner_info(self) -> dict[str, Any]:
        """Return what identifies this kernel's lease."""
        info: dict[str, Any] = await super().get_provisioner_info()
        plain: dict[str, Any] = json.loads(
            json.dumps({**info, "lease": self.lease.id if self.lease else ""}, default=str)
        )
        return plain

    def get_shutdown_wait_time(self, recommended: float = 5.0) -> float:
        """Return seconds that a kernel has to end."""
        # What does not hear the question will not answer it.
        return 0.0 if self.silence else recommended


def silent_text(provisioner: LeaseProvisioner) -> str:
    """Return what is to be said of a kernel that should run and is not heard; empty: it is heard."""
    lease, silence = provisioner.lease, int(provisioner.silence)
    if lease is None or not silence:
        return ""
    lang = spoken()
    # Of what was kept when the portal was last asked.
    left = max(0, (lease.kept_until or lease.now) - lease.now)
    until = say("kernel-still-kept", lang, seconds=str(left)) if left else ""
    return say("kernel-still", lang, gpus=str(lease.gpus), project=lease.project, seconds=str(silence), kept=until)


async def _again(kept: Kept) -> Mailbox:
    """Make a mailbox again. Raises `zmq.ZMQError` where somebody else has its port by now."""
    until = time.monotonic() + HEARD / 2
    while True:
        try:
            return Mailbox(kept.host, keys=kept.keys)
        except zmq.ZMQError:
            # A connection that the operating system has not forgotten yet goes away by itself.
            if time.monotonic() > until:
                raise
            await asyncio.sleep(PORT_AGAIN)
