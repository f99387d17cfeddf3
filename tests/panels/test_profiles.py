"""The profile editor without a browser: what is pressed and typed goes to a real portal, what is shown is read as HTML."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from bokeh.document import Document

from nvlhub.api import Doors, make_app
from nvlhub.forms import NewProfile
from nvlkernels.trial import Step
from nvlwidgets.panels.api import Api
from nvlwidgets.panels.door import Guest
from nvlwidgets.panels.screens import profiles
from nvlwidgets.panels.source import Sources
from nvlwidgets.panels.visit import Visit
from tests.api.test_api import identify
from tests.conftest import HandClock
from tests.portal_kit import ADMIN, Kit, kit
from tests.tables import store_at

YAML = "name: gpu1\nversion: 1\ndisplay_name: 1 GPU\npool: main\ngpus: 1\nspan: domain\nlongest: 600\nidle: 3600\n"


class Tab(Visit):
    """A visit without a browser: what would be shown soon is shown at once."""

    def soon(self, do: Callable[[], None]) -> None:
        do()


class Screen:
    """An open editor."""

    def __init__(self, portal: Kit, visit: Tab) -> None:
        self.portal = portal
        self.visit = visit
        self.made = profiles.Profiles(visit)

    async def ask(self, action: str, **told: str) -> None:
        """Press, send or type something, and wait until it is done."""
        self.made._asked({"count": 1, "action": action, **told})
        await self.done()

    async def done(self) -> None:
        async with asyncio.timeout(60):
            while self.visit._tasks or self.made._source.reading is None:
                await asyncio.sleep(0.01)

    @property
    def editor(self) -> str:
        return self.made._editor.html

    @property
    def life(self) -> str:
        return self.made._life.html

    def field(self, name: str) -> str:
        """Return what stands in a field of the form, or in the YAML."""
        if found := re.search(rf'<textarea[^>]* name="{name}"[^>]*>\n(.*?)</textarea>', self.editor, re.DOTALL):
            return html.unescape(found[1])
        [found_value] = re.findall(rf'<input[^>]*?value="([^"]*)" name="{name}"', self.editor) or re.findall(
            rf'<input[^>]*name="{name}" value="([^"]*)"', self.editor
        )
        return html.unescape(found_value)

    def fault(self, name: str) -> str:
        [found] = re.findall(rf'id="fault-{name}">(.*?)</span>', self.editor, re.DOTALL)
        return html.unescape(found)

    def add(self, **values: Any) -> None:
        """Somebody else makes a version."""
        body = {"name": "gpu1", "display_name": "1 GPU", "pool": "main", "gpus": 1, "longest": 14_400} | values
        self.portal.registry.profiles.add_profile(ADMIN, NewProfile(**body), "*")


@pytest.fixture
def portal(tmp_path: Any, clock: HandClock) -> Any:
    store = store_at(tmp_path / "x.sqlite")
    yield kit(store, clock)
    store.close()


@pytest.fixture
async def screen(portal: Kit) -> AsyncIterator[Screen]:
    app = make_app(Doors(portal.desk, portal.registry, identify), "/services/portal/")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        api = Api(http, "http://portal", "admin", "en")
        guest = Guest("admin", "admin", admin=True, projects=(("demo-small", "<b>Small</b>", "member"),))
        visit = Tab(guest, "en", "UTC", "/services/panels", {}, api, api, Sources(), Document())
        made = Screen(portal, visit)
        await made.done()
        yield made
        visit.leave()
        made.made._source.stop()


async def test_the_table_has_every_profile_with_price_audience_and_starts(screen: Screen) -> None:
    shown = screen.made._table.html
    assert re.findall(r'data-profile="(\w+)"', shown) == ["gpu1", "gpu2", "gpu4", "gpu8"]
    assert "8.00" in shown
    assert "everybody" in shown


async def test_what_is_typed_in_the_form_is_checked_and_shown_as_yaml_and_the_other_way(screen: Screen) -> None:
    await screen.ask("open", profile="gpu1")
    assert "Profile gpu1" in screen.editor
    assert "longest: 14400" in screen.field("yaml")
    typed = {name: screen.field(name) for name in ("name", "version", "display_name", "longest", "idle", "note")}
    await screen.ask("fields", **typed, pool="main", span="domain", gpus="many", environment="PATH=x")
    assert "whole number" in screen.fault("gpus")
    assert "gpus: many" in screen.field("yaml")
    await screen.ask("fields", **typed, pool="main", span="domain", gpus="4", environment="PATH=x", projects="nope")
    assert "cannot be set" in screen.fault("environment")
    assert "there is no project" in screen.fault("projects")
    await screen.ask("yaml", yaml=YAML.replace("gpus: 1", "gpus: 2") + "environment: {A: 1}\n")
    assert (screen.field("gpus"), screen.field("environment"), screen.field("longest")) == ("2", "A=1", "600")
    assert "2.00 GPU-hours per hour; 36 could start now" in screen.editor
    await screen.ask("yaml", yaml="gpus: [")
    assert "no YAML" in screen.fault("yaml")
    assert (screen.field("gpus"), screen.field("yaml")) == ("2", "gpus: [")


async def test_a_draft_is_saved_compared_published_and_rolled_back(screen: Screen) -> None:
    await screen.ask("open", profile="gpu1")
    await screen.ask("save-yaml", yaml=YAML)
    assert "version 2 is a draft" in screen.editor
    assert screen.field("version") == "2"
    await screen.ask("diff", a="1", b="2")
    assert "<del>14400</del>" in screen.life
    assert "<ins>600</ins>" in screen.life
    await screen.ask("publish", version="2")
    assert 'data-ask="rollback"' in screen.life
    assert screen.portal.registry.profiles.history(ADMIN, "gpu1")[0].published == 2
    await screen.ask("rollback")
    assert screen.portal.registry.profiles.history(ADMIN, "gpu1")[0].published == 1


async def test_who_saves_second_sees_the_difference_keeps_what_was_typed_and_can_put_it_on_top(screen: Screen) -> None:
    await screen.ask("open", profile="gpu1")
    screen.add(longest=1200, note="theirs")
    await screen.ask("save-yaml", yaml=YAML)
    assert "Somebody else has made version 2" in screen.editor
    assert "theirs" in screen.editor
    assert screen.field("longest") == "600"
    assert "longest: 600" in screen.field("yaml")
    await screen.ask("over")
    await screen.ask("save-yaml", yaml=screen.field("yaml"))
    history, _ = screen.portal.registry.profiles.history(ADMIN, "gpu1")
    assert [(row.version, row.longest, row.note) for row in history.versions] == [
        (3, 600, ""), (2, 1200, "theirs"), (1, 14_400, ""),
    ]  # fmt: skip


async def test_a_new_profile_is_made_and_the_editor_closed(screen: Screen) -> None:
    await screen.ask("new")
    assert "A new profile" in screen.editor
    await screen.ask("save-yaml", yaml=YAML.replace("gpu1", "mine").replace("version: 1\n", ""))
    assert "Profile mine" in screen.editor
    await screen.ask("close")
    assert (screen.editor, screen.life) == ("", "")


async def test_markup_that_is_typed_is_shown_as_text(screen: Screen) -> None:
    await screen.ask("new")
    evil = "<img src=x onerror=alert(1)>"
    await screen.ask("yaml", yaml=f"name: '{evil}'\n{evil}: </textarea>{evil}\nnote: '</textarea>{evil}'\n")
    assert "<img" not in screen.editor + screen.life
    assert "There is no key" in screen.fault("yaml")
    await screen.ask("open", profile="gpu1")
    assert "&lt;b&gt;Small" in screen.life


@pytest.mark.parametrize(
    "action", ["open", "fields", "publish", "diff", "over", "rollback", "nonsense", "from", "stop"]
)
async def test_whatever_a_page_asks_for_is_answered_with_a_readable_page(screen: Screen, action: str) -> None:
    await screen.ask("open", profile="gpu1")
    await screen.ask(action, profile="../awards", version="x", a="1e9", b="", gpus="x")
    assert screen.made._table.html


async def test_the_steps_of_a_test_start_are_shown_and_it_can_be_stopped(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}
    begun = asyncio.Event()

    async def play(environment: dict[str, str], tell: Callable[[Step], None], **more: Any) -> bool:
        told.update(more, token=environment["JUPYTERHUB_API_TOKEN"])
        tell(Step("asked", 0.5, "asked for <it>"))
        begun.set()
        await asyncio.sleep(60)
        return True

    monkeypatch.setattr(profiles, "trial", play)
    await screen.ask("open", profile="gpu1")
    screen.made._asked({"action": "test", "project": "demo-small", "version": "1"})
    await begun.wait()
    assert "0.5 s: asked for &lt;it&gt;" in screen.life
    assert 'data-ask="stop"' in screen.life
    await screen.ask("stop")
    assert 'data-ask="stop"' not in screen.life
    assert told == {"project": "demo-small", "profile": "gpu1", "version": 1, "token": "admin"}
