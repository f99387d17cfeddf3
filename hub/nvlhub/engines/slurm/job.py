"""A task -> how ``sbatch`` is asked for it: arguments and the text of the script. Nothing is run here.

What a user can choose (names of projects and profiles, environment) reaches neither a shell nor an argument unchecked: the
script is the same for everybody but for one line of JSON, in a here-document that the shell does not look into.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from nvlhub.engines.base import EngineError, Task
from nvlhub.engines.slurm.abilities import Abilities
from nvlhub.engines.slurm.hostlist import joined
from nvlhub.engines.slurm.inventory import Inventory
from nvlhub.engines.slurm.names import account_of, reservation_name
from nvlhub.engines.slurm.reading import comment, job_name
from nvlhub.flow.placement import SEGMENT_TRAYS

AGENT = "nvlkernels.agent"
END_OF_LETTER = "END_OF_LETTER"
EXPORT = "--export=ALL"
"""All that :class:`~nvlhub.engines.slurm.commands.Commands` lets `sbatch` have, which is no secret. With a list of names Slurm would run
a login shell of the user on the node first, at every start: a second, or whatever its profile does."""
HINTS: Mapping[str, str] = {
    "partition": "--partition",
    "qos": "--qos",
    "account": "--account",
    "reservation": "--reservation",
    "constraint": "--constraint",
    "cpus_per_gpu": "--cpus-per-gpu",
    "mem_per_gpu": "--mem-per-gpu",
    "nice": "--nice",
    "licenses": "--licenses",
    "tmp": "--tmp",
}
"""What a profile may tell (``hints.slurm``), and the option that it becomes."""
_VALUE = re.compile(r"[A-Za-z0-9_.,:+=@%&|*()\[\]-]{1,100}")
"""What the value of a hint may hold."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the settings say of this site; see :class:`nvlhub.settings.SlurmSettings`."""

    pool: str
    partition: str = ""
    account: str = ""
    qos: str = ""
    gres: str = "gpu"
    feature: str = "{domain}"
    pin: str = "tray"
    options: tuple[str, ...] = ()
    low_account: str = ""
    reservations: bool = False
    python: str = "python3"
    grace: int = 15
    simulated: bool = False


def arguments(task: Task, site: Site, inventory: Inventory, can: Abilities) -> list[str]:
    """Return the arguments of ``sbatch``. Raises `EngineError` for a hint that cannot be meant."""
    account = (task.preemptible and site.low_account) or site.account
    told = {
        "--partition": site.partition,
        "--account": account_of(account, task.project),
        "--qos": site.qos,
        **_hinted(task.hints),
    }
    where = constraint(task, site, inventory, can)
    if "--constraint" in where and told.get("--constraint"):
        # A profile cannot take a placement back: both hold.
        where["--constraint"] = _both(where["--constraint"], told["--constraint"])
    told |= where
    if site.reservations and task.reservation is not None:
        told["--reservation"] = reservation_name(task.reservation)
    return [
        "--parsable", "--no-requeue", "--output=/dev/null", EXPORT,
        f"--job-name={job_name(site.pool, task.lease_id)}", f"--comment={comment(site.pool, task.lease_id)}",
        f"--time={-(-limit(task.seconds, site.grace) // 60)}", *shape(task, site),
        *(f"{option}={value}" for option, value in told.items() if value), *site.options,
    ]  # fmt: skip


def limit(seconds: int, grace: int) -> int:
    """Return the time limit of a job in seconds: the portal ends it before Slurm would."""
    return seconds + grace + 60


def shape(task: Task, site: Site) -> list[str]:
    """Return how many nodes a job has, and which GPUs on each."""
    if not task.placement:
        return ["--nodes=1", "--ntasks=1"]
    nodes, gpus = len(task.placement), max(len(share.gpus) for share in task.placement)
    return [f"--nodes={nodes}", "--ntasks-per-node=1", f"--gres={site.gres}:{gpus}"]


def constraint(task: Task, site: Site, inventory: Inventory, can: Abilities) -> dict[str, str]:
    """Return the options that hold Slurm to a placement.

    tray     the nodes themselves
    domain   the feature of the domain; of several domains so many nodes of each
    any      one domain, whichever it is: by blocks and segments where there are (topology/block, 24.05), else by a
             matching "or" of all features, the only hard way of topology/tree
    """
    placement = task.placement
    if not placement:
        return {}
    if site.pin == "tray":
        try:
            return {"--nodelist": joined(inventory.names(placement))}
        except KeyError as error:
            raise EngineError("slurm-tray-unknown") from error
    by_domain = Counter(share.domain for share in placement)
    if site.pin == "any" and not task.domain and len(placement) > 1:
        if can.segment and can.blocks:
            return _blocks(len(placement), len(by_domain), inventory, can)
        if len(by_domain) == 1:
            features = "|".join(_feature(site, domain.name) for domain in inventory.domains)
            return {"--constraint": f"[{features}]", "--switches": "1"}
    if site.pin == "any" and not task.domain and len(placement) == 1:
        return {}
    if len(by_domain) == 1:
        return {"--constraint": _feature(site, placement[0].domain)}
    counted = "&".join(f"{_feature(site, domain)}*{nodes}" for domain, nodes in by_domain.items())
    return {"--constraint": f"[{counted}]"}


def _blocks(nodes: int, domains: int, inventory: Inventory, can: Abilities) -> dict[str, str]:
    """Return how many nodes of a job must share a block; a whole block is taken for oneself where that can be said."""
    if domains > 1:
        return {"--segment": str(SEGMENT_TRAYS)}
    whole = nodes == max(len(domain.trays) for domain in inventory.domains)
    return {"--segment": str(nodes)} | ({"--exclusive": "topo"} if whole and can.exclusive_topo else {})


def _feature(site: Site, domain: str) -> str:
    return site.feature.replace("{domain}", domain)


def _both(ours: str, theirs: str) -> str:
    if ours.startswith("["):
        raise EngineError("slurm-hint-constraint")
    return f"{ours}&{theirs}" if re.fullmatch(r"[A-Za-z0-9_.-]+", theirs) else f"{ours}&({theirs})"


def _hinted(hints: Mapping[str, str | int | float | bool]) -> dict[str, str]:
    found = {}
    for name, value in hints.items():
        option = HINTS.get(name)
        if option is not None:
            if not _VALUE.fullmatch(str(value)):
                raise EngineError(f"hints.slurm.{name}: {value!r} has signs that Slurm's options do not have")
            found[option] = str(value)
    return found


def script(task: Task, site: Site, environment: Mapping[str, str]) -> str:
    """Return the script of a job: the node agent, on each node, with its letter on the standard input."""
    letter = {
        **task.mailbox.model_dump(),
        "grace": site.grace,
        "bind": "auto",
        "directory": "",
        "given": "slurm",
        "environment": {**task.environment, **environment},
    }
    # Without the directory that it starts in on its path: anybody may have left a file there.
    agent = [site.python, "-P", "-m", AGENT, task.lease_id]
    if len(task.placement) > 1:
        # Slurm gives what comes in to all tasks of a step.
        agent = ["srun", "--ntasks-per-node=1", "--kill-on-bad-exit=1", "--quit-on-interrupt", *agent]
    return "\n".join([
        "#!/bin/sh", f"exec {shlex.join(agent)} <<'{END_OF_LETTER}'", json.dumps(letter), END_OF_LETTER, "",
    ])  # fmt: skip
