"""Commands on announcements."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from nvlhub.cli.base import Json, When, call, fields, given, group, items, show, tell

announcements = group("announcement", "What is announced to users.")


@announcements.command("list")
def announcement_list(
    everything: Annotated[bool, typer.Option("--all", help="Also what is over or withdrawn, and what is for others.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """List what is announced to you now."""
    shown = ("id", "level", "text", "starts", "ends", "programme", "user", "lease")
    more = ("actor", "withdrawn_at") if everything else ()
    show(items("/announcements", **({"all": "true"} if everything else {})), fields(*shown, *more), as_json=as_json)


@announcements.command("add")
def announcement_add(
    text: str, level: Annotated[str, typer.Option(help="info, warning or urgent.")] = "info",
    chinese: Annotated[str | None, typer.Option(help="The same in Chinese.")] = None, starts: When = None,
    ends: When = None, programme: Annotated[str | None, typer.Option(help="To the people of a programme only.")] = None,
    user: Annotated[str | None, typer.Option(help="To one user only.")] = None,
    lease: Annotated[str | None, typer.Option(help="About a lease that the user holds.")] = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Announce something: to everybody, to a programme, or to one user."""
    body = given(
        level=level, text=text, text_zh=chinese, starts=starts, ends=ends, programme=programme, user=user, lease=lease
    )
    tell(call("POST", "/announcements", json=body), as_json=as_json)


@announcements.command("withdraw")
def announcement_withdraw(announcement: int, as_json: Json = False) -> None:
    """Withdraw an announcement."""
    call("DELETE", f"/announcements/{announcement}")
    typer.echo(json.dumps({"withdrawn": announcement}) if as_json else f"announcement {announcement} is withdrawn")
