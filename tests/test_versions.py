"""The ways to install give the same versions; locks name no hosts."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def locked(file: str) -> dict[str, str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return {name(package): version for package, version in re.findall(r"^([\w.-]+)==([^ \\;]+)", text, re.MULTILINE)}


def conda() -> dict[str, str]:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    return {name(package): version for package, version in re.findall(r"^ +- ([\w.-]+)==?([\w.]+)", text, re.MULTILINE)}


def wanted(*groups: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][group] for group in groups)]
    found = [re.match(r"[\w.-]+", requirement) for one in lists for requirement in one]
    return {name(match[0]) for match in found if match}


def test_conda_and_pip_install_the_same() -> None:
    pinned, environment = locked("requirements.txt"), conda()
    for package in wanted("server", "hub", "lti", "panels", "examples"):
        assert environment.get(package) == pinned[package], package


def test_gpu_packages_are_of_the_release_that_decides_dask() -> None:
    release = ".".join(locked("requirements.txt")["rapids-dask-dependency"].split(".")[:2])
    for package in ("cudf", "dask-cuda", "dask-cudf", "rmm"):
        assert conda()[package] == release
        assert locked("requirements-gpu.txt")[f"{package}-cu13" if package != "dask-cuda" else package].startswith(
            release
        )
    shared = locked("requirements.txt").keys() & locked("requirements-gpu.txt").keys()
    assert {package: locked("requirements.txt")[package] for package in shared} == {
        package: locked("requirements-gpu.txt")[package] for package in shared
    }


@pytest.mark.parametrize(
    "file", ["requirements.txt", "requirements-gpu.txt", "requirements-node.txt", "hub/proxy/package-lock.json"]
)
def test_locks_have_hashes_and_name_no_hosts(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert "sha256:" in text or "sha512-" in text
    assert not [line for line in text.splitlines() if "//" in line and "resolved" in line]
    assert "index-url" not in text


def test_the_picture_of_the_states_is_that_of_the_table() -> None:
    import importlib.util  # noqa: PLC0415

    spec = importlib.util.spec_from_file_location("draw", ROOT / "docs" / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    assert (ROOT / "docs" / "lease.svg").read_text(encoding="utf-8") == draw.drawing()
