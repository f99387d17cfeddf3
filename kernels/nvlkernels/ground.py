"""What there is here for workers to run on: looked up without importing anything that needs a GPU."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from nvlkernels.tuning import Ground

PACKAGES = ("cudf", "cupy", "dask_cuda", "distributed_ucxx", "rmm")
IMEX = Path("/dev/nvidia-caps-imex-channels")
"""Where the driver puts the channels by which memory is shared between trays."""


def ground(*, simulated: bool, private_fabric: bool) -> Ground:
    """Return the ground of a cluster; what the portal says comes as arguments, the rest is found here."""
    return Ground(
        simulated=simulated,
        private_fabric=private_fabric,
        packages=frozenset(name for name in PACKAGES if find_spec(name) is not None),
        imex=IMEX.is_dir() and any(IMEX.iterdir()),
    )
