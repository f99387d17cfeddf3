"""Who asks for how many GPUs, how long, for which project: an ask and a profile -> a request that can be meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nvlhub.errors import BadInputError, NotAllowedError
from nvlhub.flow.placement import GPUS_PER_TRAY
from nvlhub.wire import Kind, LeaseAsk, Span

SHORTEST = 60
"""Seconds; nothing shorter is leased."""
RESERVED = frozenset({
    "BASH_ENV", "CUDA_VISIBLE_DEVICES", "ENV", "HOME", "IFS", "LOGNAME", "NVIDIA_VISIBLE_DEVICES", "PATH", "SHELL", "USER",
})  # fmt: skip
RESERVED_STARTS = ("JPY_", "JUPYTER", "KUBERNETES_", "LD_", "NVLHUB_", "PYTHON", "SLURM_")
"""Variables that decide which code runs, as whom, and on which GPUs: not a profile's to set."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Capacity run by one engine."""

    name: str
    gpu_model: str
    factor_milli: int
    """Charge factor in thousandths."""
    domain_gpus: int = 72
    """GPUs of its largest NVLink domain."""
    gpus: int = 10_008


@dataclass(frozen=True, slots=True)
class Audience:
    """Who may start a profile: these programmes and these projects; both empty: everybody."""

    programmes: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()

    def has(self, project: str, programme: str) -> bool:
        """Tell whether a project of a programme belongs to it."""
        return not (self.programmes or self.projects) or project in self.projects or programme in self.programmes


@dataclass(frozen=True, slots=True)
class Profile:
    """A shape that can be started, one version of it. `longest` and `idle` in seconds."""

    name: str
    version: int
    display_name: str
    pool: str
    gpus: int
    span: Span
    longest: int
    idle: int | None = None
    """Reclaimed after so long without kernel and GPU activity; None = never."""
    audience: Audience = Audience()
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of what is started with it."""
    hints: Mapping[str, Mapping[str, str | int | float | bool]] = field(default_factory=dict)
    """What only one engine understands, by its name."""
    note: str = ""
    made_by: str = field(default="", compare=False)
    made_at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Project:
    """Who pays. Caps are GPUs held at once; None = no cap."""

    slug: str
    name: str
    programme: str
    cap: int | None = None
    programme_cap: int | None = None
    member_cap: int | None = None
    """The asking member's own cap in this project."""
    user_cap: int | None = None
    """The asking user's cap in all projects together."""
    low_priority: bool = False
    """Whether idle GPUs may be used over the caps and at zero balance, until somebody else needs them."""
    factor_milli: int = 1000
    """Charge factor of the programme in thousandths; multiplies that of the pool."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that can be meant; whether it may be is for :mod:`nvlhub.flow.quota`."""

    user: str
    project: Project
    profile: Profile
    kind: Kind
    gpus: int
    seconds: int
    factor_milli: int
    label: str = ""
    server: str = ""
    preemptible: bool = False
    slot: int | None = None
    """The award of a run's slot that pays for it already; None: it is paid for by itself."""

    @property
    def hold(self) -> int:
        """What the start sets aside, in milli-GPU-seconds: nothing where it makes room for others, or is paid for."""
        return 0 if self.preemptible or self.slot is not None else self.gpus * self.seconds * self.factor_milli


def check_gpus(gpus: int, span: Span, pool: Pool) -> None:
    """Check a number of GPUs against the shapes that a pool has.

    Raises `BadInputError` naming ``gpus`` and what is allowed.
    """
    # A pool that is planned has no GPUs yet, but the shape of its domains is known.
    most = pool.domain_gpus if span is Span.DOMAIN else max(pool.domain_gpus, pool.gpus)
    if not 1 <= gpus <= most:
        raise BadInputError("gpus-out-of-range", field="gpus", given=gpus, least=1, most=most, span=span.value)
    if gpus > GPUS_PER_TRAY and gpus % GPUS_PER_TRAY:
        raise BadInputError(
            "gpus-not-whole-trays", field="gpus", given=gpus, below=gpus - gpus % GPUS_PER_TRAY,
            above=gpus + GPUS_PER_TRAY - gpus % GPUS_PER_TRAY,
        )  # fmt: skip


def check_environment(environment: Mapping[str, str]) -> None:
    """Raise `BadInputError` naming the first variable that a profile may not set."""
    for name in environment:
        if name in RESERVED or name.startswith(RESERVED_STARTS):
            raise BadInputError("profile-variable-reserved", field=f"environment.{name}", name=name)


def check_audience(profile: Profile, project: Project) -> None:
    """Raise `NotAllowedError` for a project that a profile is not for."""
    if not profile.audience.has(project.slug, project.programme):
        raise NotAllowedError("profile-not-for", profile=profile.display_name, project=project.name)


def charge_factor(pool: Pool, project: Project) -> int:
    """Return the charge factor in thousandths: that of the pool times that of the programme, rounded down, at least 1."""
    return combined_factor(pool.factor_milli, project.factor_milli)


def combined_factor(pool: int, programme: int) -> int:
    """Return the same of two charge factors."""
    return max(1, pool * programme // 1000)


def make_request(ask: LeaseAsk, user: str, server: str, project: Project, profile: Profile, pool: Pool) -> Request:
    """Return the request that `ask` means.

    Raises `BadInputError` when GPUs or seconds are outside what the profile gives.
    """
    gpus = profile.gpus if ask.gpus is None else ask.gpus
    if gpus > profile.gpus:
        raise BadInputError(
            "gpus-above-profile", field="gpus", given=gpus, most=profile.gpus, profile=profile.display_name
        )
    check_gpus(gpus, profile.span, pool)
    seconds = profile.longest if ask.seconds is None else ask.seconds
    if not SHORTEST <= seconds <= profile.longest:
        raise BadInputError(
            "seconds-out-of-range", field="seconds", given=seconds, least=SHORTEST, most=profile.longest,
            profile=profile.display_name,
        )  # fmt: skip
    return Request(
        user=user, project=project, profile=profile, kind=ask.kind, gpus=gpus, seconds=seconds,
        factor_milli=charge_factor(pool, project), label=ask.label, server=server,
        preemptible=ask.preemptible,
    )  # fmt: skip
