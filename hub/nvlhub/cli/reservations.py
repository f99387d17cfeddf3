"""Commands on reservations."""

from __future__ import annotations

import os
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from nvlhub.cli.base import Json, call, change, fail, group, items, key, path_of, show, tell
from nvlhub.dates import UnclearTimeError, moment, shown
from nvlhub.places import where
from nvlhub.text import language, say

reservations = group("reservation", "Whole trays kept for a project between two times.")

Time = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="2027-03-14T09:00 in the site's zone, or with one: …+08:00, …Z; or a day."),
]


class Site:
    """What time it is at the site, and how times are read and told there."""

    def __init__(self) -> None:
        health = call("GET", "/health")
        self.now = int(health["now"])
        self.zone = ZoneInfo(health["zone"])

    def when(self, text: str) -> int:
        """Return the time that an option gives; print why not and end with status 1."""
        try:
            return moment(text, self.zone)
        except UnclearTimeError as error:
            fail(say(error.slug, language(os.environ.get("LANG")), **error.members))

    def told(self, at: int) -> str:
        """Return a time as people of the site write it."""
        return shown(at, self.zone)

    def row(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return a reservation for people."""
        return found | {
            "starts": self.told(found["starts"]), "ends": self.told(found["ends"]), "trays": where(found["trays"]),
            "made_at": self.told(found["made_at"]) if found["made_at"] else "",
            "in_the_way": [
                f"{one['lease']} of {one['user']}: {one['gpus']} GPU until {self.told(one['until'])} at the latest"
                for one in found["in_the_way"]
            ],
        }  # fmt: skip


def _tell(found: dict[str, Any], site: Site, *, as_json: bool) -> None:
    tell(found if as_json else site.row(found), as_json=as_json)


@reservations.command("list")
def reservation_list(since: Time = None, until: Time = None, as_json: Json = False) -> None:
    """List reservations from now or --since on."""
    site = Site()
    params = {name: site.when(text) for name, text in (("since", since), ("until", until)) if text}
    columns = {
        **{name: key(name) for name in ("id", "name", "project", "gpus")},
        **{name: (lambda row, name=name: site.told(row[name])) for name in ("starts", "ends")},
        "trays": lambda row: where(row["trays"]),
    }
    show(items("/reservations", **params), columns, as_json=as_json)


@reservations.command("add")
def reservation_add(
    name: str, project: str, gpus: Annotated[int, typer.Argument(help="Rounded up to whole trays.")],
    ends: Annotated[str, typer.Option(metavar="TIME", help="As --starts.")], starts: Time = None, note: str = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which trays, and who is in the way.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Keep GPUs for a project, from now or --starts on."""
    site = Site()
    body = {
        "name": name, "project": project, "gpus": gpus, "starts": site.when(starts) if starts else site.now,
        "ends": site.when(ends), "note": note, "dry_run": dry_run,
    }  # fmt: skip
    _tell(call("POST", "/reservations", json=body), site, as_json=as_json)


@reservations.command("move")
def reservation_move(reservation: int, starts: Time = None, ends: Time = None, as_json: Json = False) -> None:
    """Move a reservation to other times; with --starts alone it stays as long as it is."""
    site = Site()
    path = path_of("reservations", str(reservation))
    values = {name: site.when(text) for name, text in (("starts", starts), ("ends", ends)) if text}
    if "starts" in values and "ends" not in values:
        before = call("GET", path)
        values["ends"] = before["ends"] + values["starts"] - before["starts"]
    _tell(change(path, values), site, as_json=as_json)


@reservations.command("cancel")
def reservation_cancel(reservation: int, as_json: Json = False) -> None:
    """Cancel a reservation."""
    _tell(call("DELETE", path_of("reservations", str(reservation))), Site(), as_json=as_json)
