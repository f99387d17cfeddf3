"""``nvlhub slurm sync``: Slurm's associations as a second lock under the portal's own quota."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
import yaml

from nvlhub.cli.base import DATA, SLOW, Json, call, checked, fail, fields, items, portal_time, send, show
from nvlhub.cli.slurm import slurm
from nvlhub.engines.slurm.budget import USER, Award, Books, Live, Programme, Project, Scheme, Used, wanted
from nvlhub.engines.slurm.limits import (
    ACCOUNT_FORMAT,
    ASSOC_FORMAT,
    QOS_FORMAT,
    USER_FORMAT,
    Change,
    CollisionError,
    Present,
    diff,
    read,
    strangers,
    warnings,
)
from nvlhub.engines.slurm.reading import settings
from nvlhub.settings import Settings
from nvlhub.up import SLURM_CONF

GRACE: int = Settings.model_fields["grace"].default
"""Seconds that a silent server has where portal.toml says nothing."""
PATIENCE = 60
"""Seconds that a command of Slurm has."""
ACTIVE = "Job(s) active"
"""What sacctmgr says where something cannot be removed yet."""
PAST = 10 * 365 * 86_400
"""Seconds of the past in which use is added up: as many as the portal tells at once."""
ROWS = 200
"""Rows of a page."""
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Root = Annotated[str, typer.Option(help="Account below which everything of ours lies.")]
Template = Annotated[str, typer.Option("--account", help="Account of a project, as in portal.toml.")]
Pool = Annotated[str, typer.Option(help="The pool that Slurm runs; left out: the only one that the portal has.")]
Apply = Annotated[bool, typer.Option("--apply/--dry-run", help="Do it, or only say what would be done.")]


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed."""

    ok: bool
    text: str


Run = Callable[[Sequence[str]], Said]


