"""``nvlhub``: the portal from a terminal. Everything goes through the REST API, so that who may is decided in one place."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.table import Table

from nvlhub.up import Options, UpError, running
from nvlhub.wire import API_PATH, MILLI_PER_GPU_HOUR, gpu_hours

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Quota-bound GPU kernels on NVLink domains.")
out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, soft_wrap=True)

DATA = Path(os.environ.get("NVLHUB_DATA", ".nvlhub"))
Cap = Annotated[int | None, typer.Option(help="GPUs held at once; left out: no cap.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _fail(text: str) -> NoReturn:
    err.print(text, style="red", markup=False, highlight=False)
    raise typer.Exit(1)


def call(method: str, path: str, **more: Any) -> Any:
    """Call the API with ``NVLHUB_TOKEN`` at ``NVLHUB_URL``, or with what ``nvlhub up`` left in its data directory."""
    try:
        url = os.environ.get("NVLHUB_URL") or (DATA / "url").read_text(encoding="utf-8")
        token = os.environ.get("NVLHUB_TOKEN") or (DATA / "admin-token").read_text(encoding="utf-8")
    except OSError:
        _fail(
            f"No portal known here: {DATA} holds none. Start one with `nvlhub up`, or set NVLHUB_URL and NVLHUB_TOKEN."
        )
    headers = {"Authorization": f"token {token}", "Accept-Language": os.environ.get("LANG", "en")}
    try:
        response = httpx.request(method, url.strip().rstrip("/") + API_PATH + path, headers=headers, timeout=30, **more)
    except httpx.HTTPError as error:
        _fail(f"The portal at {url} does not answer ({type(error).__name__}). Is `nvlhub up` running?")
    if not response.is_success:
        try:
            _fail(response.json()["detail"])
        except (ValueError, KeyError):
            _fail(f"The portal at {url} answered {response.status_code}.")
    return response.json()


def show(rows: list[dict[str, Any]], columns: dict[str, Any], *, as_json: bool) -> None:
    """Print rows as a table (`columns`: title -> function of a row) or as JSON."""
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    table = Table()
    for title in columns:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell(row)) for cell in columns.values()))
    out.print(table, markup=False)


def _items(path: str, **params: Any) -> list[dict[str, Any]]:
    """Read all pages of a list."""
    rows: list[dict[str, Any]] = []
    page = 1
    while True:
        answer = call("GET", path, params={**params, **({"page": page} if page > 1 else {})})
        rows.extend(answer["items"])
        if not answer["items"] or len(rows) >= answer["total"]:
            return rows
        page += 1


def _date(at: int | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) if at else ""


def _key(name: str) -> Any:
    return lambda row: "" if row[name] is None else row[name]


# --- the machine --------------------------------------------------------------------------------------------------


@app.command()
def up(
    simulate: Annotated[
        int, typer.Option(min=0, max=1000, help="Simulated NVLink domains; 0: this machine's GPUs.")
    ] = 2,
    engine: Annotated[str, typer.Option(help="What runs kernels: local, scripted.")] = "local",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    data: Annotated[Path, typer.Option(help="Where everything is kept.")] = DATA,
) -> None:
    """Start hub and portal on this machine, with demo users."""
    options = Options(data=data.resolve(), port=port, simulate=simulate, engine=engine)

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        with running(options, lambda text: err.print(text, markup=False)) as portal:
            what = (
                f"{simulate} simulated domains, {simulate * 72} simulated GPUs" if simulate else "this machine's GPUs"
            )
            typer.echo(f"nvlhub runs at {portal.url}  ({what})")
            typer.echo(f"Log in as researcher, instructor or admin; password: {portal.password}")
            typer.echo("Ctrl+C stops it.")
            portal.run()
    except UpError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        typer.echo("stopped")


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="Where everything is kept; left out: a directory that is removed after.")
    ] = None,
) -> None:
    """Go the whole way without a browser: server, GPU kernel, example notebook, charge, ledger."""
    from nvlhub.demo import run_demo  # noqa: PLC0415  # needs what a notebook needs

    try:
        run_demo(data.resolve() if data else None, typer.echo)
    except UpError as error:
        _fail(str(error))


# --- groups -------------------------------------------------------------------------------------------------------


def _group(name: str, text: str) -> typer.Typer:
    group = typer.Typer(no_args_is_help=True, help=text)
    app.add_typer(group, name=name)
    return group


leases = _group("lease", "Leases.")
awards = _group("award", "Awards of GPU-hours.")
projects = _group("project", "Projects and their members.")
programmes = _group("programme", "Programmes.")
pools = _group("pool", "Pools of capacity.")
domains = _group("domain", "NVLink domains.")
profiles = _group("profile", "Profiles that can be started.")
ledgers = _group("ledger", "The ledger.")
usages = _group("usage", "What was used.")


@leases.command("list")
def lease_list(state: str = "active", user: str = "", as_json: Json = False) -> None:
    """List leases; --state active, ended or all."""
    rows = _items("/leases", state=state, **({"user": user} if user else {}))
    columns = {
        "id": _key("id"), "user": _key("user"), "project": _key("project"), "GPUs": _key("gpus"),
        "where": lambda row: " ".join(f"{share['domain']}/{share['tray']}" for share in row["placement"]),
        "state": _key("state"), "why": lambda row: row["end_reason"] or "", "charged": lambda row: gpu_hours(row["charged"]),
    }  # fmt: skip
    show(rows, columns, as_json=as_json)


@leases.command("show")
def lease_show(lease_id: str) -> None:
    """Print one lease as JSON."""
    typer.echo(json.dumps(call("GET", f"/leases/{lease_id}"), indent=1, ensure_ascii=False))


@leases.command("end")
def lease_end(lease_id: str, as_json: Json = False) -> None:
    """End a lease: its kernel is stopped, what it used is charged, the rest goes back."""
    row = call("DELETE", f"/leases/{lease_id}")
    typer.echo(json.dumps(row, ensure_ascii=False) if as_json else f"{row['id']}: {row['state']} {row['detail']}")


@awards.command("list")
def award_list(project: str = "", as_json: Json = False) -> None:
    """List awards and what is left of them, in GPU-hours."""
    rows = _items("/awards", **({"project": project} if project else {}))
    amounts = {name: (lambda row, name=name: gpu_hours(row[name])) for name in ("awarded", "charged", "held", "left")}
    columns = {"id": _key("id"), "project": _key("project"), "pool": _key("pool"), **amounts,
               "until": lambda row: _date(row["ends"])}  # fmt: skip
    show(rows, columns, as_json=as_json)


@awards.command("add")
def award_add(
    project: str, gpu_hours_awarded: Annotated[int, typer.Argument(metavar="GPU_HOURS", min=1)],
    days: Annotated[int, typer.Option(min=1, max=3660)] = 365, pool: str = "main", cap: Cap = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Award GPU-hours to a project from now on."""
    now = int(call("GET", "/health")["now"])
    body = {
        "project": project,
        "pool": pool,
        "gpu_hours": gpu_hours_awarded,
        "starts": now,
        "ends": now + days * 86400,
        "cap": cap,
    }
    row = call("POST", "/awards", json=body)
    typer.echo(
        json.dumps(row)
        if as_json
        else f"award {row['id']}: {row['awarded'] // MILLI_PER_GPU_HOUR} GPU-hours to {row['project']}"
    )


