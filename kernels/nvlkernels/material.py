"""Course material at the commit that a course names: nbgitpuller knows branches and tags, this adds commits.

A commit that is pulled becomes a branch of its own name below ``origin``, and everything else is nbgitpuller's: what the
learner changed is kept and merged.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

from nbgitpuller.pull import GitPuller, execute_cmd

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class CommitPuller(GitPuller):
    """Pulls a branch, a tag, or a commit."""

    def branch_exists(self, branch: str) -> None:
        """Look whether a branch or tag is there; a commit shows it when it is pulled."""
        if not COMMIT.fullmatch(branch):
            super().branch_exists(branch)

    def initialize_repo(self) -> Iterator[str]:
        """Clone."""
        if not COMMIT.fullmatch(self.branch_name):
            yield from super().initialize_repo()
            return
        yield from execute_cmd(["git", "init", "--quiet", "--", self.repo_dir])
        yield from execute_cmd(["git", "remote", "add", "--", "origin", self.git_url], cwd=self.repo_dir)
        depth = ["--depth", str(self.depth)] if self.depth and self.depth > 0 else []
        try:
            yield from self._fetch(depth)
        except subprocess.CalledProcessError:
            # Half a clone would look like one that is there.
            shutil.rmtree(self.repo_dir, ignore_errors=True)
            raise
        begin = ["git", "checkout", "--quiet", "--no-track", "-B", "course", f"origin/{self.branch_name}"]
        yield from execute_cmd(begin, cwd=self.repo_dir)

    def update_remotes(self) -> Iterator[str]:
        """Fetch what is new."""
        if not COMMIT.fullmatch(self.branch_name):
            yield from super().update_remotes()
            return
        yield from self._fetch([])

    def _fetch(self, depth: list[str]) -> Iterator[str]:
        commit = self.branch_name
        what = ["--", "origin", f"+{commit}:refs/remotes/origin/{commit}"]
        yield from execute_cmd(["git", "fetch", "--quiet", "--no-tags", *depth, *what], cwd=self.repo_dir)


def pull_commits() -> None:
    """Have this server's nbgitpuller pull commits, too."""
    from nbgitpuller import handlers  # noqa: PLC0415  # it looks for the server that it is part of, and warns without one

    handlers.GitPuller = CommitPuller
