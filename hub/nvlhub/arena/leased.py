"""The arena on the GPUs of a lease: what was handed in runs there, in the same cage; it is judged on the portal's machine.

    desk      a lease of the learner's, as a kernel on their seat would have one: caps, balance, slot and queue are the same
    agent     the engine starts it where the GPUs are, it dials back, and runs the carrier that comes to it as text
    report    what the carrier tells comes back with its exit; it is looked at like anything of a learner's

The lease ends with the report. A portal that dies meanwhile gives no sign of life any more, by which lease and agent end.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import zmq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nvlhub.arena.base import Arena, ArenaError, Judgement, NotHeldError, Payer
from nvlhub.arena.carrier import SLACK
from nvlhub.arena.line import Line
from nvlhub.arena.local import PROGRAMS, LocalArena, order_of
from nvlhub.desk import Desk
from nvlhub.errors import BadInputError, ConflictError, NvlhubError, RefusedError
from nvlhub.flow.request import SHORTEST
from nvlhub.flow.rubric import MIB, Rubric
from nvlhub.visitor import Visitor
from nvlhub.wire import Beat, LeaseAsk, LeaseView, State

logger = logging.getLogger(__name__)

PATIENCE = 120.0
"""Seconds that an attempt waits for its GPUs."""
GIVING_BACK = 20.0
"""Seconds that what a learner just gave back may take to be free."""
SPARE = 60
"""Seconds of a lease beyond the limit of what runs: for its start, and for what it leaves to come back."""
BEAT = 2.0
"""Seconds between two signs of life."""
SILENT = 30.0
"""Seconds without a word from the agents after which they count as gone."""
MOST_BACK = 32 * MIB
"""Bytes of all outputs together that come back."""
OVER = frozenset({State.ENDING, State.SETTLED, State.REFUSED})
TASK = "attempt"
ENDS = "the portal ends"


class Report(BaseModel):
    """What a carrier says. It ran on a node, perhaps under the learner's own account: nothing of it is taken on trust."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    ended: Literal["done", "code", "time", "memory", "cage"]
    code: int
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    log: Annotated[str, Field(max_length=MIB)]
    outputs: dict[str, Literal["ok", "missing", "link", "kind", "large"]]
    contents: dict[str, str]


class LeasedArena(Arena):
    """Has what needs GPUs run through a lease; everything else as `local` does it."""

    def __init__(self, local: LocalArena, desk: Desk, host: str, python: str, patience: float = PATIENCE) -> None:
        """`host`: the address of this machine that agents dial; `python`: the interpreter on the nodes."""
        self._local = local
        self._desk = desk
        self._host = host
        self._python = python
        self._patience = patience
        self._over = threading.Event()

    def lacks(self) -> str:
        """Return why nothing can be judged: that is done here in any case."""
        return self._local.lacks()

    def judge(self, files: Mapping[str, bytes], rubric: Rubric, payer: Payer | None = None) -> Judgement:
        """Run it where the rubric wants it, then judge here."""
        if payer is None or not self.carries(rubric, payer):
            return self._local.judge(files, rubric, payer)
        lease, told = self._led(files, rubric, payer)
        return replace(self._local.judged(rubric, told), lease=lease)

    def carries(self, rubric: Rubric, payer: Payer) -> bool:
        """Tell whether it needs GPUs; on a seat without any it runs here."""
        return rubric.gpu and payer.gpus != 0

    def give_up(self) -> None:
        """End what is under way, and its leases."""
        self._over.set()

    def clear(self, user: str, key: str) -> None:
        """End the lease of an attempt, if it has one."""
        try:
            self._desk.drop(user, key)
        except Exception:
            # It ends by itself: nobody gives signs of life for it.
            logger.exception("the lease of %s could not be ended at once", key)

    def _led(self, files: Mapping[str, bytes], rubric: Rubric, payer: Payer) -> tuple[str, dict[str, Any]]:
        """Run what was handed in under a lease; return that and the report."""
        order = order_of(files, rubric, self._python) | {"most": MOST_BACK}
        try:
            with Line(self._host) as line:
                try:
                    lease = self._leased(payer, rubric, line)
                    return lease.id, reported(_Carrying(self, line, lease).result(order), rubric)
                finally:
                    self.clear(payer.user, payer.key)
        except zmq.ZMQError as error:
            raise ArenaError(f"nodes cannot dial {self._host}: {error}") from error

    def _leased(self, payer: Payer, rubric: Rubric, line: Line) -> LeaseView:
        """Ask for the lease. Raises `NotHeldError`, `ArenaError`."""
        ask = LeaseAsk(
            project=payer.project, profile=payer.profile, gpus=payer.gpus, mailbox=line.mailbox, label=payer.key,
            seconds=max(SHORTEST, rubric.limits.seconds + SPARE),
        )  # fmt: skip
        until = time.monotonic() + GIVING_BACK
        while True:
            try:
                return self._desk.ask(Visitor(payer.user), ask, payer.key, judged=True)[0]
            except (RefusedError, BadInputError) as error:
                # A kernel that was shut down for this, or the attempt before, counts until its GPUs are free.
                if not self._gives_back(payer.user) or time.monotonic() > until:
                    raise NotHeldError(error) from error
                if self._over.wait(0.2):
                    raise ArenaError(ENDS) from error
            except NvlhubError as error:
                raise ArenaError(f"no lease: {error}") from error

    def _gives_back(self, user: str) -> bool:
        return any(one.user == user and one.state is State.ENDING for one in self._desk.board.leases.values())

    def state_of(self, lease: LeaseView, phase: Literal["starting", "running"]) -> State:
        """Give a sign of life of a lease; return where it stands. Raises `ArenaError` when the portal ends."""
        if self._over.is_set():
            raise ArenaError(ENDS)
        return self._desk.beat(Visitor(lease.user), lease.id, Beat(phase=phase), "en").state

    def why_over(self, lease: LeaseView) -> str:
        """Return how a lease ended, in words."""
        return self._desk.lease(Visitor(lease.user), lease.id).detail

    @property
    def patience(self) -> float:
        """Seconds that an attempt waits for its GPUs."""
        return self._patience