@programmes.command("list")
def programme_list(as_json: Json = False) -> None:
    """List programmes."""
    show(_items("/programmes"), {name: _key(name) for name in ("slug", "name", "cap")}, as_json=as_json)


@programmes.command("add")
def programme_add(slug: str, name: str, cap: Cap = None) -> None:
    """Add a programme."""
    typer.echo(json.dumps(call("POST", "/programmes", json={"slug": slug, "name": name, "cap": cap})))


@projects.command("list")
def project_list(as_json: Json = False) -> None:
    """List projects."""
    show(_items("/projects"), {name: _key(name) for name in ("slug", "name", "programme")}, as_json=as_json)


@projects.command("add")
def project_add(slug: str, name: str, programme: str, cap: Cap = None) -> None:
    """Add a project."""
    body = {"slug": slug, "name": name, "programme": programme, "cap": cap}
    typer.echo(json.dumps(call("POST", "/projects", json=body)))


@projects.command("member")
def project_member(project: str, user: str, role: str = "member", cap: Cap = None) -> None:
    """Make somebody a member: --role pi, manager or member."""
    path = f"/projects/{quote(project, safe='')}/members/{quote(user, safe='')}"
    typer.echo(json.dumps(call("PUT", path, json={"role": role, "cap": cap})))


@pools.command("list")
def pool_list(as_json: Json = False) -> None:
    """List pools."""
    names = ("name", "gpu_model", "gpus", "in_service", "free", "factor_milli", "simulated")
    show(_items("/pools"), {name: _key(name) for name in names}, as_json=as_json)


