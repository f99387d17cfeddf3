"""JSON shapes that the portal and its clients share.

Times are Unix times in whole seconds, UTC. Durations are whole seconds. Amounts are integers in
*milli-GPU-seconds*: GPUs x seconds x charge factor, the factor in thousandths (1000 = 1.0); people see GPU-hours
(:func:`gpu_hours`). The portal answers every failure with a :class:`Problem` (RFC 9457).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints, model_validator

API_PATH = "/services/portal/api/v1"
"""Where the REST API lies under the hub's public address."""

MILLI_PER_GPU_HOUR = 3600 * 1000
"""Milli-GPU-seconds in one GPU-hour at charge factor 1.0."""

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$")]
"""A name that appears in paths and kernel names: 1 to 40 of a-z, 0-9 and inner hyphens."""

Amount = Annotated[int, Field(ge=0, le=2**62)]
"""An amount in milli-GPU-seconds."""

MAX_BODY_BYTES = 1024 * 1024
"""Larger request bodies are refused with 413."""


class Kind(StrEnum):
    """What a lease is held by."""

    KERNEL = "kernel"
    WORKER = "worker"
    SERVER = "server"


class State(StrEnum):
    """Where a lease stands; the moves between them are in ``nvlhub.flow.lease``."""

    ASKED = "asked"
    REFUSED = "refused"
    HELD = "held"
    PLACED = "placed"
    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    SETTLED = "settled"


class EndReason(StrEnum):
    """Why a lease ended."""

    USER = "user"
    DEADLINE = "deadline"
    IDLE = "idle"
    PREEMPTED = "preempted"
    ENGINE = "engine"
    ADMIN = "admin"
    LOST = "lost"


class Span(StrEnum):
    """How far a profile may reach: inside one NVLink domain, or across domains over the fabric."""

    DOMAIN = "domain"
    FABRIC = "fabric"


def _texts(told: Any) -> Iterator[str]:
    """Yield every text in decoded JSON, the names included."""
    left = [told]
    while left:
        match left.pop():
            case str() as text:
                yield text
            case dict() as members:
                left += [*members, *members.values()]
            case list() as values:
                left += values
            case _:
                pass


def _broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


class Strict(BaseModel):
    """A request body: an unknown field is an error, not a surprise."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, body: Any) -> Any:
        """JSON has one kind of number: 60.0 is the whole number 60. And halves of characters, which no text has.

        Fields that are texts refuse these by their own names; names, and objects of any shape, have nobody else to.
        """
        if not isinstance(body, dict):
            return body
        if any(map(_broken, _texts([*body, *(value for value in body.values() if isinstance(value, dict))]))):
            raise ValueError("a text has half of a character (a surrogate without its other half)")
        return {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in body.items()
        }


class View(BaseModel):
    """An answer: clients ignore fields they do not know."""

    model_config = ConfigDict(extra="ignore", frozen=True)


PORT = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
"""1 to 65535."""


class Mailbox(Strict):
    """Where the node agent dials back to: a ZeroMQ ROUTER socket with CurveZMQ at the provisioner."""

    address: Annotated[str, StringConstraints(pattern=rf"^tcp://[A-Za-z0-9_.:\[\]-]{{1,255}}:{PORT}$")]
    public_key: Annotated[str, StringConstraints(min_length=40, max_length=40, pattern=r"^[!-~]{40}$")]
    """The mailbox's CurveZMQ public key, Z85."""
    token: Annotated[str, StringConstraints(min_length=32, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    """What the agent proves itself with, inside the encrypted channel."""


DomainName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""The name of an NVLink domain."""


def _needs_mailbox(schema: dict[str, Any]) -> None:
    schema["properties"]["mailbox"] = schema["properties"]["mailbox"]["anyOf"][0]
    schema["required"].append("mailbox")


class LeaseAsk(Strict):
    """Body of ``POST /leases``. Whose lease it is comes from the token, never from the body."""

    model_config = ConfigDict(json_schema_extra=_needs_mailbox)

    project: Slug
    profile: Slug
    kind: Kind = Kind.KERNEL
    gpus: Annotated[int, Field(strict=True, ge=1, le=10_008)] | None = None
    """Fewer GPUs than the profile has; left out: the profile's number."""
    seconds: Annotated[int, Field(strict=True, ge=60, le=30 * 24 * 3600)] | None = None
    """A shorter time than the profile's longest; left out: the profile's longest, for a worker no longer than its
    kernel's lease has left."""
    label: Annotated[
        str,
        StringConstraints(
            max_length=80, pattern=r"^[^\x00-\x1f\x7f-\x9f<>&\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]*$"
        ),
    ] = ""
    """What the holder calls it, e.g. the kernel's id."""
    mailbox: Mailbox | None = None
    """Needed by every start that is asked for; only what is reckoned beforehand has none."""
    parent: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,64}$")] | None = None
    """The lease of the kernel that a worker belongs to: the worker's lease ends with it."""
    domain: DomainName | None = None
    """The NVLink domain to be placed in while it has room; with `pinned`: in no other."""
    pinned: StrictBool = False
    preemptible: StrictBool = False
    """Costs nothing and counts against no cap, and makes room as soon as others need its GPUs."""
    version: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] | None = None
    """A version of the profile; left out: the published one. Only administrators may start another."""


