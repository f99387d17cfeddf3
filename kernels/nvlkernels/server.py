"""Becomes a user's notebook server in a batch job, and tells the hub its port.

    python -m nvlkernels.server  < one line of JSON

The line, from the hub's spawner: ``env`` (laid over the job's environment), ``argv`` (the server's command) and ``bind`` (address
to listen on; empty: the one by which this node reaches the hub). Nothing of it is ever in arguments, and only the server's own
environment holds it afterwards.

    this process ── reserves a port ── becomes the server ──────────────────── listens
         └─ helper ── waits until the port is listened on ── POST {port} to the hub ── ends

The helper keeps the port reserved until the server has it, and says nothing of a port on which another account listens. A hub
that wants no port of this job (it was given up meanwhile) has the server end: no job outlives its start.

It is in the path of every start: standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import select
import signal
import socket
import stat
import sys
import time
from typing import Any
from urllib.parse import SplitResult, urlsplit

REPORT = "/nvlhub-server/port"
"""Path below the hub's address."""
LISTENING = "0A"
"""The kernel's word for a TCP socket that listens."""
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
LOOK = 0.1
"""Seconds between two looks at the server's port."""
PAUSE = 1.0
"""Seconds between two tries to reach the hub."""
PATIENCE = 120.0
"""Seconds that a hub may be away before the server is given up."""


class NotWantedError(Exception):
    """The hub does not want this server; the text is its answer."""


def route_to(host: str, port: int) -> str:
    """Return this machine's address on the way to another. Raises `OSError`."""
    family, _, _, _, there = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        # Nothing is sent: this only asks the routing table.
        probe.connect(there)
        return str(probe.getsockname()[0])


def reserve(address: str) -> socket.socket:
    """Return a socket that holds a free port: nobody is given it, and the server can still listen on it.

    Linux lets two sockets with SO_REUSEADDR bind one port as long as none of them listens.
    """
    holder = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((address, 0))
    return holder


def listened_on(holder: socket.socket, account: int, tables: tuple[str, ...] = TABLES) -> bool:
    """Tell whether a socket of `account` listens on the address and port that `holder` holds."""
    address, port = holder.getsockname()[:2]
    packed = socket.inet_pton(holder.family, address)
    # Words of 32 bits as they lie in memory.
    words = (int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4))
    sought = f"{''.join(f'{word:08X}' for word in words)}:{port:04X}"
    for table in tables:
        with contextlib.suppress(OSError), open(table, encoding="ascii") as lines:  # noqa: PTH123  # no import for it
            for _, local, _, state, _, _, _, owner, *_ in map(str.split, lines):
                if local == sought and state == LISTENING:
                    return int(owner) == account
    return False


def told(letter: dict[str, Any], address: str, port: int) -> dict[str, str]:
    """Return the environment of the server."""
    bind = letter.get("bind") or address
    service = urlsplit(letter["env"]["JUPYTERHUB_SERVICE_URL"])
    host = f"[{bind}]" if ":" in bind else bind
    # A kernel elsewhere, or a job that its user submits, is no part of this job.
    own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM") or name == "SLURM_CONF"}
    account = pwd.getpwuid(os.getuid())
    who = {"HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name, "SHELL": account.pw_shell}
    return {
        **who,
        **own,
        # Agents of kernels on other nodes dial this.
        "NVLHUB_MAILBOX_BIND": address,
        **letter["env"],
        "JUPYTERHUB_SERVICE_URL": service._replace(netloc=f"{host}:{port}").geturl(),
    }


def report(environment: dict[str, str], port: int) -> None:
    """Tell the hub the port. Raises `NotWantedError`; waits for a hub that is away."""
    from urllib.error import HTTPError  # noqa: PLC0415  # while the server starts, not before
    from urllib.request import ProxyHandler, Request, build_opener  # noqa: PLC0415

    hub = environment["JUPYTERHUB_API_URL"].rstrip("/").removesuffix("/api")
    request = Request(  # noqa: S310  # the hub's own address
        hub + REPORT, data=json.dumps({"port": port}).encode(), method="POST",
        headers={"Authorization": f"token {environment['JUPYTERHUB_API_TOKEN']}", "Content-Type": "application/json"},
    )  # fmt: skip
    # What the site's environment says of proxies is not for the way to the hub.
    opener = build_opener(ProxyHandler({}))
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            opener.open(request, timeout=10).close()
        except HTTPError as error:
            error.close()
            if error.code < 500:
                raise NotWantedError(f"{error.code} {error.reason}") from None
            problem: Exception = error
        except OSError as error:
            problem = error
        else:
            return
        if time.monotonic() > give_up:
            raise NotWantedError(f"no answer for {PATIENCE:.0f} s: {problem}")
        time.sleep(PAUSE)


def help_along(server: int, holder: socket.socket, environment: dict[str, str]) -> None:
    """Report the port once the server (a pid's file descriptor) listens; end the server if it is not wanted."""
    port = holder.getsockname()[1]
    while not listened_on(holder, os.getuid()):
        if select.select([server], [], [], LOOK)[0]:
            return
    holder.close()
    try:
        report(environment, port)
    except NotWantedError as refusal:
        print(f"nvlhub: the hub does not want this server ({refusal}); it ends", file=sys.stderr)  # noqa: T201
        signal.pidfd_send_signal(server, signal.SIGTERM)


def split_off_helper(holder: socket.socket, environment: dict[str, str]) -> None:
    """Start the helper as nobody's child: the server does not wait for children that it does not know."""
    server = os.pidfd_open(os.getpid())
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os.close(server)
        return
    status = 1
    try:
        if os.fork() == 0:
            help_along(server, holder, environment)
        status = 0
    finally:
        # Never back into what the parent goes on with.
        os._exit(status)


def hub_of(environment: dict[str, str]) -> tuple[str, int]:
    """Return host and port of the hub."""
    url: SplitResult = urlsplit(environment["JUPYTERHUB_API_URL"])
    return url.hostname or "127.0.0.1", url.port or (443 if url.scheme == "https" else 80)


def main() -> int:
    """Read the letter, reserve a port, become the server. Returns only if that fails."""
    letter = json.loads(sys.stdin.readline())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if stat.S_ISREG(os.fstat(1).st_mode):
        # The job's log: what a server writes is nobody else's.
        os.fchmod(1, 0o600)
    try:
        address = route_to(*hub_of(letter["env"]))
        holder = reserve(letter.get("bind") or address)
    except OSError as error:
        print(f"nvlhub: no port of this node for the hub {hub_of(letter['env'])}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    environment = told(letter, address, holder.getsockname()[1])
    split_off_helper(holder, environment)
    argv = letter["argv"]
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606  # this process is to be the server
    except OSError as error:
        print(f"nvlhub: {argv[0]} cannot be started on this node: {error.strerror}", file=sys.stderr)  # noqa: T201
    return 127


if __name__ == "__main__":
    sys.exit(main())
