"""What all tests share: databases, a clock to turn by hand, a portal without a hub."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
import typer.testing

from nvlhub.engines.slurm.private import Slurm, lacking, private_slurm
from nvlhub.ports import free_port
from nvlhub.store import Store
from tests.tables import compiling_once, postgres_database, sqlite_with_tables

START = 1_800_000_000
LONG = (
    "test_cluster.py", "test_schema.py", "test_second_lock.py", "test_ledger_machine.py", "test_hammer.py", "test_leased.py", "test_faults.py",
    "test_runs_machine.py", "test_telemetry.py", "test_robust.py", "test_forgery.py", "test_demo.py",
    "test_readopt.py", "test_examples.py", "test_screens.py", "test_hub_pages.py", "test_access.py", "test_browser.py",
    "test_clusters.py", "test_workshop.py", "test_lab.py", "test_kills.py", "test_slurm_servers.py", "test_visits.py",
)  # fmt: skip
"""Files that take the longest. They begin first, so that no worker is alone with one in the end."""


# A command line of a hundred commands is made anew for each call otherwise.
typer.testing._get_command = cache(typer.testing._get_command)
sa.create_engine = compiling_once(sa.create_engine)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first; workers take files in this order."""
    rank = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))


def missing(what: str) -> None:
    """Skip with a reason; where everything must be there (CI), fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and under CI nothing may be")
    pytest.skip(f"{what} is missing")


class HandClock:
    """A clock that moves when told."""

    def __init__(self, at: int = START) -> None:
        self.at = at

    def now(self) -> int:
        return self.at

    def forward(self, seconds: int) -> None:
        self.at += seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of our own; its URL without a database name."""
    with running_postgres("fsync=off") as url:
        yield url


@contextlib.contextmanager
def running_postgres(*settings: str) -> Iterator[str]:
    """Run a PostgreSQL server, as an account that may run one; yields its URL without a database name."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) if Path("/usr/lib/postgresql").is_dir() else []
    if not programs:
        missing("PostgreSQL (package postgresql)")
    bin_directory = programs[-1].parent
    root = os.geteuid() == 0
    if root and not shutil.which("setpriv"):
        missing("setpriv, to run PostgreSQL as another user than root")
    base = Path(tempfile.mkdtemp(prefix="nvlhub-pg-"))
    as_user: list[str] = []
    if root:
        shutil.chown(base, "postgres", "postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    data, port = base / "data", free_port()
    try:
        subprocess.run(
            [*as_user, bin_directory / "initdb", "-D", data, "-A", "trust", "-U", "nvlhub", "-N"],
            check=True, capture_output=True, cwd=base,
        )  # fmt: skip
        server = subprocess.Popen(
            [*as_user, bin_directory / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", base,
             *(word for setting in ("max_connections=200", *settings) for word in ("-c", setting))],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=base,
        )  # fmt: skip
        try:
            _until_ready(port)
            yield f"postgresql+psycopg://nvlhub@127.0.0.1:{port}"
        finally:
            # Fast: whoever is still connected is not waited for.
            server.send_signal(signal.SIGINT)
            server.wait(60)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _until_ready(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(f"host=127.0.0.1 port={port} user=nvlhub dbname=postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


@pytest.fixture(scope="session")
def postgres_tables(postgres: str) -> Iterator[str]:
    """The name of a database with all tables, to be copied."""
    with postgres_database(postgres) as url:
        made = Store(url)
        made.migrate()
        made.close()
        yield url.rpartition("/")[2]


KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'portal.sqlite'}"
        return
    with postgres_database(request.getfixturevalue("postgres")) as url:
        yield url


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A database with all tables, of each kind."""
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            url = sqlite_with_tables(tmp_path / "portal.sqlite")
        else:
            server, template = (request.getfixturevalue(name) for name in ("postgres", "postgres_tables"))
            url = stack.enter_context(postgres_database(server, template))
        made = Store(url)
        yield made
        made.close()


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A Slurm of our own: one domain of 18 trays and a CPU node, with accounting; other accounts can reach its directory."""
    if absent := lacking():
        missing(f"Slurm ({', '.join(absent)})")
    base = Path(tempfile.mkdtemp(prefix="nvlhub-slurm-"))
    base.chmod(0o755)
    try:
        with private_slurm(base / "slurm") as running:
            yield running
    finally:
        shutil.rmtree(base, ignore_errors=True)
