"""*Health and audit*: how the portal is doing, whether the ledger is right, who changed what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import panel as pn
from bokeh.models import FactorRange

from nvlhub.text import say
from nvlwidgets.panels.api import Page
from nvlwidgets.panels.blocks import CARD, Block, Query, part, typed
from nvlwidgets.panels.parts import Plot, empty_figure
from nvlwidgets.panels.visit import Visit

LATE = 10.0
"""Seconds without a turn of the run loop after which it is called late."""
FAILED = frozenset({"engine", "lost"})
"""Ends that nobody chose."""
TOLD = frozenset({
    "balance-too-low", "balance-changed", "no-award", "award-ends-first", "cap-award", "cap-member", "cap-programme",
    "cap-project", "cap-user", "never-fits", "no-room",
})  # fmt: skip
"""Refusals that are told in words; the others by their name."""
FIELDS = {"actor": "actor", "object": "object", "did": "action"}
"""What the trail is searched by, as the form and as the portal call it: `action` is what a form itself asks for."""
MOST = 300
"""Characters of it."""
SPANS = {"": 0, "4": 4 * 3600, "24": 86_400, "168": 7 * 86_400}
"""For how many seconds something is announced, by hours; 0: until it is withdrawn."""


class Report(Block):
    """Facts, refusals, ends, and how long starts take."""

    template = "health_report.html"
    every = 10.0

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit)
        lang = visit.lang
        self._figure = empty_figure(
            lang, x_range=FactorRange(), x_axis_label=say("health-starts-axis", lang),
            y_axis_label=say("health-starts-count", lang),
        )  # fmt: skip
        self._figure.y_range.start = 0
        empty: dict[str, list[Any]] = {"took": [], "count": []}
        self._bars = self._figure.vbar(
            x="took", top="count", width=0.8, source=empty, fill_color="#0072b2", line_color="#004f7c"
        )
        self._plot = Plot(lang, say("health-starts", lang), self._figure)
        self.view = pn.Column(self._plot, styles=CARD, sizing_mode="stretch_width", visible=False, margin=(0, 0, 22, 0))
        self.heard.append(self._draw_plot)

    def query(self) -> Query:
        """Ask for the report."""
        api = self.visit.api
        return "report", lambda: api.get("/health/report")

    def values(self, value: Any) -> dict[str, Any]:
        """Return facts and tables."""
        lang = self.visit.lang
        refused = [
            (say(f"refused-{row['slug']}", lang) if row["slug"] in TOLD else row["slug"], int(row["count"]))
            for row in value["refused"]
        ]
        wanted = (
            "version", "engine", "simulated", "database", "up", "active", "waiting", "turns", "turn_mean", "turn_ago",
            "differences_open", "proof", "admitted",
        )  # fmt: skip
        self._took(value)
        return {
            "report": {name: value[name] for name in wanted} | {"engine_away": bool(value.get("engine_away"))}, "refused": refused, "ended": value["ended"], "failed": FAILED,
            "refusals": sum(count for _, count in refused), "late": (value["turn_ago"] or 0) > LATE,
        }  # fmt: skip

    def _took(self, value: Any) -> list[tuple[str, int]]:
        lang, rows = self.visit.lang, value["took"]
        known = [row["below"] for row in rows if row["below"] is not None]
        return [
            (
                say("health-starts-below", lang, seconds=str(row["below"])) if row["below"] is not None
                else say("health-starts-rest", lang, seconds=str(max(known, default=0))),
                int(row["count"]),
            )
            for row in rows
        ]  # fmt: skip

    def _draw_plot(self, value: Any) -> None:
        lang, rows = self.visit.lang, self._took(value)
        self.view.visible = True
        bounds = [row["below"] for row in value["took"]]
        # Short, because phones are narrow; the table has them in words.
        names = [f"≥{max((known or 0) for known in bounds)}" if below is None else f"<{below}" for below in bounds]
        self._figure.x_range.factors = names
        self._bars.data_source.data = {"took": names, "count": [count for _, count in rows]}
        if value["started"]:
            words = say(
                "health-starts-words", lang, count=value["started"], median=str(max(1, value["start_median"])),
                most=str(max(1, value["start_most"])),
            )  # fmt: skip
        else:
            words = say("health-starts-none", lang)
        self._plot.tell(words, [say("health-starts-took", lang), say("health-starts-count", lang)], rows)


class Ledger(Block):
    """The proof, when it is asked for."""

    template = "health_ledger.html"

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit)
        self._proof: dict[str, Any] | None = None
        self._busy = False

    def always(self) -> dict[str, Any]:
        """Return what the last proof found."""
        return {"proof": self._proof, "busy": self._busy}

    async def do_verify(self, _asked: Mapping[str, Any]) -> None:
        """Have the ledger verified."""
        if self._busy:
            return
        self._busy, self.said, self._proof = True, None, None
        self.visit.soon(self.draw)
        sent = await self.send("GET", "/ledger/verify")
        self._busy = False
        refused = sent.refused
        try:
            if not refused:
                rows = [(str(row["invariant"]), str(row["detail"])) for row in sent.answer["broken"][:50]]
                self._proof = {"ok": bool(sent.answer["ok"]) and not rows, "broken": rows}
                count = str(int(sent.answer["transactions"]))
        except (TypeError, KeyError, ValueError):
            refused = say("answer-odd", self.visit.lang)
        if refused or self._proof is None:
            self.say("ledger", refused, ok=False)
        else:
            right = self._proof["ok"]
            words = say(f"health-ledger-{'right' if right else 'wrong'}", self.visit.lang, transactions=count)
            self.say("ledger", words, ok=right)


class Differences(Block):
    """Where the engine's records and the ledger differ, and how that is closed."""

    template = "health_differences.html"
    nothing: ClassVar[dict[str, Any]] = {"listed": None, "differences": [], "shown": frozenset()}
    every = 30.0
    per_page = 10

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit)
        self._fresh = 0

    def query(self) -> Query:
        """Ask for a page of what is open."""
        api, page = self.visit.api, self.page
        return page, lambda: api.page("/differences", state="open", page=page, per_page=self.per_page)

    def values(self, value: Page) -> dict[str, Any]:
        """Return them as cards."""
        return {"listed": value, "differences": value.items, "shown": {row["id"] for row in value.items}}

    def always(self) -> dict[str, Any]:
        """Return what makes fields empty again."""
        return {"fresh": self._fresh}

    async def do_close(self, asked: Mapping[str, Any]) -> None:
        """Close one, with a reason."""
        number, how = str(asked.get("number", "")), str(asked.get("how", ""))
        if how not in {"accept", "correct"}:
            return
        done = say(f"health-difference-{how}ed", self.visit.lang, number=number)
        body = {"action": how, "reason": typed(asked, "reason", 500)}
        sent = await self.act(number, done, "POST", f"/differences/{part(number)}/close", json=body)
        self._fresh += not sent.refused


class Announcements(Block):
    """What is announced, and what was."""

    template = "health_announcements.html"
    nothing: ClassVar[dict[str, Any]] = {"there": True, "announcements": [], "listed": None}
    every = 30.0
    per_page = 10

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit)
        self._fresh = 0

    def query(self) -> Query:
        """Ask for a page of all that ever was announced; None where this portal announces nothing."""
        api, page = self.visit.api, self.page
        return page, lambda: api.get("/announcements", all="true", page=page, per_page=self.per_page)

    def values(self, value: Any) -> dict[str, Any]:
        """Return them as rows."""
        if value is None:
            return {"there": False, "announcements": [], "listed": None}
        listed = Page(list(value["items"]), int(value["page"]), int(value["per_page"]), int(value["total"]))
        return {"there": True, "announcements": listed.items, "listed": listed}

    def always(self) -> dict[str, Any]:
        """Return what makes fields empty again."""
        return {"fresh": self._fresh, "spans": SPANS}

    async def do_announce(self, asked: Mapping[str, Any]) -> None:
        """Announce something."""
        lang = self.visit.lang
        wanted = {"text": typed(asked, "text", 500), "level": typed(asked, "level", 10)}
        optional = {"text_zh": typed(asked, "text_zh", 500), "programme": typed(asked, "programme", 40)}
        body: dict[str, Any] = wanted | {name: value for name, value in optional.items() if value}
        seconds = SPANS.get(typed(asked, "hours", 4), 0)
        if seconds:
            # The portal's clock decides when it is over.
            sent = await self.send("GET", "/health")
            try:
                body["ends"] = int(sent.answer["now"]) + seconds
            except (TypeError, KeyError, ValueError):
                self.say("announcements", sent.refused or say("answer-odd", lang), ok=False)
                return
        done = say("health-announcement-sent", lang)
        made = await self.act("announcements", done, "POST", "/announcements", json=body)
        self._fresh += not made.refused

    async def do_withdraw(self, asked: Mapping[str, Any]) -> None:
        """Withdraw one."""
        number = str(asked.get("number", ""))
        done = say("health-announcement-withdrawn", self.visit.lang, number=number)
        await self.act("announcements", done, "DELETE", f"/announcements/{part(number)}")


