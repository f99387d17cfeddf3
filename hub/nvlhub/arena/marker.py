"""Judges outputs: run in a cage of its own, with what the command left as files and the hidden data beside them.

A program of its own (standard library, and numpy for its files). Nothing that a learner wrote is imported, unpickled or
evaluated: their files are read as numbers and text alone. The instructor's graders are run, their ``grade`` is called.
"""

from __future__ import annotations

import csv
import json
import math
import runpy
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path()
OUTPUTS, HIDDEN, GRADERS = HERE / "outputs", HERE / "hidden", HERE / "graders"


class Unread(Exception):  # noqa: N818  # a learner's file, not a failure of ours
    """An output is not what it should be; the text is the id of a sentence."""


def load(folder: Path, name: str, kind: str) -> Any:
    """Read a file: JSON as it is, the columns of a CSV, an array, or text. Raises `Unread`."""
    try:
        if kind == "npy":
            return array(folder / name)
        text = (folder / name).read_text(encoding="utf-8-sig")
        if kind == "json":
            return json.loads(text)
        if kind == "csv":
            head, *rows = list(csv.reader(text.splitlines()))
            return {column: [row[place] for row in rows if row] for place, column in enumerate(head)}
    except FileNotFoundError:
        raise Unread("mark-missing") from None
    except (OSError, ValueError, IndexError, RecursionError, MemoryError, csv.Error):
        raise Unread("mark-unreadable") from None
    return text


def array(path: Path) -> Any:
    """Read an array of numbers that is as large as its header says, and not larger. Raises `Unread`, `ValueError`."""
    import numpy as np  # noqa: PLC0415  # most rubrics read none
    from numpy.lib import format as npy  # noqa: PLC0415

    with path.open("rb") as file:
        version = npy.read_magic(file)
        reader = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if reader is None:
            raise Unread("mark-unreadable")
        shape, _, kind = reader(file)
        left = path.stat().st_size - file.tell()
    if kind.kind not in "biuf" or math.prod(shape) * kind.itemsize != left:
        raise Unread("mark-unreadable")
    return np.load(path, allow_pickle=False)


def number(value: Any) -> float:
    """Return what is a finite number. Raises `Unread`."""
    if isinstance(value, bool):
        raise Unread("mark-no-number")
    try:
        found = float(value.strip() if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError, AttributeError):
        raise Unread("mark-no-number") from None
    if not math.isfinite(found):
        raise Unread("mark-no-number")
    return found


def picked(told: Any, kind: str, at: str) -> Any:
    """Return one value of an output. Raises `Unread`."""
    if kind == "npy":
        if told.size != 1:
            raise Unread("mark-no-number")
        return told.reshape(-1)[0].item()
    if kind == "csv":
        column = told.get(at)
        if column is None or len(column) != 1:
            raise Unread("mark-no-number")
        return column[0]
    for part in at.split(".") if kind == "json" and at else ():
        try:
            told = told[int(part)] if isinstance(told, list) else told[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise Unread("mark-no-number") from None
    return told


def values(told: Any, kind: str, at: str) -> list[Any]:
    """Return what is compared, one after the other. Raises `Unread`."""
    match kind:
        case "npy":
            return [told.shape, *told.reshape(-1).tolist()]
        case "csv":
            if at not in told:
                raise Unread("mark-unreadable")
            return list(told[at])
        case "json":
            return list(leaves(picked(told, kind, at)))
        case _:
            return [line.rstrip() for line in told.strip().splitlines()]


def leaves(told: Any) -> Iterator[Any]:
    """Yield the values of nested JSON in order, each with the names that lead to it."""
    match told:
        case dict():
            for name in sorted(told):
                yield name
                yield from leaves(told[name])
        case list():
            yield len(told)
            for one in told:
                yield from leaves(one)
        case _:
            yield told


def same(one: Any, other: Any, tolerance: float) -> bool:
    """Tell whether two values are the same: plain numbers within the tolerance, all else exactly."""
    try:
        return abs(number(one) - number(other)) <= tolerance
    except Unread:
        return type(one) is type(other) and one == other


def judge(item: dict[str, Any], kinds: dict[str, str], seconds: float) -> dict[str, Any]:
    """Judge one item."""
    check = item["check"]
    if check == "grader":
        return graded(item["grader"])
    if check == "time":
        good = seconds <= item["max"]
        return mark(good, "mark-quick" if good else "mark-slow", seconds=f"{seconds:.1f}", most=f"{item['max']:g}")
    output = item["output"]
    told = load(OUTPUTS, output, kinds[output])
    if check == "number":
        return measured(number(picked(told, kinds[output], item["at"])), item["min"], item["max"])
    wanted = values(load(HIDDEN, item["hidden"], kinds[output]), kinds[output], item["at"])
    found = values(told, kinds[output], item["at"])
    if len(found) != len(wanted):
        return mark(False, "mark-length", found=str(len(found)))
    agree = sum(same(one, other, item["tolerance"]) for one, other in zip(found, wanted, strict=True))
    good = agree >= item["share"] * len(wanted)
    return mark(good, "mark-match" if good else "mark-differs")


def measured(found: float, least: float | None, most: float | None) -> dict[str, Any]:
    """Judge a number."""
    if least is not None and found < least:
        return mark(False, "mark-below", found=f"{found:.6g}", least=f"{least:g}")
    if most is not None and found > most:
        return mark(False, "mark-above", found=f"{found:.6g}", most=f"{most:g}")
    return mark(True, "mark-number", found=f"{found:.6g}")


def graded(name: str) -> dict[str, Any]:
    """Have the instructor's own code judge."""
    found = runpy.run_path(str(GRADERS / name))["grade"](OUTPUTS.resolve(), HIDDEN.resolve())
    share, text = found if isinstance(found, tuple) else (found, "")
    share = min(1.0, max(0.0, float(share)))
    return {**mark(share >= 1, "mark-graded"), "share_milli": int(share * 1000), "text": str(text)[:300]}


def mark(good: bool, slug: str, **members: str) -> dict[str, Any]:
    """Return what is told of an item."""
    return {"share_milli": 1000 if good else 0, "slug": slug, "members": members, "text": ""}


def marks(told: dict[str, Any]) -> list[dict[str, Any]]:
    """Judge all items; one that cannot be judged is worth nothing, and the others go on."""
    found = []
    for item in told["items"]:
        status = told["outputs"].get(item["output"], "ok")
        try:
            found.append(
                mark(False, f"mark-{status}") if status != "ok" else judge(item, told["kinds"], told["seconds"])
            )
        except Unread as error:
            found.append(mark(False, str(error)))
        except BaseException:  # noqa: BLE001  # whatever an instructor's grader does
            traceback.print_exc()
            found.append(mark(False, "mark-broken"))
    return found


if __name__ == "__main__":
    found = marks(json.loads(Path("told.json").read_text(encoding="utf-8")))
    Path("marks.json").write_text(json.dumps(found), encoding="utf-8")
    sys.exit(0)
