"""*Profiles*: what can be started, and the editor: draft, test start, publish, roll back, compare.

table        all profiles, live
editor       a form and YAML side by side; whatever is typed in one is checked by the portal and shown in the other
life         the versions of the profile that is open: how their starts went, test start, publish, roll back, diff
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import quote

import panel as pn

from nvlkernels.client import PortalDownError, PortalError
from nvlkernels.trial import Step, trial
from nvlwidgets.panels.parts import Html
from nvlwidgets.panels.source import Reading
from nvlwidgets.panels.visit import Visit

EVERY = 10.0
"""Seconds between two looks at all profiles."""
ROWS = 200
"""Profiles that the table shows."""
FIELDS = (
    "name", "version", "display_name", "pool", "gpus", "span", "longest", "idle", "programmes", "projects", "environment",
    "hints", "note",
)  # fmt: skip
NEW = {"span": "domain", "longest": "14400", "idle": "3600", "gpus": "1"}
"""What a new profile begins with."""


class Profiles:
    """One administrator at the profiles."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._table = Html(self._asked)
        self._editor = Html(self._asked)
        self._life = Html(self._asked)
        self._known: dict[str, Any] | None = None
        self._open: str | None = None
        """Name of the profile that is open; empty: a new one; None: none."""
        self._history: dict[str, Any] | None = None
        self._fields: dict[str, str] = {}
        self._yaml = ""
        self._draft: dict[str, Any] = {}
        """What the portal said of what was typed last."""
        self._turn = 0
        self._said = ("", "")
        self._conflict: dict[str, Any] | None = None
        self._diff: dict[str, Any] | None = None
        self._steps: list[Step] = []
        self._trial: asyncio.Task[None] | None = None
        self._source = visit.own("profiles", self._fetch, EVERY)
        visit.follow(self._source, self._show_table)
        wanted = visit.args.get("profile", "")
        if wanted:
            visit.run(self._open_one(wanted))

    # --- the table ----------------------------------------------------------------------------------------------

    async def _fetch(self) -> dict[str, Any]:
        api = self._visit.api
        versions, stats, pools = await asyncio.gather(
            api.every("/profiles"), api.every("/profile-stats"), api.every("/pools")
        )
        return {"rows": _rows(versions, stats, pools), "pools": [pool["name"] for pool in pools]}

    def _show_table(self, reading: Reading[dict[str, Any]] | None, error: str) -> None:
        if reading:
            self._known = reading.value
        rows = self._known["rows"] if self._known else []
        self._table.put(
            self._visit.markup(
                "profiles.html", rows=rows[:ROWS], left_out=max(0, len(rows) - ROWS), known=reading is not None,
                error=error, age=reading.age if reading else 0, open=self._open,
                said=self._said if self._open is None else ("", ""),
            )
        )  # fmt: skip

    def _redraw(self) -> None:
        """Have what is known now shown, when the page may be changed."""
        self._visit.soon(self._draw)

    def _draw(self) -> None:
        self._show_table(self._source.reading, self._source.error)
        if self._open is None:
            self._editor.put("")
            self._life.put("")
            return
        faults: dict[str, list[str]] = {}
        for fault in self._draft.get("errors", ()):
            faults.setdefault(_form_field(fault["field"]), []).append(fault["detail"])
        pools = [*(self._known["pools"] if self._known else []), self._fields.get("pool", "")]
        self._editor.put(
            self._visit.markup(
                "profile_editor.html", profile=self._open, fields={**dict.fromkeys(FIELDS, ""), **self._fields},
                yaml=self._yaml, draft=self._draft, faults=faults, pools=[pool for pool in dict.fromkeys(pools) if pool],
                said=self._said, conflict=self._conflict,
            )
        )  # fmt: skip
        self._life.put(
            self._visit.markup(
                "profile_life.html", profile=self._open, history=self._history, diff=self._diff, steps=self._steps,
                testing=self._testing, projects=self._visit.guest.projects,
            )
            if self._history
            else ""
        )  # fmt: skip

    # --- what was asked for ---------------------------------------------------------------------------------------

    def _asked(self, asked: Mapping[str, Any]) -> None:
        told = {name: str(value) for name, value in asked.items()}
        match told.get("action"):
            case "close":
                self._open = None
                self._redraw()
            case "stop" if self._trial is not None:
                self._trial.cancel()
            case action:
                work = self._work(str(action), told)
                if work is not None:
                    self._visit.run(work)

    def _work(self, action: str, told: Mapping[str, str]) -> Coroutine[Any, Any, None] | None:
        """Return what there is to do; None for what an older or a foreign page asks."""
        version = _number(told.get("version"))
        works: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "open": lambda: self._open_one(told.get("profile", "")),
            "new": self._open_new,
            "fields": lambda: self._check(told),
            "yaml": lambda: self._check(told),
            "save": lambda: self._save(told),
            "save-yaml": lambda: self._save(told),
            "over": self._go_over,
            "from": lambda: self._begin_from(version),
            "publish": lambda: self._publish(version),
            "rollback": self._roll_back,
            "diff": lambda: self._compare(_number(told.get("a")), _number(told.get("b"))),
            "test": lambda: self._test(told.get("project", ""), version),
        }
        return works[action]() if action in works else None

    async def _call(self, method: str, path: str, **more: Any) -> Any:
        """Ask the portal; what it refuses is shown, and None returned."""
        answer, why = await self._visit.act(method, path, **more)
        self._said = ("error", why) if why else ("", "")
        return answer

    # --- opening --------------------------------------------------------------------------------------------------

    async def _open_one(self, name: str) -> None:
        self._conflict, self._diff, self._steps = None, None, []
        if not await self._read_history(name):
            self._open = None
            self._redraw()
            return
        self._open = name
        await self._begin_from(self._history["versions"][0]["version"] if self._history else None)

    async def _open_new(self) -> None:
        self._open, self._history, self._conflict, self._diff, self._steps = "", None, None, None, []
        pools = self._known["pools"] if self._known else []
        await self._check({"action": "fields", **NEW, "pool": pools[0] if pools else ""})

    async def _read_history(self, name: str) -> bool:
        """Read the versions of a profile, and how their starts went."""
        found = await self._call("GET", _path(name))
        if found is None:
            return False
        try:
            stats = {row["version"]: row for row in await self._visit.api.every(_path(name, "stats"))}
        except (PortalError, PortalDownError):
            stats = {}
        for row in found["versions"]:
            row["stats"] = stats.get(row["version"])
        self._history = found
        return True

    async def _begin_from(self, version: int | None) -> None:
        """Put a version into the editor, to make the next one from the newest of it."""
        if self._history is None or version is None:
            return
        rows = {row["version"]: row for row in self._history["versions"]}
        newest = max(rows)
        if version in rows:
            await self._check({"action": "fields", **_as_fields(rows[version]), "version": str(newest)})

    # --- typing ---------------------------------------------------------------------------------------------------

    async def _check(self, told: Mapping[str, str]) -> None:
        """Have the portal say what was typed means, and put it into the other side."""
        self._turn += 1
        turn = self._turn
        if told["action"] in {"yaml", "save-yaml"}:
            self._yaml = told.get("yaml", "")
            body: dict[str, Any] = {"yaml": self._yaml}
        else:
            self._fields = {name: told[name] for name in FIELDS if name in told}
            body = {"fields": self._fields}
        answer, why = await self._visit.act("POST", "/profiles/check", json=body)
        if turn != self._turn:
            # Something newer was typed meanwhile, and its answer is on the way.
            return
        if answer is None:
            self._draft = {"ok": False, "errors": [{"field": "", "detail": why}]}
        else:
            self._draft = answer
            self._yaml = answer["yaml"]
            self._fields = answer["fields"] or self._fields
        self._redraw()

    async def _save(self, told: Mapping[str, str]) -> None:
        """Store what was typed as the next version."""
        self._said = ("", "")
        await self._check(told)
        if not self._draft.get("ok"):
            return
        headers = {"If-Match": self._draft["tag"]} if self._draft["tag"] else {}
        try:
            made = await self._visit.api.call("POST", "/profiles", json=self._draft["profile"], headers=headers)
        except PortalError as error:
            problem = error.problem
            self._said = ("error", str(error))
            if problem.status == 412:
                self._conflict = {"version": problem.member("version"), "diff": problem.member("diff") or []}
                await self._read_history(self._draft["profile"]["name"])
                self._said = ("error", str(error))
        except PortalDownError as error:
            self._said = ("error", str(error))
        else:
            self._conflict = None
            self._open = made["name"]
            await self._reread()
            await self._begin_from(made["version"])
            self._said = ("done", str(made["version"]))
        self._redraw()

    async def _go_over(self) -> None:
        """Keep what was typed, and make it the version after the one that somebody else has made."""
        if self._conflict is not None:
            version, self._conflict, self._said = self._conflict["version"], None, ("", "")
            await self._check({"action": "fields", **self._fields, "version": str(version)})

    async def _reread(self) -> None:
        self._source.refresh()
        if self._open:
            said = self._said
            await self._read_history(self._open)
            self._said = said

    # --- the life of a version ------------------------------------------------------------------------------------

    async def _publish(self, version: int | None) -> None:
        if await self._call("POST", _path(self._open, "publish"), json={"version": version}):
            await self._reread()
        self._redraw()

    async def _roll_back(self) -> None:
        now = (self._history or {}).get("published")
        if await self._call("POST", _path(self._open, "rollback"), json={"published": now}):
            await self._reread()
        self._redraw()

    async def _compare(self, a: int | None, b: int | None) -> None:
        self._diff = await self._call("GET", _path(self._open, "diff"), params={"a": a, "b": b})
        self._redraw()

    @property
    def _testing(self) -> bool:
        return self._trial is not None and not self._trial.done()

    async def _test(self, project: str, version: int | None) -> None:
        if self._testing:
            return
        self._trial = asyncio.current_task()
        self._steps = []
        visit = self._visit

        def tell(step: Step) -> None:
            self._steps.append(step)
            self._redraw()

        environment = {
            "NVLHUB_PORTAL_URL": visit.api.portal, "JUPYTERHUB_API_TOKEN": visit.guest.token, "NVLHUB_LANGUAGE": visit.lang,
        }  # fmt: skip
        try:
            await trial(environment, tell, project=project, profile=self._open or "", version=version)
        finally:
            self._trial = None
            self._redraw()
        await self._reread()
        self._redraw()

    @property
    def view(self) -> Any:
        """What is shown."""
        return pn.Column(self._table, self._editor, self._life, sizing_mode="stretch_width")


