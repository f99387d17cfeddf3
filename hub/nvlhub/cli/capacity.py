"""Commands on pools and domains."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from nvlhub.cli.base import Json, When, call, fail, fields, given, group, items, key, path_of, portal_time, show, tell

pools = group("pool", "Pools of capacity.")
domains = group("domain", "NVLink domains.")


@pools.command("list")
def pool_list(as_json: Json = False) -> None:
    """List pools."""
    names = ("name", "gpu_model", "gpus", "in_service", "free", "outside", "factor_milli", "simulated")
    show(items("/pools"), {name: key(name) for name in names}, as_json=as_json)


@pools.command("add")
def pool_add(
    name: str, gpu_model: str, factor: Annotated[int | None, typer.Option(help="Charge factor in thousandths.")] = None,
    domain_gpus: Annotated[int | None, typer.Option(help="GPUs of an NVLink domain.")] = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Add a pool that no engine runs here yet, so that budgets and capacity can be planned."""
    body = {"name": name, "gpu_model": gpu_model, **given(factor_milli=factor, domain_gpus=domain_gpus)}
    tell(call("POST", "/pools", json=body), as_json=as_json)


@pools.command("capacity")
def pool_capacity(
    pool: str, announced: Annotated[int | None, typer.Option(min=0, help="GPUs announced.")] = None,
    installed: Annotated[int | None, typer.Option(min=0, help="GPUs installed.")] = None, at: When = None,
    source: Annotated[str, typer.Option(help="Who says so.")] = "", as_json: Json = False,
) -> None:  # fmt: skip
    """List what was said of a pool's capacity, or say how many GPUs are announced or installed from now or --at on."""
    path = path_of("pools", pool, "capacities")
    said = given(announced=announced, installed=installed)
    if not said:
        show(items(path), fields("kind", "gpus", "at", "source", "actor"), as_json=as_json)
        return
    if len(said) > 1 or not source:
        fail("Say one of --announced and --installed, and with --source who says so.")
    [(kind, gpus)] = said.items()
    begun = portal_time() if at is None else at
    tell(call("POST", path, json={"kind": kind, "gpus": gpus, "at": begun, "source": source}), as_json=as_json)


@domains.command("list")
def domain_list(as_json: Json = False) -> None:
    """List NVLink domains."""
    show(
        items("/domains"),
        {
            **{name: key(name) for name in ("name", "pool", "gpus", "free", "leased", "outside")},
            "trays in service": lambda row: f"{sum(tray['in_service'] for tray in row['trays'])}/{len(row['trays'])}",
            "out by": lambda row: _out_by(row["trays"]),
        },
        as_json=as_json,
    )


def _out_by(trays: list[dict[str, Any]]) -> str:
    """Say who took trays out of service, and why: the portal, or the engine, which alone puts them back then."""
    named = {who: [_why_out(tray) for tray in trays if tray["out_by"] == who] for who in ("portal", "engine")}
    return "; ".join(f"{who}: {', '.join(told)}" for who, told in named.items() if told)


def _why_out(tray: dict[str, Any]) -> str:
    return f"{tray['index']} ({tray['reason']})" if tray["reason"] else str(tray["index"])


def _serve(name: str, tray: int | None, pool: str, *, in_service: bool) -> None:
    typer.echo(json.dumps(call("PUT", f"/domains/{pool}/{name}", json={"in_service": in_service, "tray": tray})))


@domains.command("drain")
def domain_drain(name: str, tray: int | None = None, pool: str = "main", as_json: Json = False) -> None:
    """Take a domain, or one tray of it, out of service; what runs there goes on."""
    _serve(name, tray, pool, in_service=False)


@domains.command("resume")
def domain_resume(name: str, tray: int | None = None, pool: str = "main", as_json: Json = False) -> None:
    """Put a domain, or one tray of it, back into service."""
    _serve(name, tray, pool, in_service=True)
