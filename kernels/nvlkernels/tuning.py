"""What a cluster stands on -> how its workers are started, and why.

    ground   what is there: real or simulated GPUs, whose network, which packages
    choice   one setting with its reason
    tuning   all of them: transport, command and environment of a worker

Nothing here asks the machine anything: the facts come in, the decision goes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

PROTOCOLS = ("tls", "ucx")
"""``tls``: encrypted, staged through the host. ``ucx``: NVLink and multi-node NVLink, not encrypted."""

DEATH_TIMEOUT = "20"
"""Seconds that a worker looks for its scheduler before it ends."""

NO_OPTIONS: Mapping[str, str | None] = MappingProxyType({})
NO_ENVIRONMENT: Mapping[str, str] = MappingProxyType({})


class GroundError(RuntimeError):
    """Workers cannot be started here; `message` names the sentence that says why and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Ground:
    """What a cluster stands on."""

    simulated: bool
    private_fabric: bool = False
    """Whether the pool says that the network of a domain is private to those who hold it."""
    packages: frozenset[str] = frozenset()
    """Which of ``dask_cuda``, ``distributed_ucxx``, ``cudf``, ``cupy`` and ``rmm`` can be imported."""
    imex: bool = False
    """Whether there is an IMEX channel, by which memory is shared between trays."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One setting: `why` names the sentence ``explain-<why>``."""

    setting: str
    value: str
    why: str


@dataclass(frozen=True, slots=True)
class Tuning:
    """How workers are started."""

    protocol: str
    module: str
    """Module that is run as a worker."""
    options: Mapping[str, str | None]
    """Command-line options; None: a switch without a value."""
    environment: Mapping[str, str]
    choices: tuple[Choice, ...] = ()
    warnings: tuple[str, ...] = ()
    """Sentences ``explain-<name>`` about a fast path that was asked for and is not there."""
    gpus: bool = field(default=False)

    def command(self, python: str, scheduler: str, name: str) -> list[str]:
        """Return a worker's command line; the agent fills in the task's own ``{directory}`` and the node's address, ``{bind}``."""
        said = {**self.options, "--name": name}
        if self.protocol == "tls":
            said |= {f"--tls-{part}": f"{{directory}}/{file}" for part, file in CREDENTIALS.items()}
        words = [option if value is None else f"{option}={value}" for option, value in said.items()]
        return [python, "-m", self.module, scheduler, *words]


