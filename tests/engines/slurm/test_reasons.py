"""Slurm's words as sentences."""

from __future__ import annotations

import inspect
import re

import pytest

from nvlhub.engines.slurm import reasons
from nvlhub.engines.slurm.reasons import why_ended, why_refused, why_waiting
from nvlhub.text import LANGUAGES, has, say


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("Priority", "slurm-wait-priority"),
        ("None", "slurm-wait-priority"),
        ("(Resources)", "slurm-wait-resources"),
        ("ReqNodeNotAvail, May be reserved for other job", "slurm-wait-kept"),
        ("ReqNodeNotAvail, UnavailableNodes:nvl001-01", "slurm-wait-nodes-down"),
        ("Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions", "slurm-wait-nodes-down"),
        ("Reservation", "slurm-wait-reservation"),
        ("AssocGrpGRESMinutes", "slurm-wait-budget"),
        ("AssocMaxGRESPerJob", "slurm-wait-limit"),
        ("QOSMaxGRESPerUser", "slurm-wait-limit"),
        ("JobHeldAdmin", "slurm-wait-held"),
        ("PartitionNodeLimit", "slurm-wait-never"),
        ("SomethingNewIn2031", "slurm-wait-other"),
    ],
)  # fmt: skip
def test_why_a_job_waits(reason: str, message: str) -> None:
    assert why_waiting(reason) == message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", "slurm-away"),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", "slurm-away"),
        ("sbatch: error: Munge encode failed: Failed to access /run/munge/munge.socket.2", "slurm-munge"),
        ("sbatch: error: Batch job submission failed: Protocol authentication error", "slurm-munge"),
        ("sbatch: error: AssocGrpGRESMinutes sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)", "slurm-refused-budget"),
        ("sbatch: error: Batch job submission failed: Job violates accounting/QOS policy", "slurm-refused-limit"),
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified", "slurm-refused-account"),
        ("sbatch: error: invalid partition specified: nope", "slurm-refused-partition"),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", "slurm-refused-shape"),
        ("sbatch: error: Batch job submission failed: Invalid feature specification", "slurm-refused-shape"),
        ("sbatch: error: Batch job submission failed: Access denied to requested reservation", "slurm-refused-reservation"),
        ("sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)", "slurm-refused-time"),
        ("sudo: a password is required", "slurm-refused-user"),
        ("something new", ""),
    ],
)  # fmt: skip
def test_why_a_job_was_not_taken(error: str, message: str) -> None:
    assert why_refused(error) == message


def test_how_a_job_ended() -> None:
    assert why_ended("NODE_FAIL") == "slurm-end-node"
    assert why_ended("COMPLETED") == ""


def test_there_is_a_sentence_for_every_word_in_every_language() -> None:
    slugs = set(re.findall(r'"(slurm-[a-z-]+)"', inspect.getsource(reasons)))
    assert len(slugs) > 25
    assert all(has(slug) for slug in slugs)
    assert all(say(slug, language) for slug in slugs for language in LANGUAGES)
