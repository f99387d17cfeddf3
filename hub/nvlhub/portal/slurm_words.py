"""What Slurm says about a server's job -> the sentence that its user reads. Pure."""

from __future__ import annotations

import re

WAITS = (
    (re.compile(r"^(Resources|Prolog|BurstBuffer\w*)$"), "servers-waits-room"),
    (re.compile(r"^(Priority|None|)$"), "servers-waits-turn"),
    (re.compile(r"^(Assoc|QOS|MaxJobsPer|MaxSubmit|AccountNotAllowed|QosNotAllowed|InvalidQOS|InvalidAccount)"), "servers-waits-limit"),
    (re.compile(r"^(JobHeld|Job[A-Z]\w*Held|Held)"), "servers-waits-held"),
    (re.compile(r"^(ReqNodeNotAvail|Reservation|NodeDown|PartitionDown|PartitionInactive|BadConstraints)"), "servers-waits-nodes"),
    (re.compile(r"^(PartitionTimeLimit|PartitionNodeLimit)"), "servers-waits-never"),
)  # fmt: skip
REFUSALS = (
    (re.compile(r"invalid account", re.IGNORECASE), "servers-refused-account"),
    (re.compile(r"Assoc\w+|QOS\w+|accounting/QOS policy", re.IGNORECASE), "servers-refused-limit"),
    (
        re.compile(r"partition|time limit|node configuration|memory specification|cpu count|feature", re.IGNORECASE),
        "servers-refused-shape",
    ),
)
ENDS = {
    "TIMEOUT": "servers-ended-time", "DEADLINE": "servers-ended-time", "OUT_OF_MEMORY": "servers-ended-memory",
    "CANCELLED": "servers-ended-cancelled", "PREEMPTED": "servers-ended-cancelled", "NODE_FAIL": "servers-ended-node",
    "BOOT_FAIL": "servers-ended-node",
}  # fmt: skip


def waits(reason: str) -> str:
    """Return the id of the sentence for why a job waits."""
    return next((slug for pattern, slug in WAITS if pattern.search(reason)), "servers-waits-other")


def refusal(said: str) -> str:
    """Return the id of the sentence for what sbatch said when it took no job."""
    return next((slug for pattern, slug in REFUSALS if pattern.search(said)), "servers-refused-other")


def end(state: str) -> str:
    """Return the id of the sentence for how a job ended before its server answered."""
    return ENDS.get(state, "servers-ended-failed")


def first_line(said: str) -> str:
    """Return the first line of what a command said, without the command's name."""
    line = said.strip().partition("\n")[0]
    return re.sub(r"^\w+: (error: )?", "", line)[:200]
