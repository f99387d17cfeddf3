"""Memory that can cross trays: a preload of Dask workers on GPUs (``--preload nvlkernels.fabric``).

GPU memory reaches another tray by NVLink only when it was allocated with a fabric handle. RMM gives one with
``CudaAsyncMemoryResource(enable_fabric=True)`` (rmm 26.10). Where the driver refuses (no IMEX channel, one machine), memory
without it is used, and the worker's log says so.
"""

from __future__ import annotations

import logging
from typing import Any

logger = logging.getLogger("distributed.worker")

SHARE = 0.9
"""Part of the GPU's memory that the pool may grow to: the rest is for libraries that allocate on their own."""


def memory_resource(mr: Any, total: int) -> tuple[Any, bool]:
    """Return a memory resource limited to a share of `total` bytes, and whether it has fabric handles.

    `mr` is the module ``rmm.mr``.
    """
    try:
        pool, fabric = mr.CudaAsyncMemoryResource(enable_fabric=True), True
    except (RuntimeError, ValueError, TypeError) as error:
        logger.info("no fabric handles for GPU memory here, so NVLink ends at this tray: %s", error)
        pool, fabric = mr.CudaAsyncMemoryResource(), False
    limit = int(total * SHARE) // 256 * 256
    return mr.LimitingResourceAdaptor(pool, allocation_limit=limit), fabric


def dask_setup(worker: Any) -> None:
    """Give the worker its memory pool; called by Dask when the worker starts."""
    import rmm  # noqa: PLC0415  # only where there is a GPU

    _, total = rmm.mr.available_device_memory()
    resource, fabric = memory_resource(rmm.mr, total)
    rmm.mr.set_current_device_resource(resource)
    logger.info("GPU memory pool of up to %.1f GB, fabric handles: %s", total * SHARE / 1e9, fabric)
