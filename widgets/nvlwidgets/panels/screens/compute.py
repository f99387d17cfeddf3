"""*My compute*: can I start now, what do I have, what am I wasting."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote

import panel as pn

from nvlhub.dates import zone_of
from nvlhub.text import say
from nvlhub.wire import BACK, LeaseView, Offer
from nvlkernels.specs import IDLE, affordable, spec_name
from nvlwidgets.markup import clock, span
from nvlwidgets.panels.api import Page
from nvlwidgets.panels.blocks import CARD, Block, Query, legend_above, part, whole
from nvlwidgets.panels.parts import Plot, empty_figure
from nvlwidgets.panels.visit import Visit

QUIET = 600
"""Seconds without work after which a lease is called idle."""
QUARTER = 900
HOUR = 3600
DAY = 24 * HOUR
MILLI = 1000
LEADS = frozenset({"pi", "manager"})
"""Roles that answer for a project; the portal checks it."""


class Announcements(Block):
    """What those who run the portal say."""

    template = "compute_announcements.html"
    nothing: ClassVar[dict[str, Any]] = {"announcements": []}
    every = 30.0

    def query(self) -> Query:
        """Ask for those for this guest."""
        api = self.visit.api
        return "announcements", lambda: api.get("/announcements")

    def values(self, value: Any) -> dict[str, Any]:
        """Return nothing where the portal has none."""
        return {"announcements": value["items"] if value else []}


class Answers(Block):
    """The three answers; the first one and the hours come from other blocks."""

    template = "compute_answers.html"
    nothing: ClassVar[dict[str, Any]] = {"have": None}
    every = 5.0

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit)
        self._start: dict[str, Any] = {"kind": "", "big": "", "words": ""}
        self._wasted = ""

    def query(self) -> Query:
        """Ask for what the guest holds in all."""
        api = self.visit.api
        return "me", lambda: api.get("/me")

    def values(self, value: Any) -> dict[str, Any]:
        """Return what they hold, and what of it is idle."""
        held = value["holding"]
        return {"have": {name: held[name] for name in ("leases", "gpus", "waiting", "ends_at", "idle_gpus")}}

    def always(self) -> dict[str, Any]:
        """Return what other blocks told."""
        return {"start": self._start, "wasted": self._wasted, "title": say("screen-compute", self.visit.lang)}

    def clock_of(self, value: Any) -> int:
        """Return the portal's time."""
        return int(value["holding"]["now"])

    def hear_offers(self, offers: Page) -> None:
        """Say whether something can start."""
        self._start = can_start([Offer(**item) for item in offers.items], self.visit.guest.name, self.visit.lang)
        self.draw()

    def hear_activity(self, told: Any) -> None:
        """Say what was held without computing."""
        if told:
            measured = sum(item["measured"] for item in told["items"])
            idle = measured - sum(item["busy"] for item in told["items"])
            self._wasted = f"{idle / HOUR:.1f}" if idle >= HOUR / 10 else ""
            self.draw()


def can_start(offers: Sequence[Offer], user: str, lang: str) -> dict[str, Any]:
    """Return the answer to whether something can start now: the largest that does, else that waits the least."""
    known = {"yes": "yes", "shorter": "yes", "wait": "wait", "no": "no", "none": "no"}

    def told(kind: str, words: str, **members: object) -> dict[str, Any]:
        big = say(f"compute-start-{kind}", lang)
        return {"kind": known[kind], "big": big, "words": say(f"compute-start-{words}", lang, **members)}

    if not offers:
        return told("none", "none-words", user=user)
    allowed = [offer for offer in offers if offer.why_not is None]
    # One that has not to wait can start, even where nothing is counted as free.
    free = max(
        (offer for offer in allowed if offer.free_now or offer.expected_wait == 0),
        key=lambda offer: offer.gpus,
        default=None,
    )
    if free is not None:
        return told("yes", "yes-words", shape=free.display_name, project=free.project_name)
    shorter = max(
        ((affordable(offer), offer) for offer in offers if offer.free_now), key=lambda pair: pair[0], default=(0, offers[0])
    )  # fmt: skip
    if not allowed and shorter[0]:
        time = span(shorter[0] * 60, lang)
        return told(
            "shorter", "shorter-words", shape=shorter[1].display_name, project=shorter[1].project_name, time=time
        )
    if not allowed:
        return told("no", "no-words")
    waits = [(offer.expected_wait, offer) for offer in allowed if offer.expected_wait is not None]
    if not waits:
        return told("wait", "wait-unknown")
    wait, soonest = min(waits, key=lambda pair: (pair[0], -pair[1].gpus))
    answer = told("wait", "wait-words", shape=soonest.display_name, wait=span(wait, lang))
    if soonest.queue_outside:
        answer["words"] += " " + say("waiting-outside", lang, count=soonest.queue_outside)
    return answer


