"""What the tests on a real Slurm share: one cluster for all, left as it was found."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvlhub.engines.slurm.private import Slurm
from tests.kernels.conftest import until_settled
from tests.slurm.kit import A, B, Hand, ServedBySlurm, hand


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again a moment after there was no answer."""
    monkeypatch.setattr("nvlhub.engines.slurm.engine.BACK_OFF", 1.0)


@pytest.fixture
def cluster(slurm: Slurm) -> Iterator[Slurm]:
    """The cluster of the session; no job is left on it."""
    yield slurm
    slurm.cancel_all()


@pytest.fixture
def portal(cluster: Slurm, tmp_path: Path) -> Iterator[Hand]:
    """A portal whose loop is turned by hand, and whose books are right in the end."""
    made = hand(cluster, tmp_path / "portal")
    yield made
    made.settled()
    made.kit.store.close()


@pytest.fixture
def accounts(cluster: Slurm) -> Slurm:
    """The cluster, on which two accounts may run jobs."""
    with contextlib.suppress(subprocess.CalledProcessError):
        cluster.add_account("two", users=(A, B))
    return cluster


@pytest.fixture
def theirs(accounts: Slurm) -> Iterator[Hand]:
    """A portal that runs each job as its user, in a place where others get to the stand-in of the agent."""
    place = Path(tempfile.mkdtemp(prefix="nvlhub-theirs-"))
    place.chmod(0o711)
    made = hand(accounts, place / "portal", run_as="user")
    with made.kit.store.writing() as unit:
        for name in (A, B):
            unit.know_user(name, made.kit.clock.now())
            unit.set_member("demo", name, "member")
    yield made
    made.settled()
    made.kit.store.close()
    shutil.rmtree(place)


@pytest.fixture
def served(cluster: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedBySlurm]:
    """A portal that the researcher's kernel can reach."""
    (tmp_path / "data").mkdir()
    yield from until_settled(ServedBySlurm(tmp_path / "data", slurm=cluster), monkeypatch)