@domains.command("list")
def domain_list(as_json: Json = False) -> None:
    """List NVLink domains."""
    show(
        _items("/domains"),
        {
            **{name: _key(name) for name in ("name", "pool", "gpus", "free", "leased")},
            "trays in service": lambda row: f"{sum(tray['in_service'] for tray in row['trays'])}/{len(row['trays'])}",
        },
        as_json=as_json,
    )


def _serve(name: str, tray: int | None, pool: str, *, in_service: bool) -> None:
    typer.echo(json.dumps(call("PUT", f"/domains/{pool}/{name}", json={"in_service": in_service, "tray": tray})))


@domains.command("drain")
def domain_drain(name: str, tray: int | None = None, pool: str = "main") -> None:
    """Take a domain, or one tray of it, out of service; what runs there goes on."""
    _serve(name, tray, pool, in_service=False)


@domains.command("resume")
def domain_resume(name: str, tray: int | None = None, pool: str = "main") -> None:
    """Put a domain, or one tray of it, back into service."""
    _serve(name, tray, pool, in_service=True)


@profiles.command("list")
def profile_list(as_json: Json = False) -> None:
    """List profiles."""
    names = ("name", "version", "published", "display_name", "pool", "gpus", "span", "longest", "idle")
    show(_items("/profiles"), {name: _key(name) for name in names}, as_json=as_json)


@profiles.command("add")
def profile_add(
    name: str, display_name: str, gpus: int, longest: Annotated[int, typer.Option(help="Seconds.")] = 14400,
    idle: Annotated[int | None, typer.Option(help="Seconds.")] = 3600, span: str = "domain", pool: str = "main",
    publish: Annotated[bool, typer.Option(help="Publish it at once.")] = False,
) -> None:  # fmt: skip
    """Add the next version of a profile, as a draft."""
    body = {
        "name": name,
        "display_name": display_name,
        "gpus": gpus,
        "longest": longest,
        "idle": idle,
        "span": span,
        "pool": pool,
    }
    row = call("POST", "/profiles", json=body)
    if publish:
        row = call("POST", f"/profiles/{name}/publish", json={"version": row["version"]})
    typer.echo(json.dumps(row))


@profiles.command("publish")
def profile_publish(name: str, version: int) -> None:
    """Publish a version of a profile."""
    typer.echo(json.dumps(call("POST", f"/profiles/{name}/publish", json={"version": version})))


@ledgers.command("list")
def ledger_list(lease: str = "", as_json: Json = False) -> None:
    """Print the journal: every transaction with its postings, in GPU-seconds."""
    print_ledger(_items("/ledger", **({"lease": lease} if lease else {})), as_json=as_json)


def print_ledger(rows: list[dict[str, Any]], *, as_json: bool = False) -> None:
    """Print transactions of the journal."""
    columns = {
        "time (UTC)": lambda row: _date(row["at"]), "transaction": _key("key"), "by": _key("actor"),
        "postings (GPU-s)": lambda row: "\n".join(f"{p['account']:<18} {p['amount'] / 1000:+,.3f}" for p in row["postings"]),
    }  # fmt: skip
    show(rows, columns, as_json=as_json)


@ledgers.command("verify")
def ledger_verify(as_json: Json = False) -> None:
    """Prove that every invariant of the ledger holds; exit status 1 when one does not."""
    found = call("GET", "/ledger/verify")
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        typer.echo(f"{found['transactions']} transactions; " + ("every invariant holds" if found["ok"] else "BROKEN:"))
        for row in found["broken"]:
            typer.echo(f"  {row['invariant']}: {row['detail']}")
    if not found["ok"]:
        raise typer.Exit(1)


@usages.command("show")
def usage_show(project: str, days: int = 30, as_json: Json = False) -> None:
    """Print what a project used, by day and user."""
    show(
        _items(f"/projects/{project}/usage", days=days),
        {name: _key(name) for name in ("day", "user", "leases", "gpu_seconds")},
        as_json=as_json,
    )
