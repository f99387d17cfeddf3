"""Runs one command where it can reach nothing but its own files, and tells how it ended.

A program of its own (standard library alone): reads a JSON object from its input and prints one. The command gets new
namespaces for files, processes, network and shared memory; a root of read-only system directories, a directory ``/attempt``
on a file system of limited size, no other; another uid where this program runs as root; and limits. When its first
process has ended, the kernel ends all the others. Only then its outputs are looked at, and no link is followed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import platform
import resource
import select
import shutil
import signal
import socket
import stat
import struct
import sys
import time
from pathlib import Path
from typing import Any

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
KEPT = {2: 2, 4: 4, 8: 8, 1024: 1024, 2048: 2048, 4096: 1 << 21}
"""Flags of a mounted file system (statvfs -> mount) that one without privileges may not take away."""
DETACH = 2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SECCOMP, FILTER = 22, 2
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x50000
CALLS = {"x86_64": (0xC000003E, 56, 272), "aarch64": (0xC00000B7, 220, 97)}
"""How the kernel names the machine; the numbers of clone and unshare on it."""
CLONE3, X32 = 435, 0x40000000
PDEATHSIG, DUMPABLE, NO_NEW_PRIVS = 1, 4, 38
MIB = 1024 * 1024
libc = ctypes.CDLL(None, use_errno=True)


class Caged(Exception):  # noqa: N818  # not a failure of ours: the machine's
    """The cage could not be built."""


def checked(what: str, result: int) -> None:
    """Raise `Caged` for a call of the system that failed."""
    if result < 0:
        raise Caged(f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount a file system. Raises `Caged`."""
    words = [word.encode() or None for word in (source, str(target), kind)]
    checked(f"mount {target}", libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None))


def forbid_user_spaces() -> None:
    """Let nobody from here on make a user namespace: in one of their own they could mount memory that nothing counts.

    Raises `Caged`.
    """
    arch, clone, unshare = CALLS[platform.machine()]
    # Each: operation, where to go on if so and if not (steps beyond the next), value. What clone3 is asked for cannot be seen
    # from here, so that there is none; libraries take clone then.
    steps = (
        (0x20, 0, 0, 4), (0x15, 1, 0, arch), (0x06, 0, 0, KILL),
        (0x20, 0, 0, 0), (0x35, 0, 1, X32), (0x06, 0, 0, ERRNO | 38),
        (0x15, 0, 1, CLONE3), (0x06, 0, 0, ERRNO | 38),
        (0x15, 2, 0, clone), (0x15, 1, 0, unshare), (0x06, 0, 0, ALLOW),
        (0x20, 0, 0, 16), (0x45, 0, 1, NEWUSER), (0x06, 0, 0, ERRNO | 1), (0x06, 0, 0, ALLOW),
    )  # fmt: skip
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    told = struct.pack("HP", len(steps), ctypes.addressof(program))
    checked("a filter of calls", libc.prctl(SECCOMP, FILTER, told, 0, 0))


