"""What each widget shows: with a portal, without one, with a bad one; and where widgets cannot run."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from datetime import datetime
from html.parser import HTMLParser
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import nvlwidgets
from nvlhub.text import say
from nvlkernels.telemetry import Measured
from nvlwidgets import AllocationCard, GpuNow, LeaseBar, StartEstimate, UsageStrip, asking, gpu_now
from nvlwidgets.live import Live
from nvlwidgets.panels.parts import Html
from tests.waiting import until
from tests.widgets.conftest import NOW, Scripted, lease

ALL = (LeaseBar, AllocationCard, UsageStrip, GpuNow, StartEstimate)
AWARD = {
    "id": "1", "project": "demo", "pool": "main", "state": "active", "awarded": 360_000_000, "charged": 90_000_000,
    "held": 36_000_000, "left": 234_000_000, "ends": NOW + 40 * 86_400, "dry_at": NOW + 10 * 86_400,
}  # fmt: skip
OFFER = {
    "project": "demo", "project_name": "Demo project", "profile": "gpu1", "version": 1, "display_name": "1 GPU", "gpus": 1,
    "span": "domain", "pool": "main", "gpu_model": "GB300", "simulated": True, "factor_milli": 1500, "price_milli": 1500,
    "longest": 3600, "hold": 1, "left": 1, "free_now": 8, "expected_wait": 0,
}  # fmt: skip
NASTY = '<script>alert(1)</script><img src=x onerror="alert(2)">'


def good(portal: Scripted, **more: Any) -> None:
    portal.answers |= {
        "/leases/L1": lease(**more), "/awards": {"items": [AWARD]}, "/offers": {"items": [OFFER]},
        "/domains": {"items": [{"name": "nvl001", "trays": [{"gpus": ["", "", "", ""]}] * 18}]},
        "/activity": {"items": [{"at": NOW - 900, "held": 1800, "busy": 600, "measured": 1200}]},
    }  # fmt: skip


class Elements(HTMLParser):
    """The names of what is in a page, and the values of one attribute."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def told(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.found if attribute in attrs]


def bar(portal: Scripted, **more: Any) -> LeaseBar:
    good(portal, **more)
    widget = LeaseBar("L1")
    until(lambda: "L1" in str(portal.asked) and say("frame-loading") not in widget.html)
    return widget


# --- the lease ----------------------------------------------------------------------------------------------------


def test_a_lease_is_shown_with_time_left_place_and_what_can_be_done(scripted: Scripted) -> None:
    widget = bar(scripted)
    until(lambda: widget.html.count("<rect") == 72)
    page = Elements(widget.html)
    [left] = page.told("data-left")
    assert 7190 <= int(left) <= 7200
    assert page.told("data-ask") == ["extend", "extend", "release"]
    assert page.told("data-minutes") == ["30", "60"]
    assert len(page.told("data-confirm")) == 1
    assert widget.html.count('fill="#2f6f00"') == 2
    assert 'role="img" aria-label="GPUs: nvl001 tray 2 GPU 0, 3"' in widget.html
    assert "simulated" in widget.html
    assert page.told("lang") == ["en"]


@pytest.mark.parametrize(("seconds", "sentence"), [(901, ""), (900, "widget-soon"), (300, "widget-last")])
def test_the_end_is_told_15_and_5_minutes_before(scripted: Scripted, seconds: int, sentence: str) -> None:
    widget = bar(scripted, deadline=NOW + seconds)
    told = [name for name in ("widget-soon", "widget-last") if say(name) in widget.html]
    assert told == ([sentence] if sentence else [])


def test_only_the_portals_clock_counts(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW + 3600.0)
    widget = bar(scripted, deadline=NOW + 1200)
    [left] = Elements(widget.html).told("data-left")
    assert 1190 <= int(left) <= 1200


def test_a_waiting_lease_says_where_it_stands(scripted: Scripted) -> None:
    waiting = {"state": "held", "placement": [], "deadline": None, "position": 3, "expected_start": NOW + 600}
    assert "position 3" in bar(scripted, **waiting).html
    assert "10 min" in repr(bar(scripted, **waiting)).replace("9 min", "10 min")


