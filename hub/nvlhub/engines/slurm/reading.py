"""What Slurm's commands print -> what it means. Times in Unix seconds: the commands are run with the time zone UTC.

Text, not JSON: the text of these commands has been the same since 20.02, their JSON changes with each release.
"""

from __future__ import annotations

import calendar
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nvlhub.engines.slurm.hostlist import expand
from nvlhub.engines.slurm.names import MARK

_QUEUE_FIELDS = ("%A", "%T", "%u", "%P", "%S", "%e", "%V", "%M", "%N", "%D", "%b", "%r", "%j", "%k")
"""What ``squeue`` is asked for. The last two are words of people: they may hold anything, lines of ours included."""
_RECORD_FIELDS = ("JobIDRaw", "User", "State", "Start", "End", "ElapsedRaw", "AllocTRES", "JobName", "SubmitLine")
"""What ``sacct`` is asked for. The last two are words of people; nobody can change the last one afterwards."""
_GRES = re.compile(r"gpu(?::[A-Za-z0-9_.-]+)?[:=](\d+)(?:\(S:[^)]*\))?(?:\(IDX:([^)]*)\))?")
_TRES_GPUS = re.compile(r"(?:^|,)gres/gpu=(\d+)")
_PAIR = re.compile(r"(?:^|\s)([A-Z][A-Za-z:/_]*)=")
_JOB = re.compile(r"^JobId=(\d+) (?:(?:Array|Het)\w+=\S+ )*JobName=", re.MULTILINE)
_LEASE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MOST_GPUS = 1024
"""GPUs that a node may have."""
Given = tuple[tuple[str, tuple[int, ...]], ...]
"""Nodes, and the indices of the GPUs on each, as a job was given them."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A job as ``squeue`` lists it."""

    job: int
    state: str
    user: str
    start: int | None
    """When it began, or is expected to."""
    end: int | None
    submitted: int | None
    ran: int
    """Seconds that it has run so far, suspended ones left out."""
    nodes: str
    gpus: int
    """GPUs on all its nodes, or that it is to have there."""
    reason: str
    name: str
    lease: str
    """The lease that it says it is for; empty: not one of ours. Whoever runs a job can change this."""
    partitions: frozenset[str] = frozenset()
    """Where it runs, or may."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node as ``scontrol show node`` shows it."""

    name: str
    address: str
    state: frozenset[str]
    """In capitals, flags included: IDLE, DRAIN, DOWN, NOT_RESPONDING …"""
    gpus: int
    gpu_type: str
    features: frozenset[str]
    partitions: frozenset[str] = frozenset()
    reason: str = ""
    """Why it is out of service, in an administrator's words."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition as ``scontrol show partition`` shows it."""

    name: str
    state: str
    """In capitals: UP, DOWN, DRAIN, INACTIVE."""
    default: bool


@dataclass(frozen=True, slots=True)
class Past:
    """One run of a job as ``sacct`` has it."""

    job: int
    user: str
    lease: str
    state: str
    start: int
    end: int | None
    ran: int
    gpus: int


def comment(pool: str, lease: str) -> str:
    """Return what marks a job as one of ours: of this pool, for this lease."""
    return f"{MARK}:{pool}:{lease}"


def job_name(pool: str, lease: str) -> str:
    """Return the name of a job: accounting keeps names where it does not keep comments."""
    return f"{MARK}-{pool}-{lease}"


def fresh_separator() -> str:
    """Return signs that no job's name or comment has: nobody knows them beforehand."""
    return f"|{secrets.token_hex(8)}|"


def queue_format(separator: str) -> str:
    """Return the value of ``squeue -o``."""
    return "".join(field + separator for field in _QUEUE_FIELDS)


def _rows(text: str, separator: str, width: int) -> Iterator[list[str]]:
    """Yield rows of `width` fields that each end with the separator; only Slurm knows it, so nothing in a field is a row.

    What is cut off is none.
    """
    parts = text.split(separator)
    for start in range(0, len(parts) - width, width):
        yield [parts[start].rpartition("\n")[2], *parts[start + 1 : start + width]]


def queue(text: str, pool: str, separator: str) -> list[Queued]:
    """Read what ``squeue -h -t all -o <queue_format>`` prints."""
    found = []
    for row in _rows(text, separator, len(_QUEUE_FIELDS)):
        job, state, user, where, start, end, submitted, ran, nodes, count, gres, reason, name, words = row
        if job.isdecimal():
            each = sum(int(number) for number, _ in _GRES.findall(gres))
            found.append(
                Queued(
                    int(job), state, user, moment(start), moment(end), moment(submitted), duration(ran), nodes,
                    each * int(count) if count.isdecimal() else 0, reason, name, _lease(words, f"{MARK}:{pool}:"), frozenset(where.split(",")),
                )
            )  # fmt: skip
    return found


def given(text: str, names: Mapping[int, str]) -> dict[int, list[Given]]:
    """Return the GPUs of running jobs, by what ``scontrol show job -d -o`` prints. `names` are those of the jobs wanted.

    The name is the one thing of a person's that stands before them; it is known from the queue and left out. Other words
    of theirs can look like the beginning of a job: where a job has several answers, whoever asked for all must ask for it
    alone, and take the first.
    """
    found: dict[int, list[Given]] = {}
    for beginning in _JOB.finditer(text):
        name = names.get(int(beginning[1]))
        if name is not None and text.startswith(f"{name} UserId=", beginning.end()):
            start = beginning.end() + len(name)
            end = text.find(" MinCPUsNode=", start)
            try:
                told = tuple(_given(text[start:end]))
            except ValueError:
                # No node is called so: these are not Slurm's words.
                told = ()
            found.setdefault(int(beginning[1]), []).append(told)
    return found


