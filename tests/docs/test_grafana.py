"""The dashboard: importable, and in step with what the portal exports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import HandClock
from tests.portal.test_metrics import Watched
from tests.portal_kit import ADMIN
from tests.tables import store_at

DOCS = Path(__file__).parents[2] / "docs"
BOARD: dict[str, Any] = json.loads((DOCS / "grafana.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
NAME = re.compile(r"\bnvlhub_[a-z_]+")


@pytest.fixture
def exported(tmp_path: Path, clock: HandClock) -> Iterator[dict[str, str]]:
    """Every sample that the metrics of a portal have, and the name of its family."""
    store = store_at(tmp_path / "x.sqlite")
    watched = Watched(store, clock)
    watched.kit.registry.ledger.verify(ADMIN)
    yield {
        sample.name: family.name
        for family in text_string_to_metric_families(watched.text())
        for sample in family.samples
    }
    watched.http.close()
    store.close()


def test_every_metric_of_the_dashboard_is_exported(exported: dict[str, str]) -> None:
    asked = {name for expression in EXPRESSIONS for name in NAME.findall(expression)}
    assert asked
    assert asked <= exported.keys()
    [job] = [variable["query"]["query"] for variable in BOARD["templating"]["list"] if variable["name"] == "job"]
    assert NAME.search(job)[0] in exported  # type: ignore[index]


def test_every_metric_of_the_documents_is_exported(exported: dict[str, str]) -> None:
    told = {name for file in DOCS.glob("*.md") for name in NAME.findall(file.read_text(encoding="utf-8"))}
    assert told
    assert told <= exported.keys()


def test_every_metric_that_is_exported_is_on_the_dashboard(exported: dict[str, str]) -> None:
    shown = {exported[name] for expression in EXPRESSIONS for name in NAME.findall(expression)}
    assert set(exported.values()) == shown


def test_the_data_source_is_chosen_when_it_is_opened() -> None:
    variables = {variable["name"]: variable["type"] for variable in BOARD["templating"]["list"]}
    assert variables["datasource"] == "datasource"
    sources = [part["datasource"] for panel in PANELS for part in (panel, *panel["targets"])]
    assert {(source["type"], source["uid"]) for source in sources} == {("prometheus", "${datasource}")}
    assert "id" not in BOARD


def test_panels_have_titles_numbers_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        assert panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        taken |= cells


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_are_balanced_and_look_at_the_chosen_portal_only(expression: str) -> None:
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)
    for name in NAME.finditer(expression):
        assert expression[name.end() :].startswith('{job=~"$job"')
