"""``nvlhub slurm reserve``: the portal's reservations kept in Slurm."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nvlhub.cli.base import Json, fail, items, portal_time
from nvlhub.cli.slurm import slurm
from nvlhub.cli.slurm_limits import Apply, Pool, Said, Template, ask_slurm, check_template, pool_row, run, tell_rows
from nvlhub.engines.slurm.names import account_of, reservation_name
from nvlhub.engines.slurm.reservations import Reservation, Step, read, steps
from nvlhub.engines.slurm.reserve import NODE, PARTITION

COMMAND = "nvlhub-slurm-reserve"
MUST_NAME = (
    "Slurm lets a project's jobs onto its reserved nodes only if they name the reservation. The portal has them do so where "
    "its portal.toml has reservations = true in section [slurm]; otherwise their own project is kept out, too."
)


@slurm.command("reserve")
def reserve(
    apply: Apply = False, pool: Pool = "", account: Template = "{project}",
    node: Annotated[str, typer.Option(help="What Slurm calls a tray's node.")] = "{domain}-{tray:02d}",
    partition: Annotated[str, typer.Option(help="Partition of the nodes; left out: Slurm's default.")] = "",
    command: Annotated[
        str, typer.Option(help=f"How {COMMAND} is run, e.g. “sudo -n /opt/nvlhub/bin/{COMMAND}”.")
    ] = "",
    as_json: Json = False,
) -> None:  # fmt: skip
    """Make Slurm's reservations those of the portal; only say what would change, without --apply.

    What jobs use is not taken from them: they go on to their end. Exit status 1 when something could not be done.
    """
    check_template(account)
    if partition and not PARTITION.fullmatch(partition):
        fail("--partition is the name of a partition: letters, digits, _ . and -.")
    # Before there is any reservation, too.
    _nodes(node, [{"domain": "nvl001", "tray": 1}])
    of = pool_row(pool)["name"]
    prefix = shlex.split(command) or [str(Path(sys.executable).with_name(COMMAND))]
    now = portal_time()
    rows = [row for row in items("/reservations") if row["pool"] == of and row["state"] == "booked"]
    found = ask_slurm([*prefix, "list"], "what is reserved")
    wanted = [_wanted(row, account, node) for row in rows]
    todo = steps(wanted, read(found), now, partition)
    # Whether it does stands in a file that this machine need not have.
    notes = [MUST_NAME] if wanted else []
    done = [_row(step, *_carry_out(step, prefix, apply=apply)) for step in todo]
    if as_json:
        typer.echo(json.dumps({"notes": notes, "changes": done}, indent=1, ensure_ascii=False))
    else:
        tell_rows(done, notes, "Slurm keeps what the portal wants: nothing to do.", applied=apply)
    if any(row["state"] == "failed" for row in done):
        raise typer.Exit(1)


def _carry_out(step: Step, prefix: list[str], *, apply: bool) -> tuple[str, Said]:
    """Take one step. One reservation that cannot be is no reason to leave the others."""
    if not apply:
        return "would be done", Said(ok=True, text="")
    said = run([*prefix, *step.words])
    return "done" if said.ok else "failed", said


def _row(step: Step, state: str, said: Said) -> dict[str, Any]:
    return {"change": step.sentence, "state": state, "said": " ".join(said.text.split()), "command": list(step.words)}


def _wanted(row: dict[str, Any], account: str, node: str) -> Reservation:
    if not row["project"]:
        fail("The portal does not tell for whom its reservations are: use an administrator's token.")
    nodes = _nodes(node, row["trays"])
    name = reservation_name(row["id"])
    return Reservation(name, row["starts"], row["ends"], nodes, frozenset({account_of(account, row["project"])}))


def _nodes(node: str, trays: list[dict[str, Any]]) -> frozenset[str]:
    try:
        names = frozenset(node.format(domain=tray["domain"], tray=tray["tray"]) for tray in trays)
    except (ValueError, LookupError, AttributeError):
        fail("--node has {domain} and {tray}, and nothing else in braces, e.g. {domain}-{tray:02d}.")
    for name in sorted(names):
        if not NODE.fullmatch(name):
            fail(
                f"--node “{node}” gives “{name}”, and no node can be called so: letters, digits, - and _ alone, or in parts "
                "with a dot between them, e.g. {domain}-{tray:02d}."
            )
    return names