def run(argv: Sequence[str]) -> Said:
    """Run a command of Slurm; say what it printed, or why it could not."""
    environment = os.environ | _own_slurm() | {"LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(
            argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=PATIENCE,
        )  # fmt: skip
    except FileNotFoundError:
        return Said(ok=False, text=f"{argv[0]} is not installed here")
    except OSError as error:
        return Said(ok=False, text=f"{argv[0]} cannot be run: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Said(ok=False, text=f"{argv[0]} did not answer within {PATIENCE} s")
    good = done.returncode == 0
    return Said(good, done.stdout if good else " ".join(f"{done.stderr} {done.stdout}".split()))


def _own_slurm() -> dict[str, str]:
    """Return where the Slurm of ``nvlhub up`` is, for the portal that its data directory names (``portal_of``)."""
    if "SLURM_CONF" in os.environ or "NVLHUB_URL" in os.environ:
        return {}
    try:
        return {"SLURM_CONF": (DATA / SLURM_CONF).read_text(encoding="utf-8").strip()}
    except OSError:
        return {}


def ask_slurm(argv: Sequence[str], what: str) -> str:
    """Return what a command of Slurm prints; end with status 1 where it does not say `what`."""
    said = run(argv)
    if not said.ok:
        advice = (
            "" if "SLURM_CONF" in os.environ else " Where its slurm.conf lies is told by SLURM_CONF in the environment."
        )
        fail(f"Slurm does not say {what}: {said.text.rstrip('. ')}.{advice}")
    return said.text


@slurm.command("sync")
def sync(
    apply: Apply = False, pool: Pool = "", root: Root = "nvlhub", account: Template = "{project}",
    grace: Annotated[int, typer.Option(min=0, max=3600, help="As in portal.toml.")] = GRACE,
    run_as: Annotated[
        str | None, typer.Option(help="The account that all jobs run under; left out: each user's own.")
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Make Slurm's accounts, users and limits those of the portal; only say what would change, without --apply.

    Exit status 1 when something could not be done; what was done until then stays.
    """
    check_template(account)
    _check_names(root, run_as)
    books = _books(pool_row(pool))
    config = settings(_ask(["scontrol", "show", "config"]))
    cluster = config.get("ClusterName", "")
    try:
        layout, unfit = wanted(books, Scheme(cluster, root, account, grace, run_as or ""))
        present = _present(cluster)
        changes = diff(layout, present)
    except CollisionError as error:
        fail(str(error))
    notes = [
        *warnings(config),
        *(f"The account {name} below {root} was not made by nvlhub: it is left alone." for name in strangers(layout, present)),
        *(f"The user “{name}” cannot have an account in Slurm: it is left out." for name in unfit),
    ]  # fmt: skip
    rows = carry_out(changes, run) if apply else [_row(change, "would be done") for change in changes]
    if as_json:
        typer.echo(json.dumps({"notes": notes, "changes": rows}, indent=1, ensure_ascii=False))
    else:
        tell_rows(rows, notes, "Slurm has what the portal wants: nothing to do.", applied=apply)
    if any(row["state"] == "failed" for row in rows):
        raise typer.Exit(1)


def tell_rows(rows: list[dict[str, Any]], notes: Iterable[str], nothing: str, *, applied: bool) -> None:
    """Print what is or was done, and how it went."""
    for note in notes:
        typer.echo(f"Note: {note}")
    if not rows:
        typer.echo(nothing)
        return
    show(rows, fields("change", "state", "said") if applied else fields("change"), as_json=False)
    counts = Counter(row["state"] for row in rows)
    typer.echo(", ".join(f"{count} {state}" for state, count in counts.items()))
    if not applied:
        typer.echo("Nothing was changed: this was a trial. Do it with --apply.")


def carry_out(changes: Iterable[Change], execute: Run) -> list[dict[str, Any]]:
    """Make changes one after the other until one fails; return how each went.

    What jobs still use is not removed but left for the next time.
    """
    rows: list[dict[str, Any]] = []
    failed = False
    for change in changes:
        if failed:
            rows.append(_row(change, "not tried"))
            continue
        said = execute(change.argv)
        if said.ok:
            rows.append(_row(change, "done"))
        elif change.removes and ACTIVE in said.text:
            rows.append(_row(change, "left until its jobs end", said.text))
        else:
            failed = True
            rows.append(_row(change, "failed", said.text))
    return rows


def _row(change: Change, state: str, said: str = "") -> dict[str, Any]:
    return {"change": change.sentence, "state": state, "said": said, "command": list(change.argv)}


def _check_names(root: str, run_as: str | None) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,39}", root) or root == "root":
        fail("--root is a name of 1 to 40 of a-z, 0-9, _ . and -, and not Slurm's own account root.")
    if run_as is not None and not USER.fullmatch(run_as):
        # Nobody could be the user of any project: all would be removed.
        fail(
            f"--run-as “{run_as}” cannot be an account: it has 1 to 32 of a-z, 0-9, _ . and -, and begins with a letter "
            "or _, e.g. portal."
        )


def check_template(account: str) -> None:
    """End with status 1 unless `account` can be what projects' accounts are made by."""
    if account.count("{project}") != 1 or not re.fullmatch(
        r"[A-Za-z0-9_.-]{0,40}", account.replace("{project}", "", 1)
    ):
        fail("--account has {project} once, and beside it only letters, digits, _ . and -, e.g. nvlhub-{project}.")


# --- what Slurm has ---------------------------------------------------------------------------------------------------


def _ask(argv: Sequence[str]) -> str:
    return ask_slurm(argv, "what it has")


def _present(cluster: str) -> Present:
    def shown(what: str, columns: str, *more: str) -> str:
        return _ask(["sacctmgr", "-nP", "show", what, *more, f"format={columns}"])

    return read(
        shown("assoc", ASSOC_FORMAT, f"cluster={cluster}"), shown("account", ACCOUNT_FORMAT),
        shown("qos", QOS_FORMAT), shown("user", USER_FORMAT),
    )  # fmt: skip


# --- what the portal says ---------------------------------------------------------------------------------------------


def pool_row(pool: str) -> dict[str, Any]:
    """Return what the portal says of a pool; empty: of the only one. Ends with status 1 where there is none such.

    Without this check a name that was mistyped would be a pool without anything in it, and all of Slurm's too much.
    """
    pools: dict[str, dict[str, Any]] = {row["name"]: row for row in items("/pools")}
    known = ", ".join(sorted(pools))
    if not pool and len(pools) != 1:
        fail(f"The portal has several pools: {known}. Name the one that Slurm runs with --pool.")
    if pool and pool not in pools:
        fail(f"The portal has no pool {pool}. It has: {known}. Name it with --pool.")
    return pools[pool] if pool else next(iter(pools.values()))


def _books(of: dict[str, Any]) -> Books:
    """Read the portal's books.

    Awards before what was used: a lease that is settled in between is counted on both sides then, and never on none.
    """
    file = checked(send("GET", "/export", params={"format": "yaml"}, patience=SLOW)).content
    document = yaml.load(file, Loader=LOADER)  # noqa: S506  # the safe loader, in C where there is one
    pool = of["name"]
    awards = items("/awards", pool=pool, per_page=ROWS)
    since = max(0, portal_time() - PAST)
    usage = call("GET", "/usage", params={"by": "project", "pool": pool, "since": since}, patience=SLOW)
    live = items("/leases", state="active", per_page=ROWS)
    beyond: Counter[str] = Counter()
    told: set[str] = set()
    for row in items("/differences", state="all", per_page=ROWS):
        # The newest of a lease tells all that it ran; what was corrected stands in its charge.
        if row["pool"] == pool and row["lease"] not in told:
            told.add(row["lease"])
            beyond[row["project"]] += 0 if row["correction"] else max(0, (row["engine"] or 0) - (row["ledger"] or 0))
    members: dict[str, dict[str, int | None]] = {}
    for row in document["members"]:
        members.setdefault(row["project"], {})[row["user"]] = row["cap"]
    return Books(
        now=usage["now"], factor_milli=of["factor_milli"], gpus=of["gpus"],
        programmes=[
            Programme(row["slug"], row["cap"], row["factor_milli"], row["at_zero"] == "low_priority")
            for row in document["programmes"]
        ],
        projects=[
            Project(row["slug"], row["programme"], row["cap"], members.get(row["slug"], {}))
            for row in document["projects"]
        ],
        user_caps={row["name"]: row["cap"] for row in document["users"]},
        awards=[
            Award(
                row["project"], row["left"], row["held"], row["starts"], row["ends"], row["cap"],
                revoked=row["revoked_at"] is not None,
            )
            for row in awards
        ],
        live=[
            Live(row["project"], row["user"], row["gpus"], row["seconds"])
            for row in live
            if row["pool"] == pool and not row["preemptible"]
        ],
        used={row["group"]: _used(row, beyond[row["group"]]) for row in usage["rows"]},
    )  # fmt: skip


def _used(row: dict[str, Any], beyond: int) -> Used:
    gpus = round((row["gpus_per_lease"] or 0) * row["leases_running"] + 0.5)
    return Used(row["gpu_seconds"] - row["preemptible_gpu_seconds"], gpus, beyond)