def test_a_lease_that_its_engine_has_queued_says_why_and_until_when(scripted: Scripted) -> None:
    waiting = {"state": "starting", "deadline": None, "detail": "The cluster is full.", "expected_start": NOW + 600}
    widget = bar(scripted, **waiting)
    at = f"{datetime.fromtimestamp(NOW + 600, ZoneInfo('Asia/Taipei')):%H:%M} CST (UTC+8)"
    until(lambda: f"The cluster is full. Expected at {at}." in widget.html)
    assert Elements(widget.html).told("data-ask") == ["release"]


def test_an_engine_that_is_away_is_told_where_something_is_started_or_held(scripted: Scripted) -> None:
    scripted.answers["/health"] |= {"engine_away": True}
    scripted.answers["/offers"] = {"items": []}
    for widget in (bar(scripted), StartEstimate()):
        until(lambda widget=widget: "does not answer now" in widget.html)


def test_a_preemptible_lease_that_has_to_make_room_says_when(scripted: Scripted) -> None:
    assert "Others need these GPUs" in bar(scripted, preempt_at=NOW + 100).html


def test_a_lease_that_is_over_says_why(scripted: Scripted) -> None:
    widget = bar(scripted, state="settled", end_reason="idle", detail="nothing had run")
    assert "nothing had run" in widget.html
    assert Elements(widget.html).told("data-ask") == []


def test_more_time_is_asked_for_once_and_shown_at_once(scripted: Scripted) -> None:
    widget = bar(scripted)
    gate = threading.Event()

    def extend() -> dict[str, Any]:
        gate.wait(60)
        scripted.answers["/leases/L1"] = lease(deadline=NOW + 10_800)
        return lease(deadline=NOW + 10_800)

    scripted.answers["/leases/L1/extend"] = extend
    for count in range(5):
        widget.set_state({"asked": {"count": count, "action": "extend", "minutes": "60"}})
    assert "disabled" in widget.html
    gate.set()
    until(lambda: say("widget-extended", minutes="60") in widget.html)
    assert int(Elements(widget.html).told("data-left")[0]) > 10_000
    assert [entry for entry in scripted.asked if entry[0] == "POST"] == [
        ("POST", "/leases/L1/extend", {"seconds": 3600})
    ]


def test_a_refusal_is_shown_in_the_portals_words(scripted: Scripted) -> None:
    widget = bar(scripted)
    no = {
        "type": "urn:nvlhub:problem:extend-balance",
        "title": "",
        "status": 409,
        "detail": "Not extended: too little left.",
    }
    scripted.answers["/leases/L1/extend"] = (409, no)
    widget.extend(minutes=30)
    until(lambda: "Not extended: too little left." in widget.html)


def test_an_extension_without_an_answer_is_not_called_undone(scripted: Scripted) -> None:
    widget = bar(scripted)
    scripted.answers["/leases/L1/extend"] = (502, ["no portal"])
    widget.extend(minutes=30)
    until(lambda: "it is not known whether this was done" in widget.html)


def test_giving_back_ends_the_lease(scripted: Scripted) -> None:
    widget = bar(scripted)
    widget.set_state({"asked": {"count": 1, "action": "release"}})
    until(lambda: ("DELETE", "/leases/L1", None) in scripted.asked)
    until(lambda: "Given back" in widget.html)


@pytest.mark.parametrize(
    "asked",
    [{"action": "extend", "minutes": "9999"}, {"action": "extend"}, {"action": "extend", "minutes": ["60"]}, {"action": "drop"}, {}, {"minutes": None}],
)  # fmt: skip
def test_what_a_browser_makes_up_does_nothing(scripted: Scripted, asked: dict[str, Any]) -> None:
    widget = bar(scripted)
    widget.set_state({"asked": {"count": 1} | asked})
    assert [entry for entry in scripted.asked if entry[0] != "GET"] == []


def test_messages_for_all_and_for_this_lease_can_be_dismissed(scripted: Scripted) -> None:
    scripted.answers["/announcements"] = {
        "items": [
            {"id": 1, "level": "info", "text": "For all", "lease": None},
            {"id": 2, "level": "critical", "text": "For this one", "lease": "L1"},
            {"id": 3, "level": "warning", "text": "For another", "lease": "L2"},
        ]
    }
    widget = bar(scripted)
    until(lambda: "For all" in widget.html)
    assert "For this one" in widget.html
    assert "For another" not in widget.html
    assert Elements(widget.html).told("data-dismiss") == ["announcement-1", "announcement-2"]


