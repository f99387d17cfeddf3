"""Keeps a private Slurm until standard input ends: ``python -m nvlhub.engines.slurm.keeper DIRECTORY --domains 1``.

Whoever holds the other end of the pipe ends it, by closing it or by dying, however that happens; jobs end, too. It prints
one line when all nodes are idle, one for each daemon that ended by itself and is started again, and what went wrong on standard
error.
"""

from __future__ import annotations

import argparse
import select
import signal
import sys
import time
from pathlib import Path

from nvlhub.engines.slurm.private import private_slurm

READY = "ready"
LOOK = 1.0
"""Seconds between two looks whether a daemon has ended."""
ACCOUNT = "nvlhub-up"
"""Slurm account of whoever runs this: without one no job is admitted where there is accounting. None of those that
``nvlhub slurm sync`` takes for its own."""


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m nvlhub.engines.slurm.keeper")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--domains", type=int, default=1)
    parser.add_argument("--trays", type=int, default=18)
    parser.add_argument("--cpu-nodes", type=int, default=1)
    parser.add_argument("--no-accounting", action="store_true")
    told = parser.parse_args()
    # Ended by the pipe alone: Ctrl+C in a terminal is for the one that holds it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    try:
        with private_slurm(
            told.directory, domains=told.domains, trays=told.trays, cpu_nodes=told.cpu_nodes,
            accounting=not told.no_accounting,
        ) as slurm:  # fmt: skip
            if not told.no_accounting:
                slurm.add_account(ACCOUNT)
            _say(READY)
            while not select.select([sys.stdin], [], [], LOOK)[0]:
                for words in slurm.revive(time.monotonic()):
                    _say(words)
            sys.stdin.read()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _end(number: int, _frame: object) -> None:
    # Once is enough: what ends is not to be disturbed.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