def _given(text: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield nodes with the GPUs on each: ``Nodes=a[1-2] CPU_IDs=0-7 Mem=0 GRES=gpu:gb300:3(IDX:0-2)``."""
    for nodes, rest in re.findall(r"\sNodes=(\S+)((?:(?!\sNodes=).)*)", text):
        gres = re.search(r"\sGRES=(\S+)", rest)
        if gres is not None:
            indices = tuple(index for _, told in _GRES.findall(gres[1]) for index in indices_of(told))
            for node in expand(nodes):
                yield node, indices


def nodes(text: str) -> Iterator[Node]:
    """Yield what ``scontrol show node -o`` prints: one node a line."""
    for line in text.splitlines():
        pairs = _pairs(line)
        if "NodeName" in pairs:
            gres = [
                (kind, int(count))
                for kind, count in re.findall(r"gpu(?::([A-Za-z0-9_.-]+))?:(\d+)", pairs.get("Gres", ""))
            ]
            yield Node(
                pairs["NodeName"], pairs.get("NodeAddr") or pairs["NodeName"],
                frozenset(part.rstrip("*#~$@^!%") for part in pairs.get("State", "").upper().split("+"))
                | ({"NOT_RESPONDING"} if "*" in pairs.get("State", "") else set()),
                sum(count for _, count in gres), next((kind for kind, _ in gres if kind), ""),
                frozenset(pairs.get("ActiveFeatures", pairs.get("AvailableFeatures", "")).split(",")),
                frozenset(pairs.get("Partitions", "").split(",")) - {""}, _reason(line),
            )  # fmt: skip


def _reason(line: str) -> str:
    """Return the reason of a node: words of people, with who wrote them and when behind it."""
    told = re.search(r"\sReason=(.*?)(?: \[\S+@\d{4}-\S+\].*)?$", line)
    return "" if told is None or told[1] in {"(null)", "none", "None"} else told[1].strip()[:200]


def partitions(text: str) -> Iterator[Partition]:
    """Yield what ``scontrol show partition -o`` prints: one partition a line."""
    for line in text.splitlines():
        pairs = _pairs(line)
        if "PartitionName" in pairs:
            yield Partition(pairs["PartitionName"], pairs.get("State", "").upper(), pairs.get("Default") == "YES")


def settings(text: str) -> dict[str, str]:
    """Return what ``scontrol show config`` prints, by name."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def topology(text: str) -> Mapping[str, tuple[str, ...]]:
    """Return what ``scontrol show topology`` prints: leaf switches, or blocks, with their nodes."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        pairs = _pairs(line)
        name = pairs.get("SwitchName") or pairs.get("BlockName")
        if name and pairs.get("Nodes") and pairs.get("Level", "0") == "0":
            found[name] = expand(pairs["Nodes"])
    return found


def record_format(fields: str) -> str:
    """Return the value of ``sacct -o``, of what ``sacct --helpformat`` says there is: the last was not always."""
    known = {field.lower() for field in fields.split()}
    return ",".join(field for field in _RECORD_FIELDS if field != "SubmitLine" or field.lower() in known)


def records(text: str, pool: str, separator: str, fields: str) -> Iterator[Past]:
    """Yield what ``sacct -X -n -p --delimiter=<separator> -o <fields>`` prints, as far as it is ours and ran."""
    for row in _rows(text, separator, fields.count(",") + 1):
        job, user, state, start, end, ran, tres, name, *submitted = row
        lease, began = _submitted_as(name, submitted, f"{MARK}-{pool}-"), moment(start)
        gpus = _TRES_GPUS.search(tres)
        if job.isdecimal() and lease and began is not None and gpus:
            yield Past(int(job), user, lease, state.split(" ")[0], began, moment(end), int(ran or 0), int(gpus[1]))


def _submitted_as(name: str, submitted: list[str], mark: str) -> str:
    """Return the lease of a job by the name that it was submitted with; by the one that it has where that is not known."""
    if not submitted:
        return _lease(name, mark)
    said = re.search(r"(?:^|\s)--job-name=(\S+)", submitted[0])
    return _lease(said[1], mark) if said else ""


def indices_of(text: str) -> Iterator[int]:
    """Yield indices: ``0-2,5``; ``N/A`` has none."""
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            yield from range(int(first), min(int(last or first) + 1, MOST_GPUS))


def moment(text: str) -> int | None:
    """Return a time; None for ``N/A``, ``Unknown``, ``None``."""
    try:
        return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None


def duration(text: str) -> int:
    """Return seconds: ``1-02:03:04``, ``02:03:04``, ``03:04``; anything else is 0."""
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdecimal() for part in [*parts, days or "0"]):
        return 0
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + int(part)
    return int(days or 0) * 86_400 + seconds


def _lease(words: str, mark: str) -> str:
    """Return the lease after a mark. A whole id: the name of one pool can be the beginning of another's."""
    said = words.removeprefix(mark).strip()
    return said if words.startswith(mark) and _LEASE.fullmatch(said) else ""


def _pairs(line: str) -> dict[str, str]:
    """Return ``Name=value`` pairs; a value ends where the next name begins, and the first of a name counts."""
    found: dict[str, str] = {}
    starts = list(_PAIR.finditer(line))
    for this, following in zip(starts, [*starts[1:], None], strict=False):
        found.setdefault(this[1], line[this.end() : following.start() if following else len(line)].strip())
    return {name: value for name, value in found.items() if value != "(null)"}
