"""How a command calls the REST API and prints what it says."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import typer
from rich.console import Console
from rich.table import Table

from nvlhub.wire import API_PATH

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Quota-bound GPU kernels on NVLink domains.")
out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, soft_wrap=True)

DATA = Path(os.environ.get("NVLHUB_DATA", ".nvlhub"))
Cap = Annotated[int | None, typer.Option(help="GPUs held at once; left out: no cap.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def fail(text: str) -> NoReturn:
    """Print what went wrong and end with status 1."""
    err.print(text, style="red", markup=False, highlight=False)
    raise typer.Exit(1)


def call(method: str, path: str, **more: Any) -> Any:
    """Call the API with ``NVLHUB_TOKEN`` at ``NVLHUB_URL``, or with what ``nvlhub up`` left in its data directory."""
    try:
        url = os.environ.get("NVLHUB_URL") or (DATA / "url").read_text(encoding="utf-8")
        token = os.environ.get("NVLHUB_TOKEN") or (DATA / "admin-token").read_text(encoding="utf-8")
    except OSError:
        fail(
            f"No portal known here: {DATA} holds none. Start one with `nvlhub up`, or set NVLHUB_URL and NVLHUB_TOKEN."
        )
    headers = {"Authorization": f"token {token}", "Accept-Language": os.environ.get("LANG", "en")}
    try:
        response = httpx.request(
            method, url.strip().rstrip("/") + API_PATH + path, headers=headers, **{"timeout": 30, **more}
        )
    except httpx.HTTPError as error:
        fail(f"The portal at {url} does not answer ({type(error).__name__}). Is `nvlhub up` running?")
    if not response.is_success:
        try:
            fail(response.json()["detail"])
        except (ValueError, KeyError):
            fail(f"The portal at {url} answered {response.status_code}.")
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


def items(path: str, **params: Any) -> list[dict[str, Any]]:
    """Read all pages of a list."""
    rows: list[dict[str, Any]] = []
    page = 1
    while True:
        answer = call("GET", path, params={**params, **({"page": page} if page > 1 else {})})
        rows.extend(answer["items"])
        if not answer["items"] or len(rows) >= answer["total"]:
            return rows
        page += 1


def date(at: int | None) -> str:
    """Return a time as date and time of day, UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) if at else ""


def key(name: str) -> Any:
    """Return what reads one field of a row."""
    return lambda row: "" if row[name] is None else row[name]


def group(name: str, text: str) -> typer.Typer:
    """Add a group of commands."""
    made = typer.Typer(no_args_is_help=True, help=text)
    app.add_typer(made, name=name)
    return made
