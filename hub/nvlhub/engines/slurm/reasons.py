"""Slurm's words for why a job waits, was refused or ended -> message ids (``locales/*/slurm.ftl``)."""

from __future__ import annotations

import re

_WAITS = (
    (r"None|Priority|Prolog", "slurm-wait-priority"),
    (r"Resources|NodesBusy|GresNotAvail.*", "slurm-wait-resources"),
    (r"ReqNodeNotAvail.*[Rr]eserved.*", "slurm-wait-kept"),
    (r"ReqNodeNotAvail.*|NodeDown|.*[Nn]odes required for job are DOWN.*|PartitionDown|PartitionInactive", "slurm-wait-nodes-down"),
    (r"Reservation|ReservationDeleted", "slurm-wait-reservation"),
    (r"Assoc.*Minutes.*|QOS.*Minutes.*|Assoc.*RunMinutes.*", "slurm-wait-budget"),
    (r"(?:Assoc|QOS|MaxGRES|MaxTRES|Grp).*", "slurm-wait-limit"),
    (r"JobHeldAdmin|JobHeldUser|JobHoldMaxRequeue", "slurm-wait-held"),
    (r"BeginTime|Cleaning|JobLaunchFailure|launch.failed.*", "slurm-wait-again"),
    (r"Licenses", "slurm-wait-licenses"),
    (r"Dependency.*", "slurm-wait-dependency"),
    (r"PartitionTimeLimit|PartitionNodeLimit|BadConstraints|InvalidAccount|InvalidQOS|AccountNotAllowed|QOSNotAllowed", "slurm-wait-never"),
)  # fmt: skip
_REFUSALS = (
    (r"Unable to contact slurm controller|Connection refused|Connection timed out|Socket timed out|controller.*not respond", "slurm-away"),
    (r"Munge|Protocol authentication error|Invalid authentication credential|clock skew|Rewound|Expired credential", "slurm-munge"),
    (r"Assoc\w*Minutes|QOS\w*Minutes", "slurm-refused-budget"),
    (r"violates accounting/QOS policy|Assoc(?:Max|Grp)\w*|QOS(?:Max|Grp)\w*", "slurm-refused-limit"),
    (r"Invalid account\b|account/partition combination", "slurm-refused-account"),
    (r"[Ii]nvalid partition|partition.*not available|Job violates.*partition|User's group not permitted", "slurm-refused-partition"),
    (r"Invalid qos", "slurm-refused-qos"),
    (r"time limit is invalid|exceeds.*[Tt]ime ?[Ll]imit", "slurm-refused-time"),
    (r"configuration is not available|[Nn]ode count specification invalid|More processors requested|Invalid feature", "slurm-refused-shape"),
    (r"Access denied to requested reservation|reservation is invalid", "slurm-refused-reservation"),
    (r"Invalid node name", "slurm-tray-unknown"),
    (r"Invalid generic resource", "slurm-refused-gres"),
    (r"[Ii]nvalid user|not permitted|Access/permission denied|a password is required|sudo:", "slurm-refused-user"),
    (r"Job submit/allocate.*disabled|[Ss]lurm temporarily unable|backup controller in standby|too many jobs|MaxJobCount", "slurm-refused-busy"),
)  # fmt: skip
_ENDS = {
    "TIMEOUT": "slurm-end-time",
    "DEADLINE": "slurm-end-time",
    "PREEMPTED": "slurm-end-preempted",
    "CANCELLED": "slurm-end-cancelled",
    "OUT_OF_MEMORY": "slurm-end-memory",
    "FAILED": "slurm-end-failed",
    "NODE_FAIL": "slurm-end-node",
    "BOOT_FAIL": "slurm-end-node",
    "LAUNCH_FAILED": "slurm-end-node",
}
BROKEN = frozenset({"NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED"})
"""States of a job that its machine ended."""
OVER = BROKEN | {"CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"}
"""States of a job that has ended. Others that nobody knows yet are none of these."""
OWN = frozenset({"JobHeldUser", "BeginTime", "Dependency", "DependencyNeverSatisfied"})
"""Reasons to wait that only the job's own user makes."""
AWAY = frozenset({"slurm-away", "slurm-munge"})
"""Refusals that are no answer: the controller cannot be spoken to."""


def why_waiting(reason: str) -> str:
    """Return the message for a pending job's reason."""
    plain = reason.strip("() ")
    return next((slug for pattern, slug in _WAITS if re.fullmatch(pattern, plain)), "slurm-wait-other")


def why_refused(error: str) -> str:
    """Return the message for what a command wrote to its standard error; empty: nothing that is known."""
    return next((slug for pattern, slug in _REFUSALS if re.search(pattern, error)), "")


def why_ended(state: str) -> str:
    """Return the message for the last state of a job; empty: there is nothing to say."""
    return _ENDS.get(state, "")