def shown_lease(lease: LeaseView) -> dict[str, Any]:
    """Return what cards and tables need of a lease."""
    ran = max(0, lease.now - lease.started_at) if lease.started_at else 0
    idle = lease.idle_seconds if lease.state == "running" and lease.idle_seconds >= QUIET else 0
    return {
        **lease.model_dump(mode="json"), "silent": lease.silent, "back": back_to(lease.server) if lease.alone else "",
        "so_far": lease.price_milli * (ran - ran % 60),
        "idle_for": idle - idle % 60,
    }  # fmt: skip


def back_to(server: str) -> str:
    """Return the address that starts a Jupyter server at once, or opens it where it runs; `server` is ``user/servername``."""
    user, _, name = server.partition("/")
    return f"/hub/spawn/{'/'.join(quote(part, safe='') for part in (user, name) if part)}?opt-{BACK}=1"


class Leases(Block):
    """What the guest holds, kernels with their workers, and what waits."""

    template = "compute_leases.html"
    nothing: ClassVar[dict[str, Any]] = {"leases": [], "shown": frozenset()}
    every = 3.0
    per_page = 12

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit)
        self._opened, self._workers_page = "", 1

    def query(self) -> Query:
        """Ask for a page of kernels, and one of the workers of the kernel that is open."""
        api, user, page, opened, of = self.visit.api, self.visit.guest.name, self.page, self._opened, self._workers_page

        async def fetch() -> tuple[Page, Page | None]:
            heads = await api.page("/leases", user=user, heads=True, page=page, per_page=self.per_page)
            if not opened:
                return heads, None
            return heads, await api.page("/leases", user=user, parent=opened, page=of, per_page=20)

        return (page, opened, of), fetch

    def values(self, value: tuple[Page, Page | None]) -> dict[str, Any]:
        """Return leases as cards."""
        listed, workers = value
        leases = [shown_lease(LeaseView(**item)) for item in listed.items]
        found = None
        if workers is not None:
            own = [shown_lease(LeaseView(**item)) for item in workers.items]
            found = Page(own, workers.page, workers.per_page, workers.total)
        return {
            "listed": listed, "leases": leases, "shown": {lease["id"] for lease in leases}, "opened": self._opened,
            "workers": found,
        }  # fmt: skip

    def clock_of(self, value: tuple[Page, Page | None]) -> int:
        """Return the portal's time, where there is a lease."""
        return int(value[0].items[0]["now"]) if value[0].items else 0

    def do_workers(self, asked: Mapping[str, Any]) -> None:
        """Show the workers of a kernel, or hide them."""
        self._opened, self._workers_page = str(asked.get("lease", ""))[:64], 1
        self.start()

    def do_workers_page(self, asked: Mapping[str, Any]) -> None:
        """Show another page of them."""
        self._workers_page = max(1, whole(asked.get("page")) or 1)
        self.start()

    async def do_end(self, asked: Mapping[str, Any]) -> None:
        """End a lease, or leave the queue."""
        lease, name = str(asked.get("lease", "")), str(asked.get("name", ""))
        known = {"": "compute-did-end", "held": "compute-did-cancel"}
        doing = known.get(str(asked.get("waits", "")), "compute-did-pending")
        done = say(doing, self.visit.lang, name=name)
        await self.act(lease, done, "DELETE", f"/leases/{part(lease)}")

    async def do_extend(self, asked: Mapping[str, Any]) -> None:
        """Pay for one hour more."""
        lease, name = str(asked.get("lease", "")), str(asked.get("name", ""))
        answer, refused = await self.visit.act("POST", f"/leases/{part(lease)}/extend", json={"seconds": HOUR})
        try:
            ends = clock(answer["deadline"], self.visit.zone) if not refused else ""
        except (TypeError, KeyError):
            refused = say("answer-odd", self.visit.lang)
        self.say(lease, refused or say("compute-did-extend", self.visit.lang, name=name, at=ends), ok=not refused)
        self.refresh()


