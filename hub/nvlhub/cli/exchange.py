"""Commands on files: export and import of everything."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import httpx
import typer

from nvlhub.cli.base import Json, app, checked, fail, fields, send, show
from nvlhub.exchange import FileKind, Form

SUFFIXES = {".yaml": Form.YAML, ".yml": Form.YAML, ".csv": Form.CSV}
PATIENCE = 600
"""Seconds that a file may take."""
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="….yaml, ….yml or ….csv")]
CsvKind = Annotated[FileKind | None, typer.Option(help="What a CSV file holds.")]


@app.command("export")
def export_file(
    form: Annotated[Form, typer.Option("--format")] = Form.YAML,
    kind: Annotated[FileKind | None, typer.Option(help="Only this; CSV needs it.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write it there; left out: print it.")] = None,
    ids: Annotated[bool, typer.Option(help="--no-ids: awards are new ones, for another portal.")] = True,
) -> None:  # fmt: skip
    """Write everything, or one kind of it, to a file that `nvlhub import` reads."""
    params = {"format": form.value, "ids": ids, **({"kind": kind.value} if kind else {})}
    content = checked(send("GET", "/export", params=params, patience=PATIENCE)).content
    if output is None:
        sys.stdout.buffer.write(content)
    else:
        output.write_bytes(content)


@app.command("import")
def import_file(
    file: FileArgument, kind: CsvKind = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would do.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Import a file, all of it or nothing; exit status 1 with all errors by row when something is wrong with it."""
    form = SUFFIXES.get(file.suffix.lower())
    if form is None:
        fail(f"{file}: its name says not what it is. Call it .yaml, .yml or .csv.")
    try:
        content = file.read_bytes()
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}.")
    params = {"format": form.value, "dry_run": dry_run, **({"kind": kind.value} if kind else {})}
    headers = {"Content-Type": "text/csv" if form is Form.CSV else "application/yaml"}
    answer = send("POST", "/import", params=params, content=content, headers=headers, patience=PATIENCE)
    _print_errors(answer, as_json=as_json)
    done = checked(answer).json()
    if as_json:
        typer.echo(json.dumps(done))
        return
    rows = [{"kind": name, **counts} for name, counts in done["kinds"].items()]
    show(rows, fields("kind", "created", "changed", "unchanged"), as_json=False)
    typer.echo("Nothing was changed: this was a trial." if dry_run else "Imported.")


def _print_errors(answer: httpx.Response, *, as_json: bool) -> None:
    """Print all that is wrong with a file, row by row, and end with status 1; do nothing about other answers."""
    if answer.status_code != 422 or "errors" not in (document := answer.json()):
        return
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False))
        raise typer.Exit(1)
    show(document["errors"], fields("kind", "row", "field", "detail"), as_json=False)
    more = document["total"] - len(document["errors"])
    fail(document["detail"] + (f" ({more} of them are not shown.)" if more else ""))
