"""How workers are started on what ground, and why."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from nvlhub.text import LANGUAGES, say
from nvlkernels import fabric
from nvlkernels.tuning import Ground, GroundError, Tuning, tune

GPU = frozenset({"cudf", "cupy", "dask_cuda", "distributed_ucxx", "rmm"})


def real(**facts: Any) -> Ground:
    return Ground(**{"simulated": False, "packages": GPU, "imex": True, **facts})


def whys(tuning: Tuning) -> dict[str, str]:
    return {choice.setting: choice.why for choice in tuning.choices}


def test_without_a_gpu_workers_are_plain_with_one_thread_and_a_gpu_to_count() -> None:
    tuning = tune(Ground(simulated=True))
    command = tuning.command("python", "tls://h:1", "w1")
    assert command[:4] == ["python", "-m", "distributed.cli.dask_worker", "tls://h:1"]
    assert {"--nthreads=1", "--resources=GPU=1", "--no-nanny", "--name=w1", "--tls-key={directory}/key.pem"} <= set(
        command
    )
    assert tuning.environment["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "True"
    assert tuning.environment["OPENBLAS_NUM_THREADS"] == "1"
    assert not tuning.gpus


def test_on_gpus_workers_are_dask_cudas_with_spilling_and_memory_that_crosses_trays() -> None:
    tuning = tune(real())
    command = tuning.command("python", "tls://h:1", "w1")
    assert command[2] == "dask_cuda.cli"
    assert {"--enable-cudf-spill", "--preload=nvlkernels.fabric", "--set-rmm-allocator-for-libs=cupy"} <= set(command)
    assert not [word for word in command if word.startswith(("--rmm-", "--device-memory-limit"))]
    assert tuning.environment["RAPIDS_NO_INITIALIZE"] == "1"


def test_ucx_is_used_where_the_domains_network_is_private_and_nowhere_else() -> None:
    private = tune(real(private_fabric=True))
    assert (private.protocol, whys(private)["protocol"]) == ("ucx", "ucx")
    assert private.environment["UCX_CUDA_IPC_ENABLE_MNNVL"] == "y"
    assert not [word for word in private.command("p", "ucx://h:1", "w") if "tls" in word]
    for ground, warning in (
        (real(), "no-ucx-shared"),
        (real(private_fabric=True, packages=GPU - {"distributed_ucxx"}), "no-ucx-package"),
        (Ground(simulated=True, private_fabric=True), "no-ucx-simulated"),
    ):
        asked = tune(ground, protocol="ucx")
        assert (asked.protocol, asked.warnings) == ("tls", (warning,))
        assert "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION" in asked.environment
    assert tune(real(private_fabric=True, imex=False)).warnings == ("no-imex",)
    assert tune(real(private_fabric=True), protocol="tls").protocol == "tls"


def test_what_a_user_says_is_laid_over_what_is_chosen() -> None:
    tuning = tune(Ground(simulated=True), threads=2, options={"--memory-limit": "2GB"}, environment={"A": "b"})
    assert {"--memory-limit=2GB", "--nthreads=2"} <= set(tuning.command("p", "s", "n"))
    assert tuning.environment["A"] == "b"


def test_real_gpus_without_dask_cuda_are_an_error_with_a_sentence() -> None:
    with pytest.raises(GroundError) as caught:
        tune(real(packages=frozenset()))
    assert "nvlhub[gpu]" in say(caught.value.message)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_choice_and_warning_has_a_sentence(lang: str) -> None:
    grounds = [real(private_fabric=private, imex=False) for private in (False, True)] + [Ground(simulated=True)]
    for ground in grounds:
        for protocol in (None, "tls", "ucx"):
            tuning = tune(ground, protocol=protocol)
            for name in [*(choice.why for choice in tuning.choices), *tuning.warnings]:
                assert say(f"explain-{name}", lang)


def test_dask_and_dask_cuda_understand_the_command_lines(tmp_path: Any) -> None:
    from dask_cuda.cli import worker as cuda_worker  # noqa: PLC0415  # slow to import
    from distributed.cli.dask_worker import main as plain_worker  # noqa: PLC0415  # slow to import

    for part in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / part).touch()
    for command, tuning in ((plain_worker, tune(Ground(simulated=True))), (cuda_worker, tune(real()))):
        words = [part.replace("{directory}", str(tmp_path)) for part in tuning.command("p", "tls://h:1", "w")[3:]]
        options = command.make_context("worker", words).params
        assert options["name"] == "w"
        assert options["nthreads"] == 1
        assert options["scheduler"] == "tls://h:1"


class Memory:
    """Stands for ``rmm.mr``."""

    def __init__(self, *, fabric: bool) -> None:
        self._fabric = fabric

    def CudaAsyncMemoryResource(self, *, enable_fabric: bool = False) -> str:  # noqa: N802  # RMM's name
        if enable_fabric and not self._fabric:
            raise RuntimeError("cudaErrorNotSupported")
        return "with fabric" if enable_fabric else "plain"

    def LimitingResourceAdaptor(self, upstream: str, *, allocation_limit: int) -> tuple[str, int]:  # noqa: N802  # RMM's
        return upstream, allocation_limit

    def available_device_memory(self) -> tuple[int, int]:
        return 0, 10**12

    def set_current_device_resource(self, resource: object) -> None:
        self.current = resource


@pytest.mark.parametrize(("there", "kind"), [(True, "with fabric"), (False, "plain")])
def test_memory_has_fabric_handles_where_the_driver_gives_them(
    there: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory(fabric=there)
    monkeypatch.setitem(sys.modules, "rmm", SimpleNamespace(mr=memory))  # type: ignore[arg-type]
    fabric.dask_setup(None)
    upstream, limit = memory.current  # type: ignore[misc]
    assert upstream == kind
    assert limit % 256 == 0
    assert 0.89e12 < limit <= 0.9e12