def bind(source: Path, target: Path, flags: int) -> None:
    """Show what lies at `source` at `target`, too."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    mount(str(source), target, flags=BIND | REC)
    told = os.statvfs(target).f_flag
    kept = sum(flag for bit, flag in KEPT.items() if told & bit)
    mount("", target, flags=BIND | REMOUNT | flags | kept)


class Cage:
    """One command, from its files to its outputs."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.folder = Path(spec["folder"])
        self.stage = self.folder / "stage"
        self.root = os.geteuid() == 0
        # Without root nobody else can be become: the number inside stands for the same account outside.
        self.uid = spec["uid"] if self.root else 65534
        self.group: Path | None = None

    def run(self) -> dict[str, Any]:
        """Run it and collect its outputs."""
        self._apart()
        self._stage()
        ended = self._watched()
        outputs = {}
        if ended["ended"] != "cage":
            outputs = {one["name"]: self._collect(one["name"], one["largest"]) for one in self.spec["outputs"]}
        return {**ended, "outputs": outputs}

    def _apart(self) -> None:
        uid, gid = os.geteuid(), os.getegid()
        spaces = NEWNS | NEWUTS | NEWIPC | NEWPID | NEWNET
        checked("new namespaces", libc.unshare(spaces if self.root else spaces | NEWUSER))
        if not self.root:
            Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
            Path("/proc/self/uid_map").write_text(f"{self.uid} {uid} 1", encoding="ascii")
            Path("/proc/self/gid_map").write_text(f"{self.uid} {gid} 1", encoding="ascii")
        mount("", Path("/"), flags=REC | PRIVATE)

    def _stage(self) -> None:
        """Lay the files out on a file system that cannot grow beyond its size."""
        self.stage.mkdir()
        data = f"size={self.spec['disk']},nr_inodes=20000,mode=0755"
        mount("tmpfs", self.stage, "tmpfs", NOSUID | NODEV, data)
        shutil.copytree(self.folder / "in", self.stage / "work", symlinks=True)
        for name in ("tmp", "shm"):
            (self.stage / name).mkdir()
        for place, _, files in os.walk(self.stage):
            for path in (place, *(os.path.join(place, file) for file in files)):  # noqa: PTH118
                os.chown(path, self.uid, self.uid)
        self.stage.chmod(0o755)

    def _watched(self) -> dict[str, Any]:
        log_read, log_write = os.pipe()
        told_read, told_write = os.pipe()
        go_read, go_write = os.pipe()
        init = os.fork()
        if init == 0:
            os.close(go_write)
            self._init(log_write, told_write, go_read)
        for end in (log_write, told_write, go_read):
            os.close(end)
        try:
            self._limit(init)
            os.write(go_write, b"1")
            return self._until_over(init, log_read, told_read)
        finally:
            if self.group is not None:
                with contextlib.suppress(OSError):
                    self.group.rmdir()

    def _until_over(self, init: int, log_read: int, told_read: int) -> dict[str, Any]:
        log, began, why = Log(self.spec["output"]), time.monotonic(), ""
        space, open_ = str(Path(f"/proc/{init}/ns/pid_for_children").readlink()), True
        status = None
        while status is None:
            if open_ and select.select([log_read], [], [], 0.05)[0]:
                piece = os.read(log_read, 65536)
                open_ = bool(piece)
                log.add(piece)
            elif not open_:
                time.sleep(0.02)
            if not why and time.monotonic() - began > self.spec["seconds"]:
                why = "time"
            if not why and self._too_large(space):
                why = "memory"
            if why:
                os.kill(init, signal.SIGKILL)
            done, found = os.waitpid(init, os.WNOHANG)
            status = found if done else None
        seconds = time.monotonic() - began
        # All who could write are dead: what is left in the pipe is all there is.
        while piece := os.read(log_read, 65536):
            log.add(piece)
        told = os.read(told_read, 1000).decode(errors="replace")
        code = os.waitstatus_to_exitcode(status)
        if not why and self._out_of_memory():
            why = "memory"
        # A limit that nothing is told of: the time that it computed.
        if not why and code == 128 + signal.SIGXCPU:
            why = "time"
        ended = "cage" if told else why or ("done" if code == 0 else "code")
        return {
            "ended": ended,
            "code": code,
            "seconds": seconds,
            "log": told or log.text(),
            "memory_group": bool(self.group),
        }

    # --- limits of all processes together ---------------------------------------------------------------------

    def _limit(self, init: int) -> None:
        """Put it into a group with limited memory, where this machine lets us make one."""
        limits = {
            "memory.max": self._most,
            "memory.swap.max": 0,
            "memory.oom.group": 1,
            "memory.limit_in_bytes": self._most,
        }
        for parent in map(Path, self.spec["groups"]):
            group = parent / f"nvlhub-cage-{os.getpid()}"
            with contextlib.suppress(OSError):
                group.mkdir()
                files = [group / name for name in limits if (group / name).exists()]
                for file in files:
                    file.write_text(str(limits[file.name]), encoding="ascii")
                if files:
                    (group / "cgroup.procs").write_text(str(init), encoding="ascii")
                    self.group = group
                    return
            with contextlib.suppress(OSError):
                group.rmdir()

    @property
    def _most(self) -> int:
        return int(self.spec["memory"]) + int(self.spec["disk"])

    def _out_of_memory(self) -> bool:
        if self.group is None:
            return False
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                for line in (self.group / name).read_text(encoding="ascii").splitlines():
                    if line.startswith("oom_kill ") and line.split()[1] != "0":
                        return True
        return False

    def _too_large(self, space: str) -> bool:
        """Tell whether what is resident is too much: where no group counts it, and before one does.

        What is shared counts for each that has it mapped, and may be as much more as files may be: those in memory are part of
        it. A group knows better what is shared.
        """
        own = shared = 0
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdigit() and str((process / "ns" / "pid").readlink()) == space:
                    lines = (process / "status").read_text(encoding="utf-8", errors="replace").splitlines()
                    told = dict(line.split(":", 1) for line in lines if line.startswith("Rss"))
                    own += int(told.get("RssAnon", "0 kB").split()[0])
                    shared += int(told.get("RssShmem", "0 kB").split()[0])
        if own * 1024 > int(self.spec["memory"]):
            return True
        return self.group is None and (own + shared) * 1024 > self._most

    # --- inside -----------------------------------------------------------------------------------------------

    def _init(self, log: int, told: int, go: int) -> None:
        """Be the first process inside: build the root, start the command, end with it."""
        code = 125
        try:
            libc.prctl(PDEATHSIG, signal.SIGKILL)
            if os.read(go, 1) == b"1":
                self._enter()
                libc.prctl(DUMPABLE, 0)
                first = os.fork()
                if first == 0:
                    self._become(log, told)
                os.close(log)
                code = self._reap(first)
        except (OSError, Caged) as error:
            os.write(told, str(error)[:900].encode())
        finally:
            os._exit(code)

    def _reap(self, first: int) -> int:
        while True:
            pid, status = os.wait()
            if pid == first:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code

    def _enter(self) -> None:
        """Make the root and go there; what was there before can be reached no more."""
        checked("a namespace for mounts", libc.unshare(NEWNS))
        root = self.folder / "root"
        root.mkdir()
        mount("tmpfs", root, "tmpfs", NOSUID | NODEV, "size=1m,mode=0755")
        # Before the interpreter, which may itself live below one of them: it would be covered.
        for name, place in (("work", "attempt"), ("tmp", "tmp"), ("shm", "dev/shm")):
            bind(self.stage / name, root / place, NOSUID | NODEV)
        for path in map(Path, self.spec["binds"]):
            inside = root / path.relative_to("/")
            if path.is_symlink():
                inside.parent.mkdir(parents=True, exist_ok=True)
                inside.symlink_to(path.readlink())
            elif path.exists():
                bind(path, inside, RDONLY | NOSUID | NODEV)
        for name in ("null", "zero", "random", "urandom"):
            bind(Path("/dev") / name, root / "dev" / name, NOSUID)
        for path in map(Path, self.spec["devices"]):
            bind(path, root / path.relative_to("/"), NOSUID)
        (root / "dev" / "fd").symlink_to("/proc/self/fd")
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc" / "passwd").write_text(f"learner:x:{self.uid}:{self.uid}::/attempt:/bin/sh\n", encoding="ascii")
        (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n", encoding="ascii")
        (root / "proc").mkdir()
        # Where another proc is hidden in part (a container without privileges) it has none.
        with contextlib.suppress(Caged):
            mount("proc", root / "proc", "proc", NOSUID | NODEV | 8)
        os.chdir(root)
        call = PIVOT_ROOT.get(platform.machine())
        if call is None:
            raise Caged(f"no isolation is known for {platform.machine()}")
        checked("pivot_root", libc.syscall(call, b".", b"."))
        checked("umount", libc.umount2(b".", DETACH))
        mount("", Path("/"), flags=BIND | REMOUNT | RDONLY | NOSUID | NODEV)
        self._loopback()
        socket.sethostname("cage")
        forbid_user_spaces()

    def _loopback(self) -> None:
        """Let it talk to itself: a notebook's kernel does."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            fcntl.ioctl(line, 0x8914, struct.pack("16sh14x", b"lo", 0x41))

    def _become(self, log: int, told: int) -> None:
        """Become the command."""
        try:
            os.setsid()
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.chdir("/attempt")
            self._rlimits()
            if self.root:
                os.setgroups([])
            os.setresgid(self.uid, self.uid, self.uid)
            os.setresuid(self.uid, self.uid, self.uid)
            libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
            os.umask(0o022)
            os.execve(self.spec["argv"][0], self.spec["argv"], self.spec["env"])  # noqa: S606
        except (OSError, ValueError) as error:
            os.write(told, f"start: {error}"[:900].encode())
        finally:
            os._exit(126)

    def _rlimits(self) -> None:
        limits = {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_CPU: int(self.spec["seconds"]) * 4 + 1,
            resource.RLIMIT_DATA: self.spec["memory"],
            resource.RLIMIT_FSIZE: self.spec["disk"],
            resource.RLIMIT_NOFILE: 512,
            resource.RLIMIT_NPROC: self.spec["processes"],
        }
        if self.spec["devices"]:
            # A driver sets aside addresses by the hundred gigabyte: group and look count what is really used.
            del limits[resource.RLIMIT_DATA]
        for limit, value in limits.items():
            resource.setrlimit(limit, (value, value))

    # --- afterwards -------------------------------------------------------------------------------------------

    def _collect(self, name: str, largest: int) -> str:
        """Copy an output out; return ``ok``, or what is wrong with it: missing, link, kind, large."""
        *folders, file = name.split("/")
        place = os.open(self.stage / "work", os.O_RDONLY | os.O_DIRECTORY)
        opened = [place]
        try:
            for folder in folders:
                place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
                opened.append(place)
            told = os.stat(file, dir_fd=place, follow_symlinks=False)
            if stat.S_ISLNK(told.st_mode):
                return "link"
            if not stat.S_ISREG(told.st_mode):
                return "kind"
            if told.st_size > largest:
                return "large"
            found = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
            opened.append(found)
            target = self.folder / "out" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as copy, os.fdopen(os.dup(found), "rb") as source:
                shutil.copyfileobj(source, copy)
        except (FileNotFoundError, NotADirectoryError):
            return "missing"
        except OSError:
            return "link"
        finally:
            for one in opened:
                os.close(one)
        return "ok"


class Log:
    """What was printed: its beginning and its end."""

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._head, self._tail, self._total = b"", b"", 0

    def add(self, piece: bytes) -> None:
        """Take what was printed."""
        self._total += len(piece)
        room = self._half - len(self._head)
        self._head += piece[:room]
        self._tail = (self._tail + piece[room:])[-self._half :]

    def text(self) -> str:
        """Return it, with a mark where something is left out."""
        left = self._total - len(self._head) - len(self._tail)
        middle = f"\n[… {left} bytes …]\n" if left else ""
        return self._head.decode(errors="replace") + middle + self._tail.decode(errors="replace")


def main() -> None:
    """Do what the input says."""
    libc.prctl(PDEATHSIG, signal.SIGKILL)
    # Another uid has to find its way through the root that is made here, whoever started this.
    os.umask(0o022)
    spec = json.load(sys.stdin)
    try:
        report = Cage(spec).run()
    except (OSError, Caged) as error:
        report = {"ended": "cage", "code": 0, "seconds": 0.0, "log": str(error), "outputs": {}, "memory_group": False}
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
