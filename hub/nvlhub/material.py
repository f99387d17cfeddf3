"""Whether the material of a course can be had: asked of its repository with git, without checking anything out."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from enum import StrEnum

PATIENCE = 20
"""Seconds for one question."""
_PLAIN = (
    "-c", "protocol.allow=never", "-c", "protocol.https.allow=always", "-c", "credential.helper=", "-c", "core.askPass=true",
)  # fmt: skip


class Reach(StrEnum):
    """What was found out."""

    THERE = "there"
    """The commit can be had."""
    GONE = "gone"
    """The repository answers, and has no such commit to give."""
    AWAY = "away"
    """The repository does not answer, or wants a login."""
    UNASKED = "unasked"
    """There is no git here to ask with."""


def reach(repository: str, commit: str, patience: int = PATIENCE) -> Reach:
    """Return whether a commit of a repository can be had by HTTPS, without a login.

    A list of branches does not tell of a commit, so that it is fetched, without its files.
    """
    git = shutil.which("git")
    if git is None:
        return Reach.UNASKED
    with tempfile.TemporaryDirectory(prefix="nvlhub-material-") as folder:
        try:
            if _git(git, folder, patience, "init", "--quiet", "--bare", "."):
                return Reach.UNASKED
            wanted = ("--quiet", "--depth=1", "--filter=tree:0", "--no-tags", "--no-write-fetch-head")
            if not _git(git, folder, patience, "fetch", *wanted, "--", repository, commit):
                return Reach.THERE
            silent = _git(git, folder, patience, "ls-remote", "--quiet", "--", repository, "HEAD")
        except subprocess.TimeoutExpired:
            return Reach.AWAY
    return Reach.AWAY if silent else Reach.GONE


_PASSED_ON = ("PATH", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE")


def _git(git: str, folder: str, patience: int, *words: str) -> int:
    """Return the exit status of a question."""
    # Nothing of the portal's own: no token, no configuration of its account, no question at a terminal.
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {"HOME": folder, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    done = subprocess.run(
        [git, *_PLAIN, *words], cwd=folder, env=environment, timeout=patience, check=False, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode
