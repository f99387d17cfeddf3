"""*Programme*: what is asked for, what was awarded, who uses it, by which rules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import panel as pn
from bokeh.models import ColumnDataSource, FactorRange

from nvlhub.text import say
from nvlhub.wire import MILLI_PER_GPU_HOUR, gpu_hours
from nvlkernels.client import PortalDownError, PortalError
from nvlwidgets.markup import clock
from nvlwidgets.panels.api import Api, Page
from nvlwidgets.panels.blocks import CARD, Block, Query, legend_above, part, typed, whole
from nvlwidgets.panels.parts import Plot, empty_figure
from nvlwidgets.panels.visit import Visit

DAY = 86_400
MONTH = 30 * DAY
STATES = ("submitted", "revision", "approved", "declined", "withdrawn", "")
RULES = ("share", "priority", "cap", "at_zero", "factor_milli")
NAMES = {
    "share": "programme-rules-share", "priority": "programme-rules-priority", "cap": "programme-rules-cap",
    "at_zero": "programme-rules-zero", "factor_milli": "programme-rules-factor",
}  # fmt: skip
DRAWN = 12
"""Programmes in a plot; the table has all."""


class Choice(Block):
    """Which programme is looked at."""

    template = "programme_choice.html"
    nothing: ClassVar[dict[str, Any]] = {"programmes": [], "chosen": ""}
    every = 60.0

    def __init__(self, visit: Visit, chosen: Callable[[str], None]) -> None:
        super().__init__(visit)
        self._chosen = chosen
        self.programme = ""
        self.heard.append(self._first)

    def query(self) -> Query:
        """Ask for the programmes that the guest decides for."""
        api = self.visit.api
        return "programmes", lambda: api.page("/programmes", per_page=200)

    def _own(self, value: Page) -> list[tuple[str, str]]:
        guest = self.visit.guest
        return [(row["slug"], row["name"]) for row in value.items if guest.admin or row["slug"] in guest.officer_of]

    def values(self, value: Page) -> dict[str, Any]:
        """Return their names."""
        return {"programmes": self._own(value), "chosen": self.programme}

    def _first(self, value: Page) -> None:
        known = [slug for slug, _ in self._own(value)]
        if self.programme not in known and known:
            wanted = self.visit.args.get("programme", "")
            self._choose(wanted if wanted in known else known[0])

    def do_programme(self, asked: Mapping[str, Any]) -> None:
        """Look at another one."""
        wanted = str(asked.get("value", ""))
        if self.known is not None and wanted in dict(self._own(self.known)):
            self._choose(wanted)

    def _choose(self, programme: str) -> None:
        self.programme = programme
        self.draw()
        self._chosen(programme)


class OfProgramme(Block):
    """A part that is about one programme; nothing until it is chosen."""

    programme = ""

    def choose(self, programme: str) -> None:
        """Look at another programme."""
        self.programme, self.page, self.said = programme, 1, None
        self.start()

    def query(self) -> Query | None:
        """Ask as :meth:`of` says."""
        return self.of(self.visit.api, self.programme) if self.programme else None

    def of(self, api: Api, programme: str) -> Query:
        """Return what is to be followed of a programme."""
        raise NotImplementedError


class Requests(OfProgramme):
    """What is asked for, the oldest first."""

    template = "programme_requests.html"
    nothing: ClassVar[dict[str, Any]] = {"listed": None, "requests": [], "shown": frozenset()}
    every = 15.0
    per_page = 10

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit)
        self._state, self._fresh = "submitted", 0

    def of(self, api: Api, programme: str) -> Query:
        """Ask for a page of them, and for what can still be awarded."""
        state, page = self._state, self.page

        async def fetch() -> tuple[Page, dict[str, int]]:
            listed, found = await asyncio.gather(
                api.page("/requests", programme=programme, state=state or None, page=page, per_page=self.per_page),
                api.get(f"/programmes/{part(programme)}"),
            )
            return listed, {row["pool"]: row["granted"] - row["awarded"] for row in found["budgets"]}

        return (programme, state, page), fetch

    def values(self, value: tuple[Page, dict[str, int]]) -> dict[str, Any]:
        """Return them as cards."""
        listed, budgets = value
        return {
            "listed": listed, "requests": listed.items, "budgets": budgets,
            "shown": {request["id"] for request in listed.items},
        }  # fmt: skip

    def always(self) -> dict[str, Any]:
        """Return what is filtered by."""
        return {"states": STATES, "state": self._state, "fresh": self._fresh}

    def do_state(self, asked: Mapping[str, Any]) -> None:
        """Show those in another state."""
        if asked.get("value") in STATES:
            self._state, self.page, self.said = str(asked["value"]), 1, None
            self.start()

    async def do_decide(self, asked: Mapping[str, Any]) -> None:
        """Approve, decline or send back."""
        number, verdict = str(asked.get("number", "")), str(asked.get("verdict", ""))
        if verdict not in {"approve", "revise", "decline"}:
            return
        body: dict[str, Any] = {"verdict": verdict, "reason": typed(asked, "reason")}
        if verdict == "approve" and typed(asked, "gpu_hours"):
            hours = whole(asked.get("gpu_hours"))
            if hours is None:
                field = say("ask-hours", self.visit.lang)
                self.say(number, say("whole-number", self.visit.lang, field=field), ok=False)
                return
            body["gpu_hours"] = hours
        done = say(f"programme-decided-{verdict}", self.visit.lang, number=number)
        sent = await self.act(number, done, "POST", f"/requests/{part(number)}/reviews", json=body)
        self._fresh += not sent.refused


class Rules(OfProgramme):
    """Budgets, and the rules with their entity tag."""

    template = "programme_rules.html"
    every = 30.0

    def of(self, api: Api, programme: str) -> Query:
        """Ask for the programme with its tag."""
        return programme, lambda: api.tagged(f"/programmes/{part(programme)}")

    def values(self, value: tuple[Any, str]) -> dict[str, Any]:
        """Return budgets with what is left, and rules."""
        found, tag = value
        budgets = [
            {
                "pool": row["pool"], "granted": row["granted"], "awarded": row["awarded"],
                "left": row["granted"] - row["awarded"],
                "part": round(100 * row["awarded"] / row["granted"], 2) if row["granted"] else 0,
            }
            for row in found["budgets"]
        ]  # fmt: skip
        return {
            "budgets": budgets, "rules": {name: found[name] for name in RULES}, "tag": tag, "officers": found["officers"],
        }  # fmt: skip

    async def do_rules(self, asked: Mapping[str, Any]) -> None:
        """Save what was changed of the rules, unless somebody else was quicker."""
        before = dict(self.known[0]) if self.known else {}
        body, wrong = self._changed(asked, before)
        if wrong:
            self.say("rules", say("programme-number-wanted", self.visit.lang, field=wrong), ok=False)
            return
        path = f"/programmes/{part(self.programme)}"
        sent = await self.send("PATCH", path, json=body, headers={"If-Match": str(asked.get("tag", "")) or "none"})
        words = sent.refused or say("programme-rules-saved", self.visit.lang)
        if sent.status == 412:
            now = (await self.send("GET", path)).answer or {}
            changes = [self._said(name, now.get(name)) for name in RULES if now.get(name) != before.get(name)]
            words = say("programme-rules-changed", self.visit.lang, changes="; ".join(changes))
        self.say("rules", words, ok=not sent.refused)
        self.refresh()

    def _changed(self, asked: Mapping[str, Any], before: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Return what differs from what was shown, or the name of the field that is no number."""
        body: dict[str, Any] = {}
        for name in RULES:
            text = typed(asked, name, 20)
            value: Any = text
            if name != "at_zero":
                digits = whole(text.removeprefix("-"))
                value = None if digits is None else (-digits if text.startswith("-") else digits)
                if value is None and (text or name != "cap"):
                    return {}, say(NAMES[name], self.visit.lang)
            if value != before.get(name):
                body[name] = value
        return body, ""

    def _said(self, name: str, value: object) -> str:
        lang = self.visit.lang
        if name == "at_zero":
            value = say(f"programme-rules-zero-{'low' if value == 'low_priority' else 'stop'}", lang)
        shown = say("programme-rules-none", lang) if value is None else str(value)
        return say("programme-rules-change", lang, field=say(NAMES[name], lang), value=shown)


class Shares(OfProgramme):
    """How the pool that runs here is shared by programme, as a plot."""

    template = "plot_part.html"
    every = 20.0

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit)
        self._figure = empty_figure(
            visit.lang, y_range=FactorRange(), x_axis_label=say("programme-shares-percent", visit.lang)
        )
        self._figure.x_range.start = 0
        self._figure.xaxis.formatter.use_scientific = False
        self._figure.ygrid.grid_line_color = None
        self._bars = self._figure.hbar(
            y="who", right="held", left=0, height=0.36, source={"who": [], "held": [], "low": [], "used": []},
            fill_color="#0072b2", line_color="#004f7c", legend_label=say("programme-shares-held", visit.lang),
        )  # fmt: skip
        self._used = self._figure.hbar(
            y="who", right="used", left=0, height=0.36, source={"who": [], "used": []}, fill_color="#ffd68a",
            line_color="#b87a00", hatch_pattern="right_diagonal_line", hatch_color="#e69f00", hatch_weight=1,
            legend_label=say("programme-shares-used", visit.lang),
        )  # fmt: skip
        legend_above(self._figure)
        self._plot = Plot(visit.lang, say("programme-shares", visit.lang), self._figure)
        self.view = pn.Column(self._plot, styles=CARD, sizing_mode="stretch_width", visible=False, margin=(0, 0, 22, 0))
        self.heard.append(self._draw_plot)

    def of(self, api: Api, programme: str) -> Query:
        """Ask for the pool with the most GPUs in service, and for its shares."""

        async def fetch() -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
            pools = await api.items("/pools", per_page=200)
            pool = max(pools, key=lambda row: row["in_service"], default=None)
            if pool is None:
                return None
            return pool, await api.items(f"/pools/{part(pool['name'])}/shares", per_page=200)

        return "shares", fetch

    def values(self, value: Any) -> dict[str, Any]:
        """Return nothing: the plot shows it. An answer that makes no sense is noticed here."""
        if value:
            self._rows(value)
        return {}

    def _rows(self, value: Any) -> list[tuple[str, str, int, int, int]]:
        others, lang = say("programme-shares-others", self.visit.lang), self.visit.lang
        return [
            (
                f"{row['name'][:20]} ({row['programme']})" if row["programme"] else others,
                str(row["share"]) if row["share"] is not None else say("report-unknown", lang),
                int(row["gpus"]), int(row["preemptible_gpus"]), int(row["gpu_seconds"]),
            )
            for row in value[1]
        ]  # fmt: skip

    def _draw_plot(self, value: Any) -> None:
        self.view.visible = value is not None
        if value is None:
            return
        lang, (pool, _) = self.visit.lang, value
        rows = self._rows(value)
        service = int(pool["in_service"])
        drawn = [row for row in rows if row[2] or row[4]][:DRAWN][::-1]
        of_all = max(1, service)
        self._figure.y_range.factors = [row[0] for row in drawn]
        self._figure.height = 110 + 46 * len(drawn)
        self._bars.data_source.data = {
            "who": [(row[0], 0.2) for row in drawn], "held": [100 * row[2] / of_all for row in drawn],
        }  # fmt: skip
        self._used.data_source.data = {
            "who": [(row[0], -0.2) for row in drawn], "used": [100 * row[4] / (of_all * MONTH) for row in drawn],
        }  # fmt: skip
        longest = max((100 * max(row[2], row[4] / MONTH) / of_all for row in drawn), default=0)
        self._figure.x_range.end = max(5, 1.25 * longest)
        held = sum(row[2] + row[3] for row in rows)
        words = say(
            "programme-shares-words", lang, service=str(service), pool=pool["name"], held=str(held),
            free=str(pool["free"]),
        )  # fmt: skip
        head = [say(f"programme-shares-{name}", lang) for name in ("programme", "weight", "held", "low", "used")]
        table = [[name, weight, gpus, low, f"{used / 3600:.1f}"] for name, weight, gpus, low, used in rows]
        self._plot.tell(words if held else say("programme-shares-none", lang, pool=pool["name"]), head, table)


class Capacity(OfProgramme):
    """What was used of what there was."""

    template = "programme_capacity.html"
    nothing: ClassVar[dict[str, Any]] = {"rows": []}
    every = 60.0

    def of(self, api: Api, programme: str) -> Query:
        """Ask for the last 30 days of everything that the guest may see."""
        return "usage", lambda: api.get("/usage", by="programme")

    def values(self, value: Any) -> dict[str, Any]:
        """Return the rows, the widest share as a full bar."""
        rows = value["utilisation"]
        widest = max((row["share"] for row in rows if row["share"] is not None), default=0) or 1
        wanted = ("kind", "pool", "available", "used", "share")
        return {
            "rows": [
                {**{name: row[name] for name in wanted}, "part": round(100 * (row["share"] or 0) / max(1, widest), 2)}
                for row in rows
            ]
        }  # fmt: skip


class Burn(OfProgramme):
    """What is left of the awards, day by day, as a plot."""

    template = "programme_burn.html"
    nothing: ClassVar[dict[str, Any]] = {"awards": []}
    every = 60.0

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit)
        lang = visit.lang
        self._award = ""
        self._figure = empty_figure(lang, x_axis_type="datetime", y_axis_label=say("programme-burn-axis", lang))
        self._figure.y_range.start = 0
        self._figure.yaxis.formatter.use_scientific = False
        empty: dict[str, list[float]] = {"x": [], "left": [], "awarded": []}
        # No area under the line: BokehJS never ends drawing one without points.
        self._data = ColumnDataSource(empty)
        for name, dash, colour in (("left", "solid", "#0072b2"), ("awarded", "dashed", "#b87a00")):
            self._figure.step(
                x="x", y=name, source=self._data, line_color=colour, line_dash=dash, line_width=2, mode="before",
                legend_label=say(f"programme-burn-line-{name}", lang),
            )  # fmt: skip
        legend_above(self._figure)
        self._plot = Plot(lang, say("programme-burn", lang), self._figure)
        self.view = pn.Column(
            self.html, self._plot, styles=CARD, sizing_mode="stretch_width", visible=False, margin=(0, 0, 22, 0)
        )
        self.heard.append(self._draw_plot)

    def choose(self, programme: str) -> None:
        """Look at another programme, as a whole."""
        self._award = ""
        super().choose(programme)

    def of(self, api: Api, programme: str) -> Query:
        """Ask for the burn-down, and for the awards that there are to choose from."""
        award = self._award
        path = f"/awards/{part(award)}" if award else f"/programmes/{part(programme)}"

        async def fetch() -> tuple[dict[str, Any], list[dict[str, Any]]]:
            burnt, awards = await asyncio.gather(
                api.get(f"{path}/burndown", days=90), api.items("/awards", programme=programme, per_page=200)
            )
            return burnt, [row for row in awards if row["state"] == "active"]

        return (programme, award), fetch

    def values(self, value: Any) -> dict[str, Any]:
        """Return the awards; an answer that makes no sense is noticed here."""
        self._points(value)
        return {"awards": [{"id": row["id"], "project": row["project"]} for row in value[1]]}

    def always(self) -> dict[str, Any]:
        """Return which award is looked at."""
        return {"award": self._award}

    def _points(self, value: Any) -> list[tuple[int, int, int, int]]:
        points = [
            (int(row["at"]), int(row["left"]), int(row["awarded"]), int(row["charged"])) for row in value[0]["points"]
        ]
        # What was before the first award is left out, but for the day before it.
        first = next((place for place, point in enumerate(points) if point[2]), 0)
        return points[max(0, first - 1) :]

    def _draw_plot(self, value: Any) -> None:
        lang, zone, points, burnt = self.visit.lang, self.visit.zone, self._points(value), value[0]
        self.view.visible = bool(points)
        if not points:
            return
        self._data.data = {
            "x": [at * 1000 for at, *_ in points], "left": [left / MILLI_PER_GPU_HOUR for _, left, _, _ in points],
            "awarded": [awarded / MILLI_PER_GPU_HOUR for _, _, awarded, _ in points],
        }  # fmt: skip
        at, left, awarded, _ = points[-1]
        words = say(
            "programme-burn-words", lang, at=clock(at, zone), left=gpu_hours(left), awarded=gpu_hours(awarded)
        )  # fmt: skip
        if burnt["dry_at"]:
            words += " " + say("programme-burn-dry", lang, at=clock(burnt["dry_at"], zone))
        elif burnt["ends"]:
            words += " " + say("programme-burn-lasts", lang, at=clock(burnt["ends"], zone))
        else:
            words += " " + say("programme-burn-none", lang)
        head = [say(f"programme-burn-{name}", lang) for name in ("day", "left", "awarded", "charged")]
        rows = [
            [clock(at, zone), gpu_hours(left), gpu_hours(awarded), gpu_hours(charged)]
            for at, left, awarded, charged in points
        ]
        self._plot.tell(words, head, rows)

    def do_award(self, asked: Mapping[str, Any]) -> None:
        """Look at one award, or at all."""
        wanted = str(asked.get("value", ""))
        if self.known is not None and wanted in {"", *(row["id"] for row in self.known[1])}:
            self._award = wanted
            self.start()


