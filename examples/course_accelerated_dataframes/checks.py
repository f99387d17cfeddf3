"""Tells at once whether an answer is right, and tells the instructor's board where it is one.

Nothing here decides about a certificate: the assessment is run apart from this kernel, on data that nobody here has.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from typing import Any

try:
    from nvlkernels import course
except ImportError:
    course = None

IN_CLASS = bool(os.environ.get("NVLHUB_COURSE_RUN"))

results: dict[str, bool] = {}
"""What was checked in this kernel, and whether it was right the last time."""


def check(name: str, right: bool | Callable[[], Any], hint: str = "") -> None:
    """Print whether the answer called `name` is right.

    Args:
        name: Which exercise.
        right: The outcome, or a function that finds it: one that fails counts as not right, and why is printed.
        hint: What to look at when it is not.
    """
    why = hint
    try:
        ok = bool(right() if callable(right) else right)
    except Exception as error:  # noqa: BLE001  # whatever an answer does, the lesson goes on
        ok, why = False, f"{hint} ({type(error).__name__}: {error})".strip()
    results[name] = ok
    print(f"✔ {name}: right" if ok else f"✘ {name}: not yet. {why}".rstrip())  # noqa: T201
    _report("check", name, ok)


def step(number: int, of: int) -> None:
    """Say which of the lesson's steps this is."""
    print(f"step {number} of {of}")  # noqa: T201
    _report("step", number, of)


def hand() -> None:
    """Raise a hand: the instructor sees which seat it is."""
    if course is not None and IN_CLASS:
        course.hand()
    else:
        print("No class is running here: wave.")  # noqa: T201


def _report(what: str, *told: Any) -> None:
    """Tell the portal, where there is a class. What it says to that is not shown: a lesson goes on without a network."""
    if course is not None and IN_CLASS:
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
            getattr(course, what)(*told)
