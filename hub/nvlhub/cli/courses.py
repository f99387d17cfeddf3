"""Commands on courses, their runs and rosters."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import httpx
import typer

from nvlhub.cli.assessing import packed
from nvlhub.cli.base import (
    Json,
    call,
    change,
    checked,
    fail,
    fetch,
    fields,
    given,
    group,
    items,
    key,
    path_of,
    send,
    show,
    tell,
)
from nvlhub.dates import UnclearTimeError, moment, shown
from nvlhub.places import where
from nvlhub.text import language, say
from nvlhub.wire import gpu_hours

courses = group("course", "Courses, their runs and rosters.")

Run = Annotated[int, typer.Argument(metavar="RUN", help="Its number.")]
Title = Annotated[str | None, typer.Option(help="What it is called.")]
TitleZh = Annotated[str | None, typer.Option(help="The same in Chinese.")]
Summary = Annotated[str | None, typer.Option(help="What it is about.")]
Repository = Annotated[str | None, typer.Option(metavar="URL", help="Its material: a git repository by HTTPS.")]
Commit = Annotated[str | None, typer.Option(metavar="HASH", help="The full hash of what is taught of it.")]
Opens = Annotated[str | None, typer.Option(metavar="PATH", help="What is opened first.")]
Profile = Annotated[str | None, typer.Option(help="The profile of a seat's kernel.")]
Assessment = Annotated[
    Path | None, typer.Option(metavar="FILE", help="What is handed in and how it is judged, as JSON.")
]
KeepDays = Annotated[int | None, typer.Option(help="Days after a run for which names of learners are kept.")]
Instructors = Annotated[
    list[str] | None, typer.Option("--instructor", help="Who teaches it; may be given several times.")
]
Zone = Annotated[str | None, typer.Option(help="Where its times are told, e.g. Asia/Taipei; left out: the site's.")]
Time = Annotated[str | None, typer.Option(metavar="TIME", help="2027-03-14T09:00 in the zone, or with one: …+08:00.")]
Seats = Annotated[int | None, typer.Option(help="Learners at once.")]
Gpus = Annotated[int | None, typer.Option(help="GPUs of a seat: 0, 1 to 4, or whole trays of 4.")]
Warm = Annotated[int | None, typer.Option(help="Minutes before the start at which seats begin to be started.")]
Flex = Annotated[int | None, typer.Option(help="Minutes before the start from which the code is accepted.")]
Grace = Annotated[int | None, typer.Option(help="Minutes after the end in which what is handed in still counts.")]
NoShow = Annotated[int | None, typer.Option(help="Minutes after the start at which unused seats are free; 0: never.")]
RosterOnly = Annotated[bool | None, typer.Option("--roster-only/--open", help="Only those on the roster may join.")]
Note = Annotated[str | None, typer.Option(help="Words for those who decide.")]

# --- courses ------------------------------------------------------------------------------------------------------


@courses.command("list")
def course_list(as_json: Json = False) -> None:
    """List the courses that you teach, or whose programme you decide for."""
    columns = {**fields("slug", "title", "project", "profile", "instructors"), "retired": _flag("retired_at")}
    show(items("/courses"), columns, as_json=as_json)


@courses.command("show")
def course_show(slug: str, as_json: Json = False) -> None:
    """Show a course."""
    tell(call("GET", path_of("courses", slug)), as_json=as_json)


@courses.command("add")
def course_add(
    slug: str, title: str, project: str, profile: str, title_zh: TitleZh = None, summary: Summary = None,
    repository: Repository = None, commit: Commit = None, opens: Opens = None, assessment: Assessment = None,
    keep_days: KeepDays = None, instructor: Instructors = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Make a course of a project that you answer for."""
    body = {"slug": slug, "title": title, "project": project, "profile": profile} | given(
        title_zh=title_zh, summary=summary, repository=repository, commit=commit, opens=opens,
        assessment=_assessment(assessment), keep_days=keep_days, instructors=instructor or None,
    )  # fmt: skip
    tell(call("POST", "/courses", json=body), as_json=as_json)


