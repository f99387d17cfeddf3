"""One frozen set of settings: ``portal.toml`` in the data directory, overridden by ``NVLHUB_…`` in the environment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource


class SettingsError(Exception):
    """A setting cannot be used; the text names it and what is allowed."""


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError):
        raise ValueError("not a time zone that this machine knows, e.g. Asia/Taipei or UTC") from None
    return name


def _http(url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise ValueError("not an address that begins with http:// or https://")
    return url


def _node_pattern(pattern: str) -> str:
    try:
        pattern.format(domain="nvl001", tray=1)
    except (ValueError, LookupError, AttributeError, TypeError):
        raise ValueError("only {domain} and {tray} can stand in it, e.g. {domain}-{tray:02d}") from None
    return pattern


Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.,:+%=/@{}-]{0,200}$")]
"""What can stand in an argument of a command of Slurm."""


class SlurmSettings(BaseModel):
    """Section ``[slurm]``: how the engine `slurm` uses the cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    conf: Path | None = None
    """The file ``slurm.conf``; left out: where Slurm's commands look for it."""
    bin: Path | None = None
    """Directory of Slurm's commands; left out: they are on the path."""
    partition: Word = ""
    """Partition of the GPU nodes; empty: the cluster's default."""
    account: Word = ""
    """Slurm account that a job is counted for; ``{project}`` stands for the project's name. Empty: the user's default."""
    low_account: Word = ""
    """The same for pre-emptible leases, which cost nothing; empty: as for all others."""
    qos: Word = ""
    """Quality of service of the jobs; empty: the default."""
    reservations: bool = False
    """Whether the portal's reservations are made in Slurm, too (``nvlhub slurm reserve``), and jobs must name theirs."""
    gres: Word = "gpu"
    """What a GPU is called among the generic resources, e.g. ``gpu`` or ``gpu:gb300``."""
    feature: Word = "{domain}"
    """The feature that all nodes of a domain have."""
    pin: Literal["tray", "domain", "any"] = "tray"
    """How much of a placement Slurm is held to: the nodes, the domain, or one domain whichever it is. ``tray`` where the
    partition is the portal's alone; the others where strangers' jobs run on the same nodes."""
    run: tuple[str, ...] = ()
    """What stands before a command that is to run as a user, e.g. ``["sudo", "-n", "-u", "{user}", "--"]``; left out: the
    portal changes the account itself, and must be root."""
    options: tuple[Word, ...] = ()
    """Further options of every ``sbatch``."""
    timeout: Annotated[int, Field(ge=1, le=120)] = 8
    """Seconds that a command may take; longer counts as no answer."""
    simulated: bool = False
    """Whether the cluster's GPUs exist in name only."""


class Settings(BaseSettings):
    """What the portal is told. Durations are whole seconds."""

    model_config = SettingsConfigDict(
        env_prefix="NVLHUB_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )  # fmt: skip

    data: Path
    """Directory of the database, of secrets and of running tasks; readable by its owner alone."""
    database: str = ""
    """SQLAlchemy URL; empty: SQLite in the data directory."""
    public_url: str = ""
    """The hub's address as users see it, for links in sentences."""
    zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    """Time zone that people are told times in, e.g. ``Asia/Taipei``."""
    dashboards: bool = True
    """Whether pages link to the dashboards."""
    contact: str = ""
    """Whom users ask for more GPU-hours, in words."""

    engine: str = "local"
    """Name of the engine that runs tasks."""
    simulate: Annotated[int, Field(ge=0, le=1000)] = 0
    """Simulated domains; 0: the GPUs of this machine."""
    trays: Annotated[int, Field(ge=1, le=18)] = 18
    """Trays of each simulated domain, 4 GPUs each."""
    pool: str = "main"
    gpu_model: str = "GB300"
    """Shown for simulated GPUs; real ones say their own."""
    factor_milli: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Charge factor of the pool in thousandths."""

    private_fabric: bool = False
    """Whether the network between the GPUs of a domain is private to those who hold it (an IMEX channel and a network per
    holder). Only then may Dask workers talk over UCX, which is fast and not encrypted."""

    kernel_python: str = sys.executable
    """Interpreter that runs the node agent."""
    run_as: Literal["user", "portal"] = "user"
    """Whose account tasks run under on this machine: that of the lease's user (the portal must be root then), or the
    portal's own. A kernel can do whatever its account can: ``portal`` is for one person's machine and for demos."""
    tasks: Path | None = None
    """Directory of running tasks; the accounts that run them must be able to reach it. Left out: in the data directory."""
    bind: str = "127.0.0.1"
    """Address that tasks listen on."""
    grace: Annotated[int, Field(ge=5, le=3600)] = 180
    """A lease silent for longer ends as lost. So long a Jupyter server that crashed has to come back and take its kernels;
    a lost lease pays for 15 seconds of silence at most, or for half of all that it ran if that is more."""
    preempt_notice: Annotated[int, Field(ge=0, le=3600)] = 120
    """Seconds from the warning that others need its GPUs to the end of a pre-emptible lease."""
    tick: Annotated[float, Field(ge=0.05, le=60)] = 1.0
    """Seconds between two looks at the engine."""
    sweep: Annotated[int, Field(ge=5, le=3600)] = 60
    """Seconds between two looks for tasks that nobody leases, and at the capacity."""
    telemetry_url: Annotated[str, AfterValidator(_http)] = ""
    """Address of a Prometheus that has the figures of NVIDIA's DCGM exporter, e.g. ``http://prometheus:9090``; empty: what
    GPUs do is known from the node agents alone."""
    telemetry_node: Annotated[str, AfterValidator(_node_pattern)] = "{domain}-{tray:02d}"
    """What the exporter calls the node of a tray (its label ``Hostname``), made of ``domain`` and ``tray``."""
    spawns: Annotated[int, Field(ge=1, le=1000)] = 50
    """Servers of classes that are started at once. Keep it below the hub's ``concurrent_spawn_limit`` (100 unless it is
    set): what is left is for everybody else."""
    visits: bool = False
    """Whether instructors may open the servers of their class. A portal that the hub starts is told by ``configure``; for
    one that runs on its own it is to be true only where the hub has ``subdomain_host``."""
    rate: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = 50
    """Requests per second that a visitor may send to the API in the long run; 0: as many as they like."""
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """Requests that a visitor may send at once, after a while without."""
    assessors: Annotated[int, Field(ge=0, le=64)] = 2
    """How many attempts of learners are run and judged at once on this machine; 0: none is, and none can be handed in."""
    mailbox_bind: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,255}$")] = "127.0.0.1"
    """Address of this machine that node agents dial when an attempt runs on GPUs. Nodes elsewhere need one that they reach."""
    slurm: SlurmSettings = SlurmSettings()
    """How the engine `slurm` uses the cluster."""
    demo: bool = False
    """Make a demo project, award and profiles in an empty database."""

    @property
    def database_url(self) -> str:
        """The database that is used."""
        return self.database or f"sqlite:///{self.data / 'portal.sqlite'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let arguments win over the environment, and the environment over the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(data: Path) -> Settings:
    """Read the settings of a data directory.

    Raises `SettingsError` naming the setting, where it stands and what is allowed.
    """
    file = data / "portal.toml"

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        # The directory is where the file was found, whatever the file or the environment say.
        return FromFile(data=data)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"setting `{name}` ({file} or NVLHUB_{name.upper()}): {first['msg']}") from None
    except ValueError as error:
        raise SettingsError(f"{file} cannot be read: {error}") from None