CREDENTIALS = {"ca-file": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
"""Worker options for TLS and the files they name, in the task's private directory."""


def tune(
    ground: Ground,
    *,
    protocol: str | None = None,
    threads: int = 1,
    options: Mapping[str, str | None] = NO_OPTIONS,
    environment: Mapping[str, str] = NO_ENVIRONMENT,
) -> Tuning:
    """Choose transport, command and environment. `options` and `environment` are laid over what is chosen.

    One worker per GPU, one thread per worker: dask-cuda's own model (docs.rapids.ai/api/dask-cuda, "Quickstart").

    Raises `GroundError` where GPUs are real and dask-cuda is not installed.
    """
    if ground.simulated:
        return _plain(ground, protocol, threads, options, environment)
    if "dask_cuda" not in ground.packages:
        raise GroundError("cluster-no-dask-cuda")
    return _cuda(ground, protocol, threads, options, environment)


def _common(ground: Ground, threads: int) -> dict[str, str | None]:
    return {
        # A lease may have several nodes, each with an address of its own.
        "--host": "{bind}",
        "--nthreads": str(threads),
        "--resources": "GPU=1",
        "--death-timeout": DEATH_TIMEOUT,
        "--local-directory": "{directory}",
        "--no-dashboard": None,
        "--dashboard-address": "127.0.0.1:0",
    }


def _plain(
    ground: Ground,
    protocol: str | None,
    threads: int,
    options: Mapping[str, str | None],
    environment: Mapping[str, str],
) -> Tuning:
    """Plain Dask workers: one process and one thread per simulated GPU.

    Without a nanny: the node agent restarts a worker inside its lease, so a second watcher would only cost memory and
    half of the start. ``--resources GPU=1`` on the command line, because a resource named in the environment is
    lower-cased (distributed's configuration) and tasks that ask for ``GPU`` would wait for ever.
    """
    chosen = {**_common(ground, threads), "--nworkers": "1", "--no-nanny": None, **options}
    choices = (
        Choice("protocol", "tls", "tls"),
        Choice("worker", "dask worker", "plain"),
        Choice("--nthreads", str(chosen["--nthreads"]), "one-thread"),
        Choice("dataframe.backend", "pandas", "pandas"),
    )
    warnings = ("no-ucx-simulated",) if protocol == "ucx" else ()
    return Tuning(
        "tls", "distributed.cli.dask_worker", chosen, {**_one_core(threads), **CLOSED, **ENCRYPTED, **environment}, choices, warnings
    )  # fmt: skip


def _one_core(threads: int) -> dict[str, str]:
    """Keep the libraries inside a worker to its own threads, and have freed memory go back (Dask's nanny does the same)."""
    pools = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return {**pools, "MALLOC_TRIM_THRESHOLD_": "65536"}


ENCRYPTED = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
"""Nobody without the cluster's certificate is spoken to (distributed, configuration reference)."""

CLOSED = {"DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]"}
"""A worker shows nothing over HTTP: everybody on its machine could look."""

UCX = {
    # "Create a CUDA context before UCX is initialised" (distributed-ucxx, configuration); without it UCX finds no NVLink.
    "DASK_DISTRIBUTED_UCXX__CREATE_CUDA_CONTEXT": "True",
    # A fabric that is missing is an error then and not a silent fall-back to TCP (openucx/ucx, cuda_ipc_md.c).
    "UCX_CUDA_IPC_ENABLE_MNNVL": "y",
}
"""Transports are otherwise left to UCX: naming one of them switches shared memory and InfiniBand off (distributed-ucxx)."""


def _cuda(
    ground: Ground,
    protocol: str | None,
    threads: int,
    options: Mapping[str, str | None],
    environment: Mapping[str, str],
) -> Tuning:
    """dask-cuda workers, one per GPU, found by UUID in ``CUDA_VISIBLE_DEVICES``.

    - Spilling: cuDF's own for dataframes (docs.rapids.ai/api/dask-cuda, "Spilling from device"); else dask-cuda's.
    - Memory: from :mod:`nvlkernels.fabric`, because dask-cuda's own pool options make memory without a fabric handle,
      which cannot cross trays by NVLink (rmm, ``CudaAsyncMemoryResource(enable_fabric=True)``).
    - UCX is not encrypted (distributed-ucxx, ``ucxx.py``), so it needs a network that is private to the holder.
    """
    wanted = protocol or ("ucx" if ground.private_fabric else "tls")
    warnings = []
    if wanted == "ucx" and not ground.private_fabric:
        wanted = "tls"
        warnings.append("no-ucx-shared")
    elif wanted == "ucx" and "distributed_ucxx" not in ground.packages:
        wanted = "tls"
        warnings.append("no-ucx-package")
    elif wanted == "ucx" and not ground.imex:
        warnings.append("no-imex")
    chosen = _common(ground, threads)
    choices = [
        Choice("protocol", wanted, "ucx" if wanted == "ucx" else "tls"),
        Choice("worker", "dask cuda worker", "cuda"),
        Choice("--nthreads", str(threads), "one-thread"),
    ]
    if "cudf" in ground.packages:
        chosen["--enable-cudf-spill"] = None
        choices.append(Choice("--enable-cudf-spill", "on", "cudf-spill"))
    choices.append(Choice("dataframe.backend", "cudf" if "cudf" in ground.packages else "pandas", "backend"))
    if "rmm" in ground.packages:
        chosen["--preload"] = "nvlkernels.fabric"
        choices.append(Choice("--preload", "nvlkernels.fabric", "fabric"))
        if "cupy" in ground.packages:
            chosen["--set-rmm-allocator-for-libs"] = "cupy"
    told = {
        "RAPIDS_NO_INITIALIZE": "1",
        "DASK_CUDF_SPILL_WARNING": "False",
        "CUDF_SPILL": "on",
        **CLOSED,
        **(UCX if wanted == "ucx" else ENCRYPTED),
    }
    return Tuning(
        wanted, "dask_cuda.cli", {**chosen, **options}, {**told, **environment}, tuple(choices), tuple(warnings),
        gpus=True,
    )  # fmt: skip
