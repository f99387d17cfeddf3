"""How a command calls the REST API and prints what it says."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
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

Output = Annotated[Path | None, typer.Option(help="Write into this file; left out: print.")]
SLOW = 600.0
"""Seconds to wait for what the portal has to count first."""


def fail(text: str) -> NoReturn:
    """Print what went wrong and end with status 1."""
    err.print(text, style="red", markup=False, highlight=False)
    raise typer.Exit(1)


def _portal() -> tuple[str, dict[str, str]]:
    """Return where the portal is and the headers of a call.

    Told by ``NVLHUB_URL`` and ``NVLHUB_TOKEN``, or by what ``nvlhub up`` left in its data directory.
    """
    try:
        url = os.environ.get("NVLHUB_URL") or (DATA / "url").read_text(encoding="utf-8")
        token = os.environ.get("NVLHUB_TOKEN") or (DATA / "admin-token").read_text(encoding="utf-8")
    except OSError:
        fail(
            f"No portal known here: {DATA} holds none. Start one with `nvlhub up`, or set NVLHUB_URL and NVLHUB_TOKEN."
        )
    headers = {"Authorization": f"token {token}", "Accept-Language": os.environ.get("LANG", "en")}
    return url.strip().rstrip("/"), headers


def call(method: str, path: str, *, patience: float = 30, **more: Any) -> Any:
    """Call the API and return what it says in JSON; `patience`: seconds to wait for it."""
    url, headers = _portal()
    try:
        response = httpx.request(method, url + API_PATH + path, headers=headers, timeout=patience, **more)
    except httpx.HTTPError as error:
        _fail_silent(url, error)
    _check(url, response)
    return response.json()


def fetch(path: str, output: Path | None, **params: Any) -> None:
    """Write what the API answers into a file, or print it; the file is there whole or not at all."""
    url, headers = _portal()
    try:
        with httpx.stream("GET", url + API_PATH + path, headers=headers, params=params, timeout=SLOW) as response:
            if not response.is_success:
                response.read()
            _check(url, response)
            _write(response.iter_bytes(), output)
    except httpx.HTTPError as error:
        _fail_silent(url, error)


def _write(chunks: Iterable[bytes], output: Path | None) -> None:
    if output is None:
        for chunk in chunks:
            typer.echo(chunk, nl=False)
        return
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as file:
            file.writelines(chunks)
        part.replace(output)
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}. Choose another --output.")
    finally:
        part.unlink(missing_ok=True)


def _check(url: str, response: httpx.Response) -> None:
    if not response.is_success:
        try:
            fail(response.json()["detail"])
        except (ValueError, KeyError):
            fail(f"The portal at {url} answered {response.status_code}.")


def _fail_silent(url: str, error: httpx.HTTPError) -> NoReturn:
    fail(f"The portal at {url} does not answer ({type(error).__name__}). Is `nvlhub up` running?")


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