class WorkersAsk(LeaseAsk):
    """Body of ``POST /leases/batch``: `count` leases of one shape, admitted together or not at all."""

    kind: Literal[Kind.WORKER] = Kind.WORKER
    count: Annotated[int, Field(strict=True, ge=1, le=1000)]
    wait: StrictBool = True
    """False: only as many as there is room for now; none of them waits in the queue."""


class Share(View):
    """GPUs of one tray that belong to a placement."""

    domain: str
    tray: int
    """From 1."""
    gpus: tuple[int, ...]
    """Indices in the tray, from 0."""


BACK = "back"
"""In the query of the hub's spawn page, as ``opt-back``: the server is started at once, and its kernels are taken back."""
SILENT = 15
"""Seconds without a sign of life after which a holder counts as away; one comes every few seconds."""


class LeaseView(View):
    """A lease as its holder sees it."""

    id: str
    state: State
    user: str
    project: str
    profile: str
    version: int = 0
    """The profile's; it stays this one whatever is published later. 0: not told."""
    kind: Kind
    label: str = ""
    server: str = ""
    """``user/servername`` of the Jupyter server that holds it; empty if asked for from elsewhere."""
    parent: str = ""
    """Lease of the kernel that this one ends with; empty when it stands alone."""
    gpus: int
    pool: str
    placement: tuple[Share, ...] = ()
    devices: tuple[str, ...] = ()
    """GPU UUIDs, or names starting with ``SIM-`` when simulated."""
    simulated: bool = False
    private_fabric: bool = False
    """Whether the network of its domain is private to those who hold it."""
    factor_milli: int
    seconds: int
    """Longest time paid for by the hold."""
    held: int
    charged: int = 0
    refunded: int = 0
    asked_at: int
    started_at: int | None = None
    deadline: int | None = None
    beat_at: int | None = None
    """When its holder last gave a sign of life; None: not yet."""
    kept_until: int | None = None
    """When it ends as lost if its holder stays silent, while it runs."""
    stands_still: str = ""
    """Why nothing is heard of what runs, as far as its engine knows, in the reader's language."""
    idle_seconds: int = 0
    """How long it did nothing, as of then."""
    idle: int | None = None
    """After how many idle seconds it is taken back; None: never for that."""
    preemptible: bool = False
    preempt_at: int | None = None
    """When it must have made room for others; None: nobody needs its GPUs."""
    workers: int = 0
    """Leases that end with this one; told in lists and of single leases while they are active."""
    worker_gpus: int = 0
    ended_at: int | None = None
    end_reason: EndReason | None = None
    detail: str = ""
    """What happened, in the reader's language."""
    position: int | None = None
    """Place in the queue from 1, while held and waiting for room."""
    expected_start: int | None = None
    queue_outside: int = 0
    """Jobs outside the portal that wait in the cluster's queue, too: the expected start does not count them."""
    now: int
    """The portal's clock, so that a client computes time left without trusting its own."""

    @property
    def price_milli(self) -> int:
        """Milli-GPU-seconds charged per second."""
        return 0 if not self.held else self.gpus * self.factor_milli

    @property
    def silent(self) -> int:
        """Seconds since the last sign of life of what runs; 0 as long as the next one may be under way."""
        gone = self.now - self.beat_at if self.beat_at and self.state is State.RUNNING else 0
        return gone if gone > SILENT else 0

    @property
    def alone(self) -> bool:
        """Whether this is a kernel whose Jupyter server does not answer: it can be taken back."""
        return bool(self.silent and self.server and self.kind is Kind.KERNEL and not self.stands_still)


