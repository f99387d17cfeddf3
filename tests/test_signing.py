"""Private keys in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvlhub.flow.certificate import is_signed
from nvlhub.signing import Signer


def test_a_key_survives_the_process_for_its_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    name, public = Signer(directory).make()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / f"{name}.pem").stat().st_mode & 0o777 == 0o600
    again = Signer(directory)
    assert is_signed("text", again.sign(name, "text"), public)
    again.forget(name)
    assert not Signer(directory).has(name)
    with pytest.raises(KeyError):
        again.sign(name, "text")


def test_a_damaged_file_is_no_key(tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    (tmp_path / "abc.pem").write_text("rubbish")
    assert not signer.has("abc")
    assert not signer.has("missing")
