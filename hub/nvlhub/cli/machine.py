"""Commands that run a portal on this machine."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from nvlhub.cli.base import DATA, app, err, fail
from nvlhub.engines.registry import ENGINES
from nvlhub.up import Options, UpError, running


@app.command()
def up(
    simulate: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=1000,
            show_default="2; 0 with --engine slurm",
            help="Simulated NVLink domains, with --engine slurm in a Slurm of its own; 0: this machine's GPUs, or its Slurm.",
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help=f"What runs kernels: {', '.join(ENGINES)}.")] = "local",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    data: Annotated[Path, typer.Option(help="Where everything is kept.")] = DATA,
    subdomains: Annotated[
        bool,
        typer.Option(
            "--subdomains",
            help="Give each user's servers a host of their own below hub.localhost, so that instructors can visit learners.",
        ),
    ] = False,
) -> None:
    """Start hub and portal on this machine, with demo users."""
    options = Options(data=data.resolve(), port=port, simulate=simulate, engine=engine, subdomains=subdomains)

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        with running(options, lambda text: err.print(text, markup=False)) as portal:
            typer.echo(f"nvlhub runs at {portal.public_url}  ({portal.what})")
            for hint in portal.hints:
                typer.echo(hint)
            typer.echo(f"Log in as researcher, instructor or admin; password: {portal.password}")
            typer.echo("Ctrl+C stops it.")
            portal.run()
    except UpError as error:
        fail(str(error))
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
        fail(str(error))