@courses.command("change")
def course_change(
    slug: str, title: Title = None, title_zh: TitleZh = None, summary: Summary = None, repository: Repository = None,
    commit: Commit = None, opens: Opens = None, profile: Profile = None, assessment: Assessment = None,
    keep_days: KeepDays = None, instructor: Instructors = None,
    no_instructors: Annotated[bool, typer.Option("--no-instructors", help="Name nobody.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Change a course; what is left out stays. Runs keep their seats and times."""
    named = [] if no_instructors else instructor or None
    values = given(
        title=title, title_zh=title_zh, summary=summary, repository=repository, commit=commit, opens=opens,
        profile=profile, assessment=_assessment(assessment), keep_days=keep_days, instructors=named,
    )  # fmt: skip
    tell(change(path_of("courses", slug), values), as_json=as_json)


@courses.command("retire")
def course_retire(
    slug: str, undo: Annotated[bool, typer.Option("--undo", help="Bring it back.")] = False, as_json: Json = False
) -> None:
    """Make no more runs of a course; those that are planned go on."""
    tell(change(path_of("courses", slug), {"retired": not undo}), as_json=as_json)


def _assessment(file: Path | None) -> dict[str, Any] | None:
    return None if file is None else packed(file)


def _flag(name: str) -> Any:
    return lambda row: "yes" if row[name] else ""


# --- runs ---------------------------------------------------------------------------------------------------------


@courses.command("runs")
def run_list(
    course: Annotated[str, typer.Option(help="Only those of a course.")] = "",
    state: Annotated[str, typer.Option(help="draft, requested, approved, refused, cancelled or closed.")] = "",
    as_json: Json = False,
) -> None:
    """List runs that you teach or decide about, the latest start first."""
    rows = items("/runs", **{name: value for name, value in (("course", course), ("state", state)) if value})
    columns = {
        **fields("id", "course", "name", "state", "phase"), "starts": lambda row: shown(row["starts"], row["zone"]),
        "ends": lambda row: shown(row["ends"], row["zone"]), "seats": lambda row: f"{row['taken']}/{row['seats']}",
        "GPUs": key("slot_gpus"), "code": key("code"),
    }  # fmt: skip
    show(rows, columns, as_json=as_json)


@courses.command("run-show")
def run_show(run: Run, as_json: Json = False) -> None:
    """Show a run: its times, its seats, what it keeps and costs, or whether there would be room."""
    _tell(call("GET", _path(run)), as_json=as_json)


@courses.command("run-add")
def run_add(
    course: str, name: str, starts: Annotated[str, typer.Option(metavar="TIME", help="2027-03-14T09:00 in the zone.")],
    ends: Annotated[str, typer.Option(metavar="TIME", help="As --starts.")],
    seats: Annotated[int, typer.Option(help="Learners at once.")], zone: Zone = None, gpus: Gpus = None,
    warm: Warm = None, flex: Flex = None, grace: Grace = None, no_show: NoShow = None, roster_only: RosterOnly = None,
    note: Note = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say whether there is room, and the price.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Make a draft of a run, and say whether there is room for it."""
    zone = zone or str(call("GET", "/health")["zone"])
    body = {
        "course": course, "name": name, "zone": zone, "starts": _when(starts, zone), "ends": _when(ends, zone),
        "seats": seats, "dry_run": dry_run,
        **given(
            gpus=gpus, warm_minutes=warm, flex_minutes=flex, grace_minutes=grace, no_show_minutes=no_show,
            roster_only=roster_only, note=note,
        ),
    }  # fmt: skip
    _tell(call("POST", "/runs", json=body), as_json=as_json)


@courses.command("run-change")
def run_change(
    run: Run, name: Title = None, starts: Time = None, ends: Time = None, zone: Zone = None, seats: Seats = None,
    gpus: Gpus = None, warm: Warm = None, flex: Flex = None, grace: Grace = None, no_show: NoShow = None,
    roster_only: RosterOnly = None, note: Note = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Change a run; with --starts alone it stays as long as it is. One that is approved moves with all it has."""
    values = given(
        name=name, zone=zone, seats=seats, gpus=gpus, warm_minutes=warm, flex_minutes=flex, grace_minutes=grace,
        no_show_minutes=no_show, roster_only=roster_only, note=note,
    )  # fmt: skip
    if starts or ends:
        before = call("GET", _path(run))
        there = zone or before["zone"]
        values |= {of: _when(text, there) for of, text in (("starts", starts), ("ends", ends)) if text}
        if starts and not ends:
            values["ends"] = before["ends"] + values["starts"] - before["starts"]
    _tell(change(_path(run), values), as_json=as_json)


@courses.command("request")
def run_request(run: Run, note: Note = None, as_json: Json = False) -> None:
    """Ask for a run to be approved; refused at once where there is no room for it."""
    _tell(call("POST", _path(run, "request"), json=given(note=note)), as_json=as_json)


@courses.command("decide")
def run_decide(
    run: Run, reason: Annotated[str, typer.Option(help="Told to those who asked.")],
    approve: Annotated[bool, typer.Option("--approve/--refuse", help="Reserve what it needs, or say no.")],
    as_json: Json = False,
) -> None:  # fmt: skip
    """Approve or refuse a run of your programme."""
    body = {"approve": approve, "reason": reason}
    _tell(call("POST", _path(run, "decision"), json=body), as_json=as_json)


@courses.command("cancel")
def run_cancel(run: Run, note: Annotated[str | None, typer.Option(help="Why.")] = None, as_json: Json = False) -> None:
    """Cancel a run before its slot begins: trays and money are given back."""
    _tell(call("POST", _path(run, "cancel"), json=given(note=note)), as_json=as_json)


@courses.command("close")
def run_close(run: Run, as_json: Json = False) -> None:
    """End a run: what was kept until now is charged, the rest given back."""
    _tell(call("POST", _path(run, "close")), as_json=as_json)


@courses.command("code")
def run_code(run: Run, as_json: Json = False) -> None:
    """Give a run another join code; the old one opens nothing any more."""
    _tell(call("POST", _path(run, "code")), as_json=as_json)


def _path(run: int, *more: str) -> str:
    return path_of("runs", str(run), *more)


def _when(text: str, zone: str) -> int:
    """Return the time that an option gives in a zone; print why not and end with status 1."""
    lang = language(os.environ.get("LANG"))
    try:
        there = ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        fail(say("run-zone", lang, given=zone))
    try:
        return moment(text, there)
    except UnclearTimeError as error:
        fail(say(f"run-{error.slug}", lang, zone=zone, **error.members))


def _tell(run: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        tell(run, as_json=True)
        return
    zone, room = run["zone"], run["room"]
    hours, minutes = divmod((run["ends"] - run["starts"]) // 60, 60)
    told = {
        name: run[name] for name in ("id", "course", "name", "state", "phase", "code", "note", "reason") if run[name]
    }
    told |= {
        "when": f"{shown(run['starts'], zone)} to {shown(run['ends'], zone)} ({hours} h {minutes} min, {zone})",
        "seats": f"{run['seats']}, {run['taken']} taken, {run['gpus']} GPU each",
        "pays for": "the whole slot" if run["slot_charge"] else "what is used",
        "slot": f"{run['slot_gpus']} GPU, {gpu_hours(run['price'])} GPU-h",
        "charged": f"{gpu_hours(run['charged'])} GPU-h",
    }  # fmt: skip
    if run["trays"]:
        told["trays"] = where(run["trays"])
    if room is not None and room["fits"]:
        told["room"] = f"yes: {where(room['trays'])}" if room["trays"] else "yes: no GPUs are needed"
    elif room is not None:
        then = f"; from {shown(room['next_starts'], zone)} on" if room["next_starts"] else ""
        told["room"] = f"no: {room['most_gpus']} of {room['gpus']} GPU could be had{then}"
    tell(told, as_json=False)


# --- rosters ------------------------------------------------------------------------------------------------------


@courses.command("roster")
def course_roster(
    run: Run, file: Annotated[Path | None, typer.Argument(metavar="FILE", help="….csv; left out: print it.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Change the roster; left out: only tell what would.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Have a CSV file be the roster of a run, or print the roster as one."""
    path = _path(run, "roster")
    if file is None:
        fetch(path, None, format="json" if as_json else "csv")
        return
    try:
        content = file.read_bytes()
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}.")
    headers = {"Content-Type": "text/csv"}
    answer = send("POST", path, params={"dry_run": not apply}, content=content, headers=headers)
    _print_faults(answer, as_json=as_json)
    done = checked(answer).json()
    if as_json:
        tell(done, as_json=True)
        return
    counts = ("added", "changed", "unchanged", "dropped", "ignored")
    tell({name: done[name] for name in counts if done[name]}, as_json=False)
    typer.echo("The roster is changed." if apply else "Nothing was changed: --apply changes it.")


def _print_faults(answer: httpx.Response, *, as_json: bool) -> None:
    """Print all that is wrong with a file, row by row, and end with status 1; do nothing about other answers."""
    if answer.status_code != 422 or "errors" not in (document := answer.json()):
        return
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False))
        raise typer.Exit(1)
    show(document["errors"], fields("row", "field", "detail"), as_json=False)
    more = document["total"] - len(document["errors"])
    fail(document["detail"] + (f" ({more} of them are not shown.)" if more else ""))