def _rows(
    versions: list[dict[str, Any]], stats: list[dict[str, Any]], pools: list[dict[str, Any]]
) -> list[dict[str, Any]]:  # fmt: skip
    """Return a row per profile: its published version, or the newest where none is."""
    shown: dict[str, dict[str, Any]] = {}
    newest: dict[str, int] = {}
    for row in versions:
        name = row["name"]
        newest[name] = max(row["version"], newest.get(name, 0))
        if row["published"] or not shown.get(name, {}).get("published"):
            shown[name] = row
    went = {(row["name"], row["version"]): row for row in stats}
    factors = {pool["name"]: pool["factor_milli"] for pool in pools}
    return [
        {
            **row,
            "newest": newest[name],
            "price": row["gpus"] * factors.get(row["pool"], 1000),
            "stats": went.get((name, row["version"])),
        }
        for name, row in sorted(shown.items(), key=lambda item: (item[1]["gpus"], item[0]))
    ]


def _as_fields(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a version as the fields of the form."""
    hints = (
        f"{engine}.{key}={_hint(value)}" for engine, told in row["hints"].items() for key, value in told.items()
    )  # fmt: skip
    return {
        **{name: str(row[name]) for name in ("name", "display_name", "pool", "gpus", "span", "longest", "note")},
        "idle": "" if row["idle"] is None else str(row["idle"]),
        "programmes": " ".join(row["audience"]["programmes"]),
        "projects": " ".join(row["audience"]["projects"]),
        "environment": "\n".join(f"{name}={value}" for name, value in row["environment"].items()),
        "hints": "\n".join(hints),
    }


def _hint(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def _form_field(field: str) -> str:
    """Return the field of the form that something inside a profile is typed in; empty: none, so it is told beside the YAML."""
    first, _, rest = field.partition(".")
    found = rest if first == "audience" else first
    # An unknown key stands in the YAML only.
    return found if found in FIELDS else ""


def _path(name: str | None, *parts: str) -> str:
    """Return the path of a profile, whatever somebody has put for its name."""
    return "/".join(["/profiles", quote(name or "-", safe=""), *parts])


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None


def screen(visit: Visit) -> Any:
    """Return the screen of a visit."""
    return Profiles(visit).view
