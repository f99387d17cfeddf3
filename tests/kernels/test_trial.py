"""A trial start: a lease, an agent, a task on its GPUs, and the lease given back, whatever happens."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from nvlkernels import trial as trials
from nvlkernels.trial import Step, trial
from tests.kernels.conftest import Served

BODY = {"name": "gpu2", "display_name": "2 GPUs", "pool": "main", "gpus": 2, "longest": 600, "environment": {"A": "b"}}


def environment(served: Served, who: str = "t-admin") -> dict[str, str]:
    return {"NVLHUB_PORTAL_URL": served.url, "JUPYTERHUB_API_TOKEN": who, "NVLHUB_LANGUAGE": "en"}


def draft(served: Served, **values: Any) -> None:
    served.api("POST", "/profiles", json={**BODY, **values}, headers={"If-Match": "*"})


async def try_out(served: Served, who: str = "t-admin", **told: Any) -> tuple[bool, list[Step]]:
    steps: list[Step] = []
    well = await trial(environment(served, who), steps.append, **{"project": "demo-small", "profile": "gpu2", **told})
    return well, steps


async def test_a_draft_is_started_looked_at_and_given_back(served: Served) -> None:
    draft(served)
    well, steps = await try_out(served, version=2)
    assert well, steps
    assert [step.name for step in steps] == ["mailbox", "asked", "placed", "hello", "ran", "back", "charged"]
    assert all(step.ok for step in steps)
    assert "SIM-" in steps[4].text
    assert [step.seconds for step in steps] == sorted(step.seconds for step in steps)
    [lease] = served.settled()
    assert (lease["version"], lease["gpus"], lease["seconds"], lease["end_reason"]) == (2, 2, 300, "user")


async def test_who_may_not_start_it_is_told_why(served: Served) -> None:
    draft(served)
    well, steps = await try_out(served, "t-researcher", version=2)
    assert (well, steps[-1].ok, served.settled()) == (False, False, [])
    assert "only administrators" in steps[-1].text
    well, steps = await try_out(served, project="nope")
    assert "there is no project" in steps[-1].text


async def test_a_task_that_fails_or_sees_other_gpus_fails_the_trial_and_the_lease_is_given_back(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    for task, said in (("raise SystemExit('no CUDA')", "no CUDA"), ("print('{}')", "other GPUs")):
        monkeypatch.setattr(trials, "TASK", task)
        well, steps = await try_out(served)
        assert not well
        assert [step.name for step in steps][-3:] == ["failed", "back", "charged"]
        assert said in steps[-3].text
    assert len(served.settled()) == 2


async def test_a_trial_that_is_stopped_gives_its_lease_back(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "TASK", "import time; time.sleep(60)")
    steps: list[Step] = []
    running = asyncio.create_task(trial(environment(served), steps.append, project="demo-small", profile="gpu2"))
    while not any(step.name == "hello" for step in steps):
        await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [step.name for step in steps][-3:] == ["stopped", "back", "charged"]
    assert len(served.settled()) == 1


def test_what_a_profile_sets_is_seen_by_what_runs_and_what_the_engine_says_goes_over_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft(served, name="gpu2", environment={"A": "b", "DASK_DATAFRAME__BACKEND": "cudf"})
    monkeypatch.setattr(
        trials, "TASK",
        "import os, sys; sys.exit(' '.join(os.environ.get(n, '-') for n in ('A', 'DASK_DATAFRAME__BACKEND', "
        "'NVLHUB_SIMULATED', 'JUPYTERHUB_API_TOKEN')))",
    )  # fmt: skip
    well, steps = asyncio.run(try_out(served, version=2))
    assert not well
    assert steps[-3].text.endswith("b cudf 1 -")


def test_the_command_prints_a_line_for_each_step(served: Served) -> None:
    words = [sys.executable, "-m", "nvlkernels.trial", "gpu1", "--project", "demo-small"]
    done = subprocess.run(
        words, env={**os.environ, **environment(served)}, capture_output=True, text=True, timeout=60, check=False
    )
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, steps[-1]["name"]) == (0, "charged"), done.stderr
    refused = subprocess.run(
        [*words, "--version", "9"], env={**os.environ, **environment(served)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert refused.returncode == 1