class Audit(Block):
    """Who changed what, the newest first."""

    template = "health_audit.html"
    nothing: ClassVar[dict[str, Any]] = {"listed": None, "lines": []}
    every = 30.0
    per_page = 20

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit)
        self._wanted = {name: str(visit.args.get(name, ""))[:MOST] for name in FIELDS}

    def query(self) -> Query:
        """Ask for a page of the lines that are looked for."""
        api, page, wanted = (
            self.visit.api,
            self.page,
            {FIELDS[name]: value or None for name, value in self._wanted.items()},
        )
        return (page, *wanted.values()), lambda: api.page("/audit", page=page, per_page=self.per_page, **wanted)

    def values(self, value: Page) -> dict[str, Any]:
        """Return lines with what changed."""
        wanted = ("id", "at", "actor", "action", "object", "hash")
        lines = [{**{name: row[name] for name in wanted}, "changes": changes(row)} for row in value.items]
        return {"listed": value, "lines": lines}

    def always(self) -> dict[str, Any]:
        """Return what is looked for."""
        return {"wanted": self._wanted}

    def do_find(self, asked: Mapping[str, Any]) -> None:
        """Look for lines of somebody, of something, of an action."""
        self._wanted, self.page = {name: typed(asked, name, MOST) for name in FIELDS}, 1
        self.start()


def changes(line: Mapping[str, Any]) -> list[tuple[str, str | None, str]]:
    """Return the fields that a line of the trail changed: name, before (None: there was nothing), after."""
    before, after = line["before"], line["after"] or {}
    if before is None:
        return [(str(name), None, _short(value)) for name, value in after.items()]
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [(str(name), _short(before.get(name)), _short(after.get(name))) for name in names]


def _short(value: object) -> str:
    return "–" if value is None else str(value)[:300]


class Health:
    """The screen."""

    def __init__(self, visit: Visit) -> None:
        self.report, self.ledger, self.differences = Report(visit), Ledger(visit), Differences(visit)
        self.announcements, self.audit = Announcements(visit), Audit(visit)
        for block in (self.report, self.ledger, self.differences, self.announcements, self.audit):
            block.start()

    @property
    def view(self) -> Any:
        """What is shown, in this order."""
        return pn.Column(
            self.report.html, self.report.view, self.ledger.html, self.differences.html, self.announcements.html,
            self.audit.html, sizing_mode="stretch_width",
        )  # fmt: skip


def screen(visit: Visit) -> Any:
    """Return the screen of a visit."""
    return Health(visit).view
