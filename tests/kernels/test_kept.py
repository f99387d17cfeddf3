"""What a server writes down of its kernels: for its own eyes, for one server at a time, and nothing else is believed."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from nvlhub.wire import LeaseView
from nvlkernels import kept as module
from nvlkernels.client import Portal, token_of
from nvlkernels.kept import Kept, Session, Shelf, where

KERNEL = "7612c89d-585f-42c0-aa9c-d5fd0d1ad30e"

CURVE, TOKEN = "c" * 40, "t" * 43


def kept(kernel: str = KERNEL) -> Kept:
    lease = LeaseView(
        id="l", state="running", user="u", project="p", profile="g", kind="kernel", label=kernel, gpus=1, pool="main",
        factor_milli=1000, seconds=60, held=60_000, asked_at=1, now=2,
    )  # fmt: skip
    return Kept(
        kernel=kernel, kernel_name="nvlhub-p.g", lease=lease, host="127.0.0.1", port=5555, public="P" * 40,
        secret=SecretStr(CURVE), token=SecretStr(TOKEN), connection={"shell_port": 1, "key": "k"},
        run=3, sessions=(Session(id="s", path="a.ipynb", name="a.ipynb", type="notebook"),),
    )  # fmt: skip


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "data" / "nvlhub" / "server")


def test_what_is_written_is_read_again_by_its_owner_alone(shelf: Shelf, tmp_path: Path) -> None:
    shelf.save(kept())
    shelf.save(kept())
    directory = tmp_path / "data" / "nvlhub" / "server"
    [file] = directory.glob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == stat.S_IMODE(directory.parent.stat().st_mode) == 0o700
    [read] = shelf.kept()
    assert (read, read.keys.secret, read.keys.token) == (kept(), CURVE, TOKEN)
    assert CURVE not in repr(read)
    assert TOKEN not in repr(read)
    shelf.drop(KERNEL)
    shelf.drop(KERNEL)
    shelf.drop("../../lock")
    assert shelf.kept() == []


@pytest.mark.parametrize("text", ["{", "[]", "{}", "lacks", "more", "short", "run", "renamed", "open", "link", "long"])
def test_a_file_that_no_server_wrote_is_removed(shelf: Shelf, tmp_path: Path, text: str) -> None:
    shelf.save(kept())
    [file] = (tmp_path / "data" / "nvlhub" / "server").glob("*.json")
    told = json.loads(file.read_text())
    match text:
        case "lacks":
            del told["secret"]
            file.write_text(json.dumps(told))
        case "more":
            file.write_text(json.dumps(told | {"argv": ["sh"]}))
        case "short":
            file.write_text(json.dumps(told | {"secret": "s"}))
        case "run":
            file.write_text(json.dumps(told | {"run": "x"}))
        case "renamed":
            file.rename(file.with_name(KERNEL.replace("7", "8") + ".json"))
        case "open":
            file.chmod(0o644)
        case "link":
            file.rename(tmp_path / "elsewhere")
            file.symlink_to(tmp_path / "elsewhere")
        case "long":
            file.write_text(json.dumps(told) + " " * module.LARGEST)
        case _:
            file.write_text(text)
    assert shelf.kept() == []
    assert list(file.parent.glob("*.json")) == []


def test_a_directory_that_others_may_write_to_is_not_used(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "data" / "nvlhub" / "server").mkdir(parents=True)
    (tmp_path / "data" / "nvlhub" / "server").chmod(0o777)
    shelf.save(kept())
    assert shelf.kept() == []
    assert list((tmp_path / "data" / "nvlhub" / "server").iterdir()) == []


def test_of_two_servers_of_one_name_only_the_first_uses_the_files_while_it_lives(shelf: Shelf, tmp_path: Path) -> None:
    directory = tmp_path / "data" / "nvlhub" / "server"
    code = (
        "import sys, pathlib; from nvlkernels.kept import Shelf\n"
        "s = Shelf(pathlib.Path(sys.argv[1])); s.kept(); print('holds', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"holds\n"
        shelf.save(kept())
        assert list(directory.glob("*.json")) == []
        first.kill()
    shelf.save(kept())
    assert [found.kernel for found in shelf.kept()] == [KERNEL]
    shelf.close()
    other = Shelf(directory)
    assert len(other.kept()) == 1
    other.close()


def test_each_server_of_a_user_has_a_directory_of_its_own() -> None:
    places = {
        where({"JUPYTERHUB_SERVICE_PREFIX": prefix})
        for prefix in ("/user/a/", "/user/a/b/", "/user/a%2Fb/", "/x/../y/")
    }
    assert len(places | {where({})}) == 5
    assert len({place.parent for place in places}) == 1


async def test_a_kernel_speaks_with_the_newest_token(tmp_path: Path) -> None:
    environment = {"JUPYTERHUB_API_TOKEN": "old", "NVLHUB_TOKEN_FILE": str(tmp_path / "token")}
    assert token_of(environment) == "old"
    portal = Portal(environment)
    request = portal._http.build_request("GET", "/offers")
    (tmp_path / "token").write_text("new")
    assert token_of(environment) == "new"
    assert portal._signed(request).headers["Authorization"] == "token new"
    await portal.close()
