"""Settings: from a file, from the environment, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvlhub.clock import SteadyClock
from nvlhub.settings import SettingsError, load


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "portal.toml").write_text("simulate = 3\ngrace = 20\n")
    monkeypatch.setenv("NVLHUB_GRACE", "30")
    settings = load(tmp_path)
    assert (settings.simulate, settings.grace, settings.data) == (3, 30, tmp_path)
    assert settings.database_url == f"sqlite:///{tmp_path}/portal.sqlite"


@pytest.mark.parametrize(
    "text", ["trays = 19", "grace = 'soon'", "colour = 'green'", "simulate = -1", "rate = -1", "burst = 0"]
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "portal.toml").write_text(text)
    with pytest.raises(SettingsError, match=text.split(maxsplit=1)[0]):
        load(tmp_path)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "portal.toml").write_text("= 3")
    with pytest.raises(SettingsError, match=r"portal\.toml"):
        load(tmp_path)


def test_a_clock_neither_jumps_nor_goes_back() -> None:
    date, steady = [1000.0], [50.0]
    clock = SteadyClock(date=lambda: date[0], steady=lambda: steady[0])
    date[0], steady[0] = 10**9, 53.0
    assert clock.now() == 1003
    assert SteadyClock(5000, date=lambda: 1000.0, steady=lambda: 0.0).now() == 5000
