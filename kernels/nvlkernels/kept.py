"""What a notebook server writes down of its running kernels, so that the next one finds them after a crash.

    DATA/nvlhub/SERVER/KERNEL.json      0600, in directories of 0700; DATA: Jupyter's data directory of the user
    DATA/nvlhub/SERVER/lock             held by the one server that lives

A file is written when a kernel runs and removed when its lease is given back. It holds keys, so it is read only where nobody
else can have written it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import stat
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import quote

from jupyter_core.paths import jupyter_data_dir
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_serializer

from nvlhub.wire import LeaseView
from nvlkernels.mailbox import Keys

LOG = logging.getLogger(__name__)
LARGEST = 256 * 1024
"""Bytes of a file that is read at all."""
KERNEL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Session(_Strict):
    """What opened a kernel: JupyterLab finds it by path."""

    id: str
    path: str
    name: str
    type: str


class Kept(_Strict):
    """One running kernel."""

    kernel: str = Field(pattern=f"^{KERNEL.pattern}$")
    kernel_name: str
    cwd: str | None = None
    lease: LeaseView
    host: str
    """Address that the mailbox listens on."""
    port: int = Field(ge=1, le=65_535)
    public: str = Field(min_length=40, max_length=40)
    secret: SecretStr = Field(min_length=40, max_length=40)
    token: SecretStr = Field(min_length=32, max_length=200)
    connection: dict[str, int | str]
    run: int = Field(ge=1)
    """How often the kernel was started in its lease."""
    sessions: tuple[Session, ...] = ()

    @field_serializer("secret", "token")
    def _written(self, value: SecretStr) -> str:
        return value.get_secret_value()

    @property
    def keys(self) -> Keys:
        """The mailbox's."""
        return Keys(self.public, self.secret.get_secret_value(), self.token.get_secret_value(), self.port)


class Shelf:
    """The files of one notebook server."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock: int | None = None

    def _ours(self) -> bool:
        """Tell whether this process is the one that may use them; of two servers of one name the first to come."""
        if self._lock is not None:
            return True
        with contextlib.suppress(OSError):
            self._directory.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for place in (self._directory.parent, self._directory):
                place.mkdir(mode=0o700, exist_ok=True)
                _check(place.lstat())
            lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                raise
            # Let go by the operating system when the process ends, however it ends.
            self._lock = lock
        return self._lock is not None

    def save(self, kept: Kept) -> None:
        """Write a kernel down. What cannot be written costs the way back after a crash, and nothing else."""
        if not self._ours():
            LOG.warning(
                "kernel %s cannot be written down: %s belongs to another server or user", kept.kernel, self._directory
            )
            return
        file = self._directory / f"{kept.kernel}.json"
        fresh = file.with_suffix(".new")
        try:
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
                out.write(kept.model_dump_json())
            fresh.replace(file)
        except OSError as error:
            LOG.warning("kernel %s cannot be written down: %s", kept.kernel, error.strerror)

    def has(self, kernel: str) -> bool:
        """Tell whether a kernel is written down."""
        return self._lock is not None and (self._directory / f"{kernel}.json").is_file()

    def drop(self, kernel: str) -> None:
        """Forget a kernel. Does no harm when repeated."""
        if self._lock is not None and KERNEL.fullmatch(kernel):
            with contextlib.suppress(OSError):
                (self._directory / f"{kernel}.json").unlink(missing_ok=True)

    def kept(self) -> list[Kept]:
        """Return the kernels that a server before this one left; what is no such file is removed."""
        if not self._ours():
            return []
        found = []
        for file in sorted(self._directory.glob("*.json")):
            try:
                kept = _read(file)
            except (OSError, ValueError) as error:
                # Of what does not fit only the kind: it may hold keys.
                LOG.warning("%s is not what a notebook server wrote: %s", file, type(error).__name__)
                with contextlib.suppress(OSError):
                    file.unlink()
            else:
                found.append(kept)
        return found

    def close(self) -> None:
        """Let another server have the files."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _check(found: os.stat_result) -> None:
    if found.st_uid != os.geteuid() or stat.S_ISLNK(found.st_mode) or found.st_mode & 0o077:
        raise PermissionError("not private")


def _read(file: Path) -> Kept:
    """Return what a file says. Raises `OSError`, `ValueError`."""
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW)) as source:
        found = os.fstat(source.fileno())
        _check(found)
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            raise PermissionError("no such file")
        try:
            kept = Kept.model_validate_json(source.read())
        except ValidationError:
            raise ValueError("not readable") from None
    if file.stem != kept.kernel:
        raise ValueError("another kernel's")
    return kept


def where(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where a server keeps its files: one directory for each of a user's servers."""
    server = environment.get("JUPYTERHUB_SERVICE_PREFIX", "/").strip("/") or "local"
    return Path(jupyter_data_dir()) / "nvlhub" / quote(server, safe="")


@cache
def shelf() -> Shelf:
    """Return this server's."""
    return Shelf(where())