class Offer(View):
    """A profile in a pool as one user sees it now, paid by one project."""

    project: str
    project_name: str
    profile: str
    version: int
    display_name: str
    gpus: int
    span: Span
    pool: str
    gpu_model: str
    simulated: bool
    private_fabric: bool = False
    """Whether the network of a domain is private to those who hold it."""
    factor_milli: int
    price_milli: int
    """Milli-GPU-seconds charged per second: GPUs x factor."""
    longest: int
    idle: int | None = None
    hold: int
    """What a start sets aside at most."""
    left: int
    """What is left of the project's awards in this pool."""
    free_now: int
    """How many could start at once for lack of nothing but room."""
    expected_wait: int | None = None
    """Seconds until one can start; 0 = now; None = not foreseeable."""
    queue_outside: int = 0
    """Jobs outside the portal that wait in the cluster's queue, too: the expected wait does not count them."""
    why_not: Problem | None = None
    """Set when a start would be refused now."""
    low_priority: bool = False
    """Whether a start that would be refused now could be pre-emptible."""


Bytes = Annotated[int, Field(strict=True, ge=0, le=2**50)]


class GpuSample(Strict):
    """What one GPU did lately."""

    busy: Annotated[int, Field(strict=True, ge=0, le=100)]
    """Per cent of the time."""
    memory: Bytes = 0
    memory_total: Bytes = 0


class Sample(Strict):
    """What the GPUs of a lease did in the last few seconds."""

    real: StrictBool
    """False: of the processes that stand for simulated GPUs, one entry for all of them; 100 is one CPU core for each."""
    gpus: Annotated[tuple[GpuSample, ...], Field(min_length=1, max_length=72)]
    """In the order of the lease's devices."""


class Beat(Strict):
    """Body of ``POST /leases/{id}/heartbeat``."""

    phase: Literal["starting", "running", "ended"] = "running"
    """``ended``: the holder is done; the lease ends with reason user."""
    idle_seconds: Annotated[int, Field(strict=True, ge=0, le=10**9)] = 0
    """Since the task last did anything; 0 while busy."""
    gpu_busy: StrictBool | None = None
    """Whether a GPU of the lease computed since the last beat; None where it cannot be measured."""
    sample: Sample | None = None
    """What was measured since the last beat, if anything was."""


class BeatAnswer(View):
    """What the portal says to a heartbeat."""

    state: State
    deadline: int | None = None
    end_reason: EndReason | None = None
    warn: str = ""
    """A sentence for the user, in the language of the request: deadline or idle end is near."""
    now: int


class Beats(Strict):
    """Body of ``POST /leases/heartbeats``: signs of life of up to 1000 leases, by lease id."""

    beats: Annotated[
        dict[Annotated[str, StringConstraints(pattern=r"^[!-~]{1,64}$")], Beat],
        Field(max_length=1000, json_schema_extra={"additionalProperties": False}),
    ]


class Beaten(View):
    """One answer of ``POST /leases/heartbeats``; a lease that is not the asker's has none."""

    lease: LeaseView
    warn: str = ""
    """A sentence for the user, in the language of the request."""


class Extend(Strict):
    """Body of ``POST /leases/{id}/extend``."""

    seconds: Annotated[int, Field(strict=True, ge=60, le=30 * 24 * 3600)]


class Problem(View):
    """RFC 9457 problem document; further members carry the arithmetic."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    """``urn:nvlhub:problem:<slug>``; stable."""
    title: str
    status: int
    detail: str = ""
    """What happened, why, and what to do next, in the reader's language."""
    instance: str = ""

    def member(self, name: str) -> Any:
        """Return the extension member `name`, or None."""
        return (self.model_extra or {}).get(name)


Offer.model_rebuild()


def gpu_hours(amount: int) -> str:
    """Return `amount` milli-GPU-seconds as GPU-hours for people, e.g. ``"12.50"``; truncated, never rounded up."""
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    hundredths = amount * 100 // MILLI_PER_GPU_HOUR
    return f"{sign}{hundredths // 100}.{hundredths % 100:02d}"
