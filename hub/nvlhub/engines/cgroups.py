"""The processes of a lease by their cgroup: what a task starts stays in it, whatever it does to hide.

Where the portal may make cgroups (root, or a service with ``Delegate=yes``) the end of a lease is exact. Elsewhere the marks in
the environment (:mod:`nvlhub.engines.processes`) and the agent's care for its descendants have to do.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
OWN = Path("/proc/self/cgroup")


class Cgroups:
    """One cgroup (version 2) per lease below one of the portal's own."""

    def __init__(self, base: Path) -> None:
        self._base = base

    @classmethod
    def find(cls, tasks: Path) -> Cgroups | None:
        """Return the cgroups of the portal whose tasks lie in `tasks`, or None where none can be made."""
        mounts = (line.split(" - ") for line in MOUNTS.read_text(encoding="utf-8").splitlines())
        roots = [left.split()[4] for left, right in mounts if right.split()[0] == "cgroup2"]
        own = [line[3:] for line in OWN.read_text(encoding="utf-8").splitlines() if line.startswith("0::")]
        if not roots or not own:
            return None
        name = "nvlhub-" + hashlib.sha256(str(tasks).encode()).hexdigest()[:12]
        base = Path(roots[0]) / own[0].lstrip("/") / name
        trial = base / "trial"
        try:
            trial.mkdir(parents=True, exist_ok=True)
            usable = (trial / "cgroup.kill").exists()
        except OSError:
            return None
        # Those of tasks that run stay; what a portal before this one left empty goes.
        for left in (*base.iterdir(), base):
            if left.is_dir():
                with contextlib.suppress(OSError):
                    left.rmdir()
        return cls(base) if usable else None

    def add(self, lease_id: str, pid: int) -> None:
        """Put a process that has not begun yet into its lease's cgroup. Raises `OSError`."""
        cgroup = self._base / lease_id
        cgroup.mkdir(parents=True, exist_ok=True)
        (cgroup / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def pids(self, lease_id: str) -> list[int]:
        """Return what runs in a lease's cgroup."""
        try:
            return [int(pid) for pid in (self._base / lease_id / "cgroup.procs").read_text(encoding="ascii").split()]
        except OSError:
            return []

    def kill(self, lease_id: str) -> None:
        """End everything in a lease's cgroup at once."""
        with contextlib.suppress(OSError):
            (self._base / lease_id / "cgroup.kill").write_text("1", encoding="ascii")

    def remove(self, lease_id: str) -> None:
        """Remove a lease's cgroup, once it is empty; the portal's own with the last of them."""
        for cgroup in (self._base / lease_id, self._base):
            with contextlib.suppress(OSError):
                cgroup.rmdir()