class Projects(OfProgramme):
    """The projects with their caps, and the members of one of them."""

    template = "programme_projects.html"
    nothing: ClassVar[dict[str, Any]] = {"projects": [], "shown": frozenset()}
    every = 30.0
    per_page = 12

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit)
        self._named, self._opened, self._members_page, self._fresh = "", "", 1, 0

    def choose(self, programme: str) -> None:
        """Look at another programme."""
        self._named, self._opened, self._members_page = "", "", 1
        super().choose(programme)

    def of(self, api: Api, programme: str) -> Query:
        """Ask for a page of projects, and for one of the members of the project that is open."""
        named, page, opened, of = self._named, self.page, self._opened, self._members_page

        async def fetch() -> tuple[Page, Page | None]:
            listed = await api.page("/projects", programme=programme, named=named, page=page, per_page=self.per_page)
            if not opened:
                return listed, None
            return listed, await api.page(f"/projects/{part(opened)}/members", page=of, per_page=20)

        return (programme, named, page, opened, of), fetch

    def values(self, value: tuple[Page, Page | None]) -> dict[str, Any]:
        """Return them as rows."""
        listed, members = value
        shown = {project["slug"] for project in listed.items} | {"members"}
        return {"listed": listed, "projects": listed.items, "members": members, "shown": shown}

    def always(self) -> dict[str, Any]:
        """Return what is looked for."""
        return {"named": self._named, "opened": self._opened, "fresh": self._fresh}

    def do_find(self, asked: Mapping[str, Any]) -> None:
        """Look for projects by a part of their name."""
        self._named, self.page, self._opened, self.said = typed(asked, "named", 100), 1, "", None
        self.start()

    def do_page(self, asked: Mapping[str, Any]) -> None:
        """Show another page."""
        self._opened = ""
        super().do_page(asked)

    def do_members(self, asked: Mapping[str, Any]) -> None:
        """Show the members of a project, or hide them."""
        self._opened, self._members_page, self.said = str(asked.get("project", ""))[:40], 1, None
        self.start()

    def do_members_page(self, asked: Mapping[str, Any]) -> None:
        """Show another page of them."""
        self._members_page = max(1, whole(asked.get("page")) or 1)
        self.start()

    async def do_cap(self, asked: Mapping[str, Any]) -> None:
        """Set how many GPUs a project may hold at once, unless somebody else was quicker."""
        lang, slug, text = self.visit.lang, str(asked.get("project", "")), typed(asked, "cap", 20)
        cap = whole(text)
        if text and cap is None:
            field = say("programme-project-cap", lang)
            self.say(slug, say("programme-number-wanted", lang, field=field), ok=False)
            return
        path = f"/projects/{part(slug)}"
        try:
            now, tag = await self.visit.api.tagged(path)
            there = now["cap"]
        except (PortalError, PortalDownError) as error:
            self.say(slug, str(error), ok=False)
            return
        if ("" if there is None else str(there)) != str(asked.get("was", "")):
            shown = say("programme-rules-none", lang) if there is None else str(there)
            self.say(slug, say("programme-project-changed", lang, project=slug, cap=shown), ok=False)
            self.refresh()
            return
        done = say("programme-project-saved", lang, project=slug)
        await self.act(slug, done, "PATCH", path, json={"cap": cap}, headers={"If-Match": tag})

    async def do_set_member(self, asked: Mapping[str, Any]) -> None:
        """Make somebody a member, or change what they are."""
        lang, slug, user, role = self.visit.lang, self._opened, typed(asked, "user", 255), typed(asked, "role", 20)
        text = typed(asked, "cap", 20)
        cap = whole(text)
        if text and cap is None:
            field = say("programme-project-cap", lang)
            self.say("members", say("programme-number-wanted", lang, field=field), ok=False)
            return
        shown = say(f"role-{role}", lang) if role in {"pi", "manager", "member"} else role
        done = say("programme-member-set", lang, user=user, project=slug, role=shown)
        path = f"/projects/{part(slug)}/members/{part(user)}"
        sent = await self.act("members", done, "PUT", path, json={"role": role, "cap": cap})
        self._fresh += not sent.refused

    async def do_drop(self, asked: Mapping[str, Any]) -> None:
        """Take somebody out of the project."""
        slug, user = self._opened, str(asked.get("user", ""))
        done = say("programme-member-dropped", self.visit.lang, user=user, project=slug)
        await self.act("members", done, "DELETE", f"/projects/{part(slug)}/members/{part(user)}")


class Programme:
    """The screen."""

    def __init__(self, visit: Visit) -> None:
        self.requests, self.rules, self.shares = Requests(visit), Rules(visit), Shares(visit)
        self.capacity, self.burn, self.projects = Capacity(visit), Burn(visit), Projects(visit)
        self.parts: tuple[OfProgramme, ...] = (
            self.requests, self.rules, self.shares, self.capacity, self.burn, self.projects,
        )  # fmt: skip
        self.choice = Choice(visit, self._choose)
        self.choice.start()

    def _choose(self, programme: str) -> None:
        for block in self.parts:
            block.choose(programme)

    @property
    def view(self) -> Any:
        """What is shown, in this order."""
        return pn.Column(
            self.choice.html, self.requests.html, self.rules.html, self.shares.html, self.shares.view, self.burn.view,
            self.capacity.html, self.projects.html, sizing_mode="stretch_width",
        )  # fmt: skip


def screen(visit: Visit) -> Any:
    """Return the screen of a visit."""
    return Programme(visit).view
