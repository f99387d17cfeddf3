"""What was handed in, packed so that equal files are equal bytes, kept by the digest of these bytes."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return files as a tar: in order, without times, owners or anything but plain files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            archive.addfile(entry, io.BytesIO(files[name]))
    return packed.getvalue()


def unpack(packed: bytes) -> dict[str, bytes]:
    """Return the files of what :func:`pack` made."""
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as archive:
        found = {entry.name: archive.extractfile(entry) for entry in archive}
        return {name: file.read() for name, file in found.items() if file is not None}


def name_of(packed: bytes) -> str:
    """Return the digest (SHA-256) that packed files are found by."""
    return hashlib.sha256(packed).hexdigest()


@dataclass
class Snapshots:
    """Keeps packed files in a directory; without one they live as long as the process."""

    directory: Path | None = None
    _kept: dict[str, bytes] = field(default_factory=dict)

    def keep(self, packed: bytes) -> None:
        """Keep packed files, readable by the portal's account alone."""
        name = name_of(packed)
        if self.directory is None:
            self._kept[name] = packed
            return
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self.directory / f"{name}.{os.getpid()}.{os.urandom(4).hex()}"
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(packed)
        part.replace(self.directory / name)

    def drop(self, name: str) -> None:
        """Remove what was kept; nothing is done about what is gone."""
        if self.directory is None:
            self._kept.pop(name, None)
        else:
            (self.directory / name).unlink(missing_ok=True)

    def files(self, name: str) -> dict[str, bytes]:
        """Return what was kept. Raises `OSError` where it is gone, or is not what its name says."""
        packed = self._kept.get(name, b"") if self.directory is None else (self.directory / name).read_bytes()
        if name_of(packed) != name:
            raise OSError(f"{name} is not what was handed in")
        return unpack(packed)
