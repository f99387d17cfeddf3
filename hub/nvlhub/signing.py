"""The private halves of the keys that certificates are signed with: one file each, for the portal's account alone.

The public halves stand in the database, for ever. A portal that has lost its files makes a new key; what the old ones
signed stays valid.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)


@dataclass
class Signer:
    """Signs with the keys in a directory; without one they live as long as the process."""

    directory: Path | None = None
    new_id: Callable[[], str] = field(default=lambda: os.urandom(6).hex())
    _keys: dict[str, Ed25519PrivateKey] = field(default_factory=dict)

    def make(self) -> tuple[str, str]:
        """Make a key; return its id and its public half, base64."""
        name, key = self.new_id(), Ed25519PrivateKey.generate()
        if self.directory is not None:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            # Made for its owner alone from the first moment on.
            with os.fdopen(os.open(self._file(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        self._keys[name] = key
        return name, base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()

    def has(self, name: str) -> bool:
        """Tell whether the private half of a key is here."""
        return self._key(name) is not None

    def sign(self, name: str, text: str) -> str:
        """Return the signature of a text, base64. Raises `KeyError` for a key that is not here."""
        key = self._key(name)
        if key is None:
            raise KeyError(name)
        return base64.b64encode(key.sign(text.encode())).decode()

    def forget(self, name: str) -> None:
        """Destroy the private half of a key: it signs nothing any more."""
        self._keys.pop(name, None)
        if self.directory is not None:
            self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        assert self.directory is not None  # noqa: S101  # asked for by those who looked
        return self.directory / f"{name}.pem"

    def _key(self, name: str) -> Ed25519PrivateKey | None:
        if name not in self._keys and self.directory is not None:
            try:
                key = load_pem_private_key(self._file(name).read_bytes(), password=None)
            except (OSError, ValueError):
                return None
            if isinstance(key, Ed25519PrivateKey):
                self._keys[name] = key
        return self._keys.get(name)