class Awards(Block):
    """What is left of the awards of the guest's own projects."""

    template = "compute_awards.html"
    nothing: ClassVar[dict[str, Any]] = {"awards": [], "past": 0}
    every = 15.0
    most = 20
    """Projects that are asked for."""

    def query(self) -> Query:
        """Ask for the awards of each project: an administrator's list would hold everybody's."""
        api = self.visit.api

        async def fetch() -> list[tuple[str, list[dict[str, Any]]]]:
            projects = (await api.get("/me"))["projects"][: self.most]
            pages = await asyncio.gather(
                *(api.page("/awards", project=project["slug"], per_page=200) for project in projects)
            )
            return [(project["name"], page.items) for project, page in zip(projects, pages, strict=True)]

        return "awards", fetch

    def values(self, value: list[tuple[str, list[dict[str, Any]]]]) -> dict[str, Any]:
        """Return those that are valid, with the parts of their bar in per cent."""
        every = [(name, award) for name, awards in value for award in awards]
        shown = [shown_award(name, award) for name, award in every if award["state"] in {"active", "new"}]
        return {"awards": shown, "past": len(every) - len(shown)}


def shown_award(project: str, award: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a card needs of an award."""
    amounts = {"used": int(award["charged"]), "held": int(award["held"]), "left": max(0, int(award["left"]))}
    whole_bar = sum(amounts.values()) or 1
    wanted = ("id", "pool", "state", "awarded", "charged", "held", "left", "starts", "ends", "dry_at")
    parts = {name: round(100 * amount / whole_bar, 2) for name, amount in amounts.items()}
    return {**{name: award[name] for name in wanted}, "project_name": project, "parts": parts}


class Activity(Block):
    """Held against computed on, as a plot."""

    template = "plot_part.html"
    every = 60.0

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit)
        lang = visit.lang
        self._figure = empty_figure(lang, x_axis_type="datetime", y_axis_label=say("compute-activity-axis", lang))
        self._figure.y_range.start = 0
        empty: dict[str, list[float]] = {"x": [], "held": [], "busy": []}
        self._bars = self._figure.vbar(
            x="x", top="held", width=900 * MILLI, source=empty, fill_color="#ffd68a", line_color="#b87a00",
            hatch_pattern="right_diagonal_line", hatch_color="#e69f00", hatch_weight=1,
            legend_label=say("compute-activity-held", lang),
        )  # fmt: skip
        self._figure.vbar(
            x="x", top="busy", width=900 * MILLI, source=self._bars.data_source, fill_color="#0072b2", line_color="#004f7c",
            legend_label=say("compute-activity-busy", lang),
        )  # fmt: skip
        legend_above(self._figure)
        self._plot = Plot(lang, say("compute-activity", lang), self._figure)
        self.view = pn.Column(self._plot, styles=CARD, sizing_mode="stretch_width", visible=False, margin=(0, 0, 22, 0))
        self.heard.append(self._draw_plot)

    def query(self) -> Query:
        """Ask for the last 24 hours."""
        api = self.visit.api
        return "activity", lambda: api.get("/activity", hours=24)

    def values(self, value: Any) -> dict[str, Any]:
        """Return nothing: the plot shows it. An answer that makes no sense is noticed here."""
        if value:
            _steps(value)
        return {}

    def _draw_plot(self, value: Any) -> None:
        self.view.visible = value is not None
        if value is None:
            return
        step, items = _steps(value)
        zone, lang = zone_of(self.visit.zone), self.visit.lang

        def local(at: int) -> float:
            # Bokeh shows UTC: what it is told is the time of the site.
            moment = datetime.fromtimestamp(at, zone)
            return (at + (moment.utcoffset() or timedelta()).total_seconds()) * MILLI

        self._bars.glyph.width = step * MILLI
        self._bars.data_source.data = {
            "x": [local(at) + step * MILLI / 2 for at, _, _, _ in items],
            "held": [held / step for _, held, _, _ in items], "busy": [busy / step for _, _, busy, _ in items],
        }  # fmt: skip
        held, busy, measured = (sum(item[place] for item in items) for place in (1, 2, 3))
        if not held:
            words = say("compute-activity-none", lang)
        elif not measured:
            words = say("compute-activity-unknown", lang, held=_hours(held))
        else:
            words = say("compute-activity-words", lang, held=_hours(held), busy=_hours(busy))
            if held - measured >= HOUR / 10:
                words += " " + say("compute-activity-unmeasured", lang, hours=_hours(held - measured))
        head = [say(f"compute-activity-{name}", lang) for name in ("at", "held-hours", "busy-hours")]
        self._plot.tell(words, head, self._by_hour(items))

    def _by_hour(self, items: Sequence[tuple[int, int, int, int]]) -> list[list[str]]:
        by_hour: dict[int, list[int]] = {}
        for at, held, busy, _ in items:
            row = by_hour.setdefault(at - at % HOUR, [0, 0])
            row[0] += held
            row[1] += busy
        return [
            [clock(at, self.visit.zone), _hours(held), _hours(busy)] for at, (held, busy) in sorted(by_hour.items())
        ]


def _steps(value: Any) -> tuple[int, list[tuple[int, int, int, int]]]:
    items = [(int(row["at"]), int(row["held"]), int(row["busy"]), int(row["measured"])) for row in value["items"][:500]]
    return max(1, int(value.get("step", QUARTER))), items


def _hours(gpu_seconds: int) -> str:
    return f"{gpu_seconds / HOUR:.1f}" if gpu_seconds >= 10 * HOUR else f"{gpu_seconds / HOUR:.2f}"


class Offers(Block):
    """What can be started now, for how much, and why not."""

    template = "compute_offers.html"
    nothing: ClassVar[dict[str, Any]] = {"offers": []}
    every = 5.0
    per_page = 20

    def query(self) -> Query:
        """Ask for all offers: what can start is also said above."""
        api = self.visit.api
        return "offers", lambda: api.page("/offers")

    def values(self, value: Page) -> dict[str, Any]:
        """Ask for a page of them, what can start first."""
        offers = sorted((Offer(**item) for item in value.items), key=lambda offer: offer.why_not is not None)
        first = (self.page - 1) * self.per_page
        rows = [shown_offer(offer) for offer in offers[first : first + self.per_page]]
        return {"offers": rows, "listed": Page(rows, self.page, self.per_page, len(offers)), "idle": IDLE}

    def do_page(self, asked: Mapping[str, Any]) -> None:
        """Show another page of what is known."""
        self.page = max(1, whole(asked.get("page")) or 1)
        self.draw()


def shown_offer(offer: Offer) -> dict[str, Any]:
    """Return what a row needs of an offer."""
    why = (offer.why_not.detail or offer.why_not.title) if offer.why_not else ""
    first, _, rest = why.partition("\n")
    return {
        **offer.model_dump(mode="json"), "kernel": spec_name(offer.project, offer.profile),
        "minutes": affordable(offer), "why_first": first, "why_rest": rest.strip(),
    }  # fmt: skip


class Led(Block):
    """Who holds the GPUs of a project that the guest answers for."""

    template = "compute_led.html"
    nothing: ClassVar[dict[str, Any]] = {"leases": [], "shown": frozenset()}
    every = 5.0
    per_page = 12

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit)
        self.projects = [(slug, name) for slug, name, role in visit.guest.projects if role in LEADS]
        self._project = self.projects[0][0] if self.projects else ""

    def query(self) -> Query | None:
        """Ask for a page of the kernels of the project that is chosen."""
        api, project, page = self.visit.api, self._project, self.page
        return (project, page), lambda: api.page(
            "/leases", project=project, heads=True, page=page, per_page=self.per_page
        )

    def values(self, value: Page) -> dict[str, Any]:
        """Return leases as rows."""
        leases = [shown_lease(LeaseView(**item)) for item in value.items]
        return {"listed": value, "leases": leases, "shown": {lease["id"] for lease in leases}}

    def always(self) -> dict[str, Any]:
        """Return which project, of which."""
        return {"projects": self.projects, "project": self._project}

    def clock_of(self, value: Page) -> int:
        """Return the portal's time, where there is a lease."""
        return int(value.items[0]["now"]) if value.items else 0

    def do_project(self, asked: Mapping[str, Any]) -> None:
        """Look at another project."""
        chosen = asked.get("value")
        if chosen in dict(self.projects):
            self._project, self.page, self.said = str(chosen), 1, None
            self.start()

    async def do_end(self, asked: Mapping[str, Any]) -> None:
        """End a lease of the project."""
        lease, name, holder = (str(asked.get(field, "")) for field in ("lease", "name", "holder"))
        done = say("compute-led-did", self.visit.lang, name=name, holder=holder)
        await self.act(lease, done, "DELETE", f"/leases/{part(lease)}")


class Compute:
    """The screen."""

    def __init__(self, visit: Visit) -> None:
        self.announcements, self.answers, self.leases = Announcements(visit), Answers(visit), Leases(visit)
        self.awards, self.activity, self.offers, self.led = Awards(visit), Activity(visit), Offers(visit), Led(visit)
        self.offers.heard.append(self.answers.hear_offers)
        self.activity.heard.append(self.answers.hear_activity)
        self.blocks: list[Block] = [
            self.announcements, self.answers, self.leases, self.awards, self.activity, self.offers,
        ]  # fmt: skip
        if self.led.projects:
            self.blocks.append(self.led)
        for block in self.blocks:
            block.start()

    @property
    def view(self) -> Any:
        """What is shown, in this order."""
        shown: list[Any] = []
        for block in self.blocks:
            shown.append(block.html)
            if block is self.activity:
                shown.append(self.activity.view)
        return pn.Column(*shown, sizing_mode="stretch_width")


def screen(visit: Visit) -> Any:
    """Return the screen of a visit."""
    return Compute(visit).view
