"""How a command calls the REST API and prints what it says."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.table import Table

from nvlhub.dates import unix_time
from nvlhub.wire import API_PATH, gpu_hours

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Quota-bound GPU kernels on NVLink domains.")
out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, soft_wrap=True)

DATA = Path(os.environ.get("NVLHUB_DATA", ".nvlhub"))
Cap = Annotated[int | None, typer.Option(help="GPUs held at once; left out: no cap.")]
NewCap = Annotated[int | None, typer.Option("--cap", help="GPUs held at once; left out: as it is.")]
NoCap = Annotated[bool, typer.Option("--no-cap", help="Take the cap away.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AMOUNTS = frozenset({"amount", "awarded", "charged", "granted", "held", "left", "returned"})
TIMES = frozenset({"asked_at", "at", "dry_at", "ends", "revoked_at", "since", "starts", "withdrawn_at"})


def when(text: str) -> int:
    """Return the time that an option gives."""
    try:
        return unix_time(text)
    except ValueError:
        raise typer.BadParameter(
            f"“{text}” is no time. Give a day as YYYY-MM-DD (its first second, UTC), or Unix seconds."
        ) from None


When = Annotated[int | None, typer.Option(parser=when, metavar="TIME", help="YYYY-MM-DD (UTC) or Unix seconds.")]

Output = Annotated[Path | None, typer.Option(help="Write into this file; left out: print.")]
SLOW = 600.0
"""Seconds to wait for what the portal has to count first."""


def fail(text: str) -> NoReturn:
    """Print what went wrong and end with status 1."""
    err.print(text, style="red", markup=False, highlight=False)
    raise typer.Exit(1)


def portal_of(*, openly: bool = False) -> tuple[str, dict[str, str]]:
    """Return where the portal is and the headers of a call; `openly`: it answers everybody, a token is not needed.

    Told by ``NVLHUB_URL`` and ``NVLHUB_TOKEN``, or by what ``nvlhub up`` left in its data directory.
    """
    language = {"Accept-Language": os.environ.get("LANG", "en")}
    try:
        url = os.environ.get("NVLHUB_URL") or (DATA / "url").read_text(encoding="utf-8")
        if openly:
            return url.strip().rstrip("/"), language
        token = os.environ.get("NVLHUB_TOKEN") or (DATA / "admin-token").read_text(encoding="utf-8")
    except OSError:
        fail(
            f"No portal known here: {DATA} holds none. Start one with `nvlhub up`, or set NVLHUB_URL and NVLHUB_TOKEN."
        )
    return url.strip().rstrip("/"), {"Authorization": f"token {token}", **language}


def send(method: str, path: str, *, patience: float = 30, openly: bool = False, **more: Any) -> httpx.Response:
    """Send a request to the API; `patience`: seconds to wait for the answer, `openly`: without a token."""
    url, headers = portal_of(openly=openly)
    headers |= more.pop("headers", {})
    try:
        return httpx.request(method, url + API_PATH + path, headers=headers, timeout=patience, **more)
    except httpx.HTTPError as error:
        _fail_silent(url, error)


def fetch(path: str, output: Path | None, **params: Any) -> None:
    """Write what the API answers into a file, or print it; the file is there whole or not at all."""
    url, headers = portal_of()
    try:
        with httpx.stream("GET", url + API_PATH + path, headers=headers, params=params, timeout=SLOW) as response:
            if not response.is_success:
                response.read()
            checked(response)
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


def _fail_silent(url: str, error: httpx.HTTPError) -> NoReturn:
    fail(f"The portal at {url} does not answer ({type(error).__name__}). Is `nvlhub up` running?")


def checked(response: httpx.Response) -> httpx.Response:
    """Return an answer that is none of a failure; print the sentence of one and end with status 1."""
    if not response.is_success:
        try:
            fail(response.json()["detail"])
        except (ValueError, KeyError):
            fail(f"The portal at {response.url.host} answered {response.status_code}.")
    return response


def call(method: str, path: str, **more: Any) -> Any:
    """Call the API; return what it answers."""
    response = checked(send(method, path, **more))
    return response.json() if response.content else None


def change(path: str, values: dict[str, Any]) -> Any:
    """Change what stands at `path`, as it was read just now: a change by somebody else meanwhile is not overwritten."""
    if not values:
        fail("Nothing to change: name at least one option. --help lists them.")
    tag = checked(send("GET", path)).headers["ETag"]
    return call("PATCH", path, json=values, headers={"If-Match": tag})


def portal_time() -> int:
    """Return what time it is for the portal, which decides about starts and ends."""
    return int(call("GET", "/health")["now"])


def path_of(*parts: str) -> str:
    """Return a path made of names that may hold anything."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def given(**values: Any) -> dict[str, Any]:
    """Return those options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def capped(cap: int | None, *, no_cap: bool) -> dict[str, Any]:
    """Return what ``--cap`` and ``--no-cap`` change."""
    if no_cap and cap is not None:
        fail("--cap and --no-cap exclude each other.")
    return {"cap": cap} if no_cap or cap is not None else {}


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


def tell(row: dict[str, Any], *, as_json: bool) -> None:
    """Print one thing: its fields as a table, or JSON."""
    if as_json:
        typer.echo(json.dumps(row, ensure_ascii=False))
        return
    table = Table(show_header=False)
    for name, value in row.items():
        table.add_row(f"{name} (GPU-h)" if name in AMOUNTS else name, shown(name, value))
    out.print(table, markup=False)


def shown(name: str, value: Any) -> str:
    """Return a field for people: amounts in GPU-hours, times as dates."""
    match value:
        case None:
            return ""
        case int() if name in AMOUNTS:
            return gpu_hours(value)
        case int() if name in TIMES:
            return date(value)
        case list():
            return "\n".join(shown(name, one) for one in value)
        case dict():
            return ", ".join(f"{part}: {shown(part, one)}" for part, one in value.items())
        case _:
            return str(value)


def fields(*names: str) -> dict[str, Any]:
    """Return columns that show fields under their own names."""
    return {name: (lambda row, name=name: shown(name, row[name])) for name in names}


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