@pytest.mark.parametrize("name", ["a b", "x" * 65, "<b>\n"])
def test_a_name_that_no_lease_has_is_refused(scripted: Scripted, name: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        LeaseBar(name)


# --- the others ---------------------------------------------------------------------------------------------------


def test_awards_are_shown_with_numbers_and_the_projected_last_day(scripted: Scripted) -> None:
    good(scripted)
    widget = AllocationCard()
    text = repr(widget)
    assert "25.00 used, 10.00 set aside, 65.00 left of 100.00 GPU-hours" in text
    assert "2027-01-25 16:00 CST" in text
    assert "width:25.0%" in widget.html
    assert "/services/portal/more" in widget.html


def test_awards_of_one_project_are_asked_for_by_its_name(scripted: Scripted) -> None:
    good(scripted)
    scripted.way = lambda handler: "/awards" in handler.path and paths.append(handler.path) is not None
    paths: list[str] = []
    widget = AllocationCard("a&b=c")
    until(lambda: paths)
    assert paths[0].endswith("project=a%26b%3Dc")
    widget.close()


def test_held_and_computing_are_told_apart(scripted: Scripted) -> None:
    good(scripted)
    text = repr(UsageStrip())
    assert "0.50 GPU-hours held. Of 0.33 measured, 0.16 computed (50 %)." in text


def test_a_portal_without_activity_is_a_sentence_and_no_error(scripted: Scripted) -> None:
    widget = UsageStrip()
    assert say("widget-no-activity") in repr(widget)
    assert "There is nothing" not in widget.html


def test_offers_are_shown_with_price_and_wait_or_why_not(scripted: Scripted) -> None:
    why = {"type": "t", "title": "", "status": 409, "detail": "No award.\nAsk for one."}
    offers = [OFFER, OFFER | {"expected_wait": 7200, "free_now": 0}, OFFER | {"why_not": why}]
    scripted.answers["/offers"] = {"items": offers}
    text = repr(StartEstimate("demo"))
    assert "1 GPU | Demo project | 1 | 8 | now | 1.5" in text
    assert "| 0 | 2 h | 1.5" in text
    assert "✕ No award. | 1.5" in text


def test_without_a_gpu_the_process_is_measured_and_called_so(scripted: Scripted) -> None:
    text = repr(GpuNow())
    assert say("widget-process") in text
    assert re.search(r"CPU of this process: \d+ % of one core", text)
    assert "Utilisation" not in text


def test_gpus_are_measured_by_nvml(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVLHUB_SIMULATED", "0")
    monkeypatch.setattr(gpu_now, "measure", lambda: [Measured("kernel", "GPU-1", True, 87.4, 10**10, 10**11)])
    text = repr(GpuNow())
    assert "GPU-1\nUtilisation: 87 %\nGPU memory: 10.00 of 100 GB" in text


def test_a_driver_that_does_not_answer_is_a_sentence(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[Measured]:
        raise OSError("libnvidia-ml.so.1 not found")

    monkeypatch.setenv("NVLHUB_SIMULATED", "0")
    monkeypatch.setattr(gpu_now, "measure", broken)
    assert "does not answer (libnvidia-ml.so.1 not found)" in repr(GpuNow())


# --- a bad portal -------------------------------------------------------------------------------------------------


def _slow(handler: Any) -> bool:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    try:
        for _ in range(300):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.01)
    except OSError:
        pass
    handler.close_connection = True
    return True


def _half(handler: Any) -> bool:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"items": [')
    handler.close_connection = True
    return True


def _says(body: bytes, status: int = 200) -> Any:
    return lambda handler: handler.say(status, body) is None


BAD = {
    "slow": _slow, "half": _half, "html": _says(b"<html>login</html>"), "no json": _says(b"\xff\x00"), "list": _says(b"[1, 2]"),
    "wrong": _says(b'{"items": 5, "id": {}, "zone": 1}'), "null": _says(b"null"), "gateway": _says(b"<html>502</html>", 502),
    "empty": _says(b""),
}  # fmt: skip


@pytest.mark.parametrize("way", BAD)
@pytest.mark.parametrize("kind", [LeaseBar, AllocationCard, UsageStrip, StartEstimate])
def test_a_bad_portal_leaves_the_last_good_value_with_its_age(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, kind: type[Live], way: str
) -> None:
    monkeypatch.setenv("NVLHUB_LEASE", "L1")
    good(scripted)
    widget = kind()
    until(lambda: widget.html and say("frame-loading") not in widget.html)
    # Only now: on a busy machine a good answer may take longer.
    monkeypatch.setattr(asking, "PATIENCE", 0.1)
    before = [line for line in repr(widget).split("\n")[1:] if not re.search("As of|Time left", line)]
    scripted.way = BAD[way]
    widget.feed.do(lambda: None)
    until(lambda: "notice stale" in widget.html)
    assert "This is from" in widget.html
    after = repr(widget)
    assert say("widget-away") in after or say("widget-rubbish") in after
    assert [line for line in before if line not in after] == []
    monkeypatch.setattr(asking, "PATIENCE", 10.0)
    scripted.way = None
    widget.feed.do(lambda: None)
    until(lambda: "notice stale" not in widget.html)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("lang", ["en", "zh-TW"])
def test_without_a_portal_each_widget_is_readable(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, kind: type[Live], lang: str
) -> None:
    monkeypatch.setenv("NVLHUB_PORTAL_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("NVLHUB_LANGUAGE", lang)
    widget = kind()
    bundle, _ = widget._repr_mimebundle_()
    text = bundle["text/plain"]
    assert len(text.splitlines()) >= 2
    assert "<" not in text
    assert f'lang="{lang}"' in bundle["text/html"]
    if lang == "zh-TW":
        assert re.search("[。：]", text)


# --- text from others ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [LeaseBar, AllocationCard, StartEstimate])
def test_markup_in_data_stays_text(scripted: Scripted, monkeypatch: pytest.MonkeyPatch, kind: type[Live]) -> None:
    monkeypatch.setenv("NVLHUB_LEASE", "L1")
    good(scripted, project=NASTY, profile=NASTY, placement=[{"domain": NASTY, "tray": 1, "gpus": [0]}])
    scripted.answers["/awards"] = {"items": [AWARD | {"project": NASTY, "pool": NASTY, "id": '"><script>'}]}
    scripted.answers["/offers"] = {"items": [OFFER | {"display_name": NASTY, "project_name": NASTY}]}
    scripted.answers["/announcements"] = {"items": [{"id": '"><script>', "level": NASTY, "text": NASTY, "lease": ""}]}
    widget = kind()
    until(lambda: "&lt;script&gt;" in widget.html)
    text, html = repr(widget), widget._repr_mimebundle_()[0]["text/html"]
    assert "<script>" in text
    for page in (widget.html, html):
        assert not {tag for tag, _ in Elements(page).found} & {"script", "img"}


# --- lives --------------------------------------------------------------------------------------------------------


def test_what_is_on_no_page_is_not_kept_up_to_date(scripted: Scripted) -> None:
    widget = bar(scripted)
    widget.set_state({"shown": False})
    until(lambda: not widget.feed.running)
    asked = len(scripted.asked)
    widget.set_state({"shown": True})
    until(lambda: len(scripted.asked) > asked)
    widget.close()
    until(lambda: not widget.feed.running)


def test_static_html_has_nothing_to_press_and_says_how_old_it_is(scripted: Scripted) -> None:
    widget = bar(scripted)
    until(lambda: "2027-01-15" in widget._rendered(live=False))
    bundle, _ = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "<button" not in bundle["text/html"]
    assert "As of 2027-01-15 16:00 CST" in bundle["text/plain"]
    assert "Time left: 2 h" in bundle["text/plain"].replace("1 h 59 min", "2 h")


def test_dashboards_and_notebooks_mount_the_same_view() -> None:
    for kind in ALL:
        assert kind._esm == Html._esm
        assert [kind._css] == list(Html._stylesheets)


def loaded_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_and_its_widgets_load_no_panel_and_no_dask() -> None:
    assert not loaded_after("import nvlwidgets") & {"anywidget", "httpx", "pydantic", "panel", "jinja2"}
    names = ", ".join(f"nvlwidgets.{kind.__name__}" for kind in ALL)
    assert not loaded_after(f"import nvlwidgets; {names}") & {
        "panel",
        "bokeh",
        "distributed",
        "pandas",
        "psutil",
        "pynvml",
    }


def test_every_name_that_is_promised_has_a_home_and_others_have_none() -> None:
    assert set(nvlwidgets.__all__) == set(nvlwidgets._HOMES)
    assert set(nvlwidgets.__all__) <= set(dir(nvlwidgets))
    with pytest.raises(AttributeError, match="Nothing"):
        _ = nvlwidgets.Nothing
