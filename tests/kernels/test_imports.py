"""What the notebook side imports, and when: nothing that needs a GPU, and little until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

GPU = ("cudf", "cupy", "dask_cuda", "rmm", "cuda.core", "numba")


def loaded_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["nvlkernels", "nvlkernels.cluster", "nvlkernels.telemetry", "nvlkernels.extension"])
def test_no_package_that_needs_a_gpu_is_imported(module: str) -> None:
    assert not loaded_after(f"import {module}") & set(GPU)


def test_a_kernel_that_asks_for_its_lease_does_not_load_dask() -> None:
    assert "distributed" not in loaded_after("import nvlkernels; nvlkernels.lease, nvlkernels.devices")


def test_the_servers_extension_does_not_load_dasks_scheduler() -> None:
    assert "distributed" not in loaded_after("import nvlkernels.extension, nvlkernels.specs, nvlkernels.manager")