class _Carrying:
    """One order on its way: asked for, run, brought back."""

    def __init__(self, arena: LeasedArena, line: Line, lease: LeaseView) -> None:
        self._arena = arena
        self._line = line
        self._lease = lease
        self._beat_at = float("-inf")

    def result(self, order: Mapping[str, Any]) -> str:
        """Return the report, as text. Raises `NotHeldError`, `ArenaError`."""
        self._until("hello", "starting", self._arena.patience)
        programs = {name: (PROGRAMS / name).read_text(encoding="utf-8") for name in ("carrier.py", "cage.py")}
        python = order["argv"][0]
        self._line.say(
            "start", task=TASK, run=1, env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}, cwd=None,
            argv=[python, "-I", "-S", "{directory}/carrier.py", "{directory}"], tell=True, result="report.json",
            files={**programs, "order.json": json.dumps(order)},
        )  # fmt: skip
        ended = self._until("exit", "running", order["limits"]["seconds"] + 2 * SLACK)
        if ended.get("rc") != 0 or not isinstance(ended.get("result"), str):
            raise ArenaError(f"the carrier ended with {ended.get('rc')}: {str(ended.get('tail'))[-500:]}")
        return str(ended["result"])

    def _until(self, kind: str, phase: Literal["starting", "running"], seconds: float) -> dict[str, Any]:
        """Wait for a message, giving signs of life meanwhile."""
        begun = time.monotonic()
        while True:
            message = self._line.hear(0.25)
            if message.get("kind") == kind:
                return message
            if message.get("kind") == "bye":
                raise ArenaError("the node agent left")
            if time.monotonic() - self._beat_at > BEAT:
                self._beat_at = time.monotonic()
                if self._arena.state_of(self._lease, phase) in OVER:
                    raise self._lost(phase)
            if time.monotonic() - begun > seconds:
                raise self._late(phase, seconds)
            if phase == "running" and self._line.silent > SILENT:
                raise ArenaError(f"the node agent was not heard for {SILENT:.0f} s")

    def _lost(self, phase: str) -> Exception:
        if phase == "starting":
            return NotHeldError(ConflictError("attempt-lease-over"))
        return ArenaError(f"the lease ended meanwhile. {self._arena.why_over(self._lease)}")

    def _late(self, phase: str, seconds: float) -> Exception:
        if phase == "starting":
            return NotHeldError(ConflictError("attempt-no-room", gpus=self._lease.gpus, wait=int(seconds)))
        return ArenaError("the carrier did not come back in time")


def reported(text: str, rubric: Rubric) -> dict[str, Any]:
    """Return what a carrier reported, of the outputs that are asked for. Raises `ArenaError` for what is no report."""
    try:
        told = Report.model_validate_json(text)
    except ValidationError as error:
        raise ArenaError(f"the carrier's report cannot be read: {error.errors()[0]['msg']}") from error
    statuses: dict[str, str] = {}
    contents = {}
    for output in rubric.outputs:
        how, content = told.outputs.get(output.name, "missing"), told.contents.get(output.name)
        if how == "ok":
            how = "missing" if content is None else "large" if _size(content) > output.largest else how
        if how == "ok":
            contents[output.name] = content
        statuses[output.name] = how
    return {**told.model_dump(exclude={"outputs", "contents"}), "outputs": statuses, "contents": contents}


def _size(content: str) -> int:
    try:
        return len(base64.b64decode(content, validate=True))
    except ValueError as error:
        raise ArenaError("the carrier's report has outputs that cannot be read") from error
