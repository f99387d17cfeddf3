"""Processes that end with the one that started them."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def follow_parent() -> None:
    """Have the kernel end this process when its parent dies, and let Ctrl+C's signal end it as usual.

    A shell starts what runs in its background with SIGINT ignored, and children inherit that: a hub would then wait in vain for
    what it stops with SIGINT.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
