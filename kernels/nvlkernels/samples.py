"""What the agents of one lease measured, put together for its sign of life."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from nvlhub.wire import GpuSample, Sample
from nvlkernels.meter import MOST


def together(told: list[tuple[int, dict[str, Any]]]) -> tuple[Sample | None, bool | None]:
    """Return the sample of a lease, and whether a real GPU of it worked; of what cannot be meant nothing.

    `told`: of each node, in order, the number of its GPUs and the ``sample`` of its agent's frame.
    """
    try:
        nodes = [(gpus, _sample(sample)) for gpus, sample in told]
    except (ValidationError, TypeError, ValueError):
        return None, None
    if len({sample.real for _, sample in nodes}) != 1:
        return None, None
    if nodes[0][1].real:
        gpus = tuple(gpu for _, sample in nodes for gpu in sample.gpus)
        return Sample(real=True, gpus=gpus[:MOST]), any(sample.get("busy") for _, sample in told)
    return _simulated(nodes), None


def _sample(told: dict[str, Any]) -> Sample:
    gpus = tuple(
        GpuSample(busy=busy, memory=memory, memory_total=total) for busy, memory, total in told.get("gpus", ())
    )
    return Sample(real=told.get("real"), gpus=gpus)


def _simulated(nodes: list[tuple[int, Sample]]) -> Sample:
    """Return one figure for all nodes, by the mean of their GPUs: processes stand for all GPUs of their node in one."""
    if len(nodes) == 1:
        return nodes[0][1]
    count = max(1, sum(gpus for gpus, _ in nodes))
    one = GpuSample(
        busy=round(sum(gpus * sample.gpus[0].busy for gpus, sample in nodes) / count),
        memory=sum(sample.gpus[0].memory for _, sample in nodes),
        memory_total=sum(sample.gpus[0].memory_total for _, sample in nodes),
    )
    return Sample(real=False, gpus=(one,))
