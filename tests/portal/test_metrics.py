"""What Prometheus reads, on every database: counters equal the ledger, and every series is there from the beginning."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from nvlhub.engines.base import Sight
from nvlhub.engines.scripted import Script, ScriptedEngine
from nvlhub.errors import RefusedError
from nvlhub.flow.awarding import RequestState
from nvlhub.flow.queue import Running
from nvlhub.forms import NewCapacity
from nvlhub.portal import metrics
from nvlhub.portal.counts import OTHER, REFUSALS, Counts
from nvlhub.portal.metrics import SUMMED_EVERY, Metrics
from nvlhub.store import Store
from nvlhub.store import tables as t
from nvlhub.store.totals import CAPACITIES
from nvlhub.visitor import Visitor
from nvlhub.wire import EndReason, Kind, Share, State
from tests.conftest import HandClock
from tests.portal_kit import ADMIN, RESEARCHER, Kit, kit
from tests.test_text import messages

ROOT = Path(__file__).parents[2]
INSTRUCTOR = Visitor("instructor")
Scrape = Callable[..., float]


class Watched:
    """A portal whose metrics are read over HTTP."""

    def __init__(self, store: Store, clock: HandClock, **more: object) -> None:
        self.counts = Counts()
        self.kit: Kit = kit(store, clock, observer=self.counts, **more)  # type: ignore[arg-type]
        self.metrics = Metrics(self.kit.desk, self.counts, tick=1.0)
        app = FastAPI()
        app.include_router(self.metrics.routes("/"))
        self.http = TestClient(app)

    def text(self) -> str:
        answer = self.http.get("/metrics")
        assert answer.status_code == 200
        return answer.text

    def fresh(self) -> None:
        """Have the sums read again."""
        self.metrics._summed = float("-inf")

    def series(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self.series()[name, tuple(sorted(labels.items()))]


@pytest.fixture
def watched(store: Store, clock: HandClock) -> Iterator[Watched]:
    made = Watched(store, clock, scripts={"instructor": Script(runs=3, then=Sight.BROKEN)}, trays=2)
    yield made
    made.http.close()


def test_every_series_is_there_before_anything_happened(watched: Watched) -> None:
    series = watched.series()
    wanted = [("nvlhub_leases_ended_total", "reason", EndReason), ("nvlhub_admissions_total", "kind", Kind)]
    wanted += [("nvlhub_refusals_total", "slug", (*REFUSALS, OTHER)), ("nvlhub_requests", "state", RequestState)]
    wanted += [("nvlhub_awards_milli_gpu_seconds", "amount", ("awarded", "charged", "held", "left"))]
    wanted += [("nvlhub_leases", "state", [state for state in State if state not in {State.SETTLED, State.REFUSED}])]
    for name, label, values in wanted:
        assert {labels for found, labels in series if found == name} == {((label, str(value)),) for value in values}
    for kind in CAPACITIES:
        assert ("nvlhub_capacity_gpus", (("kind", kind), ("pool", "main"))) in series
    for name in (
        "charged_gpu_seconds",
        "refunded_gpu_seconds",
        "charged_milli_gpu_seconds",
        "refunded_milli_gpu_seconds",
    ):
        assert series[f"nvlhub_{name}_total", ()] == 0
    for name in ("admission", "wait"):
        assert series[f"nvlhub_{name}_seconds_count", ()] == 0
    watched.kit.ask()
    watched.kit.step(3)
    assert watched.series().keys() == series.keys()


def test_counters_say_what_the_ledger_says(watched: Watched, store: Store) -> None:
    """Many lives, some of them refunded, drawn once and played the same each time."""
    draw = random.Random(7)
    leases = []
    for _ in range(40):
        try:
            leases.append(watched.kit.ask(f"gpu{draw.choice([1, 2, 4])}", draw.choice([RESEARCHER, INSTRUCTOR])))
        except RefusedError:
            watched.kit.step(5)
        watched.kit.step(draw.randrange(1, 20))
        if draw.random() < 0.7:
            watched.kit.desk.end(ADMIN, draw.choice(leases).id)
    for lease in leases:
        watched.kit.desk.end(ADMIN, lease.id)
    for _ in range(4):
        watched.kit.step(1)
    with store.reading() as unit:
        ended = t.leases.c.state == "settled"
        amounts = sa.select(*(sa.func.sum(c) for c in (t.leases.c.charged, t.leases.c.refunded))).where(ended)
        charged, refunded = unit.connection.execute(amounts).one()
        reasons = dict(
            unit.connection.execute(
                sa.select(t.leases.c.end_reason, sa.func.count()).where(ended).group_by(t.leases.c.end_reason)
            ).all()
        )
    assert watched("nvlhub_charged_milli_gpu_seconds_total") == charged > 0
    assert watched("nvlhub_refunded_milli_gpu_seconds_total") == refunded > 0
    assert watched("nvlhub_charged_gpu_seconds_total") == charged / 1000
    assert watched("nvlhub_refunded_gpu_seconds_total") == refunded / 1000
    for reason in EndReason:
        assert watched("nvlhub_leases_ended_total", reason=reason.value) == reasons.get(reason, 0)
    assert watched("nvlhub_admissions_total", kind="kernel") == len(leases) == sum(reasons.values())
    assert watched("nvlhub_admission_seconds_count") == len(leases)
    assert watched.kit.broken() == []


def test_awards_budgets_and_capacity_are_summed(watched: Watched) -> None:
    lease = watched.kit.ask("gpu4", seconds=3600)
    # The demo gives its projects 200 and 2 GPU-hours of a budget of 100,000.
    assert watched("nvlhub_awards_milli_gpu_seconds", amount="awarded") == 202 * 3_600_000
    assert watched("nvlhub_awards_milli_gpu_seconds", amount="held") == lease.held == 4 * 3_600_000
    assert watched("nvlhub_awards_milli_gpu_seconds", amount="left") == 198 * 3_600_000
    assert watched("nvlhub_budgets_left_milli_gpu_seconds") == (100_000 - 202) * 3_600_000
    assert watched("nvlhub_capacity_gpus", pool="main", kind="announced") == 0
    assert watched("nvlhub_capacity_gpus", pool="main", kind="in_service") == 8
    assert watched("nvlhub_gpus", pool="main", state="free") == 4
    said = NewCapacity(kind="announced", gpus=10_008, at=watched.kit.clock.now(), source="press release")
    watched.kit.registry.capacity.add_capacity(ADMIN, "main", said)
    lines = watched("nvlhub_audit_lines")
    watched.kit.step(10)
    watched.kit.desk.end(RESEARCHER, lease.id)
    watched.kit.step(1)
    watched.fresh()
    assert watched("nvlhub_capacity_gpus", pool="main", kind="announced") == 10_008
    assert watched("nvlhub_awards_milli_gpu_seconds", amount="charged") == 40_000
    assert watched("nvlhub_audit_lines") == lines + 1


def test_waiting_is_measured_from_asking_to_running(watched: Watched) -> None:
    first, _, third = [watched.kit.ask("gpu4") for _ in range(3)]
    watched.kit.step(10)
    watched.kit.step(9)
    watched.kit.desk.end(RESEARCHER, first.id)
    watched.kit.step(1)
    assert watched.kit.seen(third).state is State.RUNNING
    assert watched("nvlhub_wait_seconds_count") == 3
    assert watched("nvlhub_wait_seconds_sum") == 19
    assert watched("nvlhub_wait_seconds_bucket", le="1.0") == 2


def test_refusals_are_counted_by_their_slug(watched: Watched) -> None:
    for profile, project in (("gpu8", "demo-small"), ("gpu8", "demo-small"), ("gpu1", "others"), ("none", "demo")):
        with pytest.raises(RefusedError):
            watched.kit.ask(profile, project=project)
    watched.counts.refused("something-new")
    assert watched("nvlhub_refusals_total", slug="balance-too-low") == 2
    assert watched("nvlhub_refusals_total", slug="project-unknown") == 1
    assert watched("nvlhub_refusals_total", slug="profile-unknown") == 1
    assert watched("nvlhub_refusals_total", slug=OTHER) == 1
    assert watched("nvlhub_admissions_total", kind="kernel") == 0


def test_every_refusal_that_the_rules_know_has_a_series_of_its_own() -> None:
    source = (ROOT / "hub" / "nvlhub" / "flow" / "quota.py").read_text(encoding="utf-8")
    slugs = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', source)) & messages("en").keys()
    assert slugs
    assert slugs <= set(REFUSALS)


def test_the_run_loop_tells_its_turns_and_how_late_it_is(watched: Watched) -> None:
    turns = watched("nvlhub_run_loop_turn_seconds_count")
    watched.kit.step(1)
    assert watched("nvlhub_run_loop_turn_seconds_count") == turns + 1
    assert watched("nvlhub_run_loop_lag_seconds") == 0
    watched.counts.turned_at -= 31
    assert 30 <= watched("nvlhub_run_loop_lag_seconds") < 60


def test_a_turn_that_fails_is_a_turn(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = watched("nvlhub_run_loop_turn_seconds_count")
    monkeypatch.setattr(watched.kit.engine, "capacity", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        watched.kit.step(1)
    assert watched("nvlhub_run_loop_turn_seconds_count") == turns + 1


def test_the_proof_of_the_ledger_is_absent_until_there_is_one(watched: Watched, store: Store) -> None:
    assert "nvlhub_ledger_verified_ok" not in watched.text()
    watched.kit.registry.ledger.verify(ADMIN)
    assert watched("nvlhub_ledger_verified_ok") == 1
    assert watched("nvlhub_ledger_verified_timestamp_seconds") == watched.kit.clock.now()
    with store.writing() as unit:
        unit.connection.execute(t.awards.update().where(t.awards.c.id == 1).values(held=5))
    watched.kit.clock.forward(60)
    watched.kit.registry.ledger.verify(ADMIN)
    assert watched("nvlhub_ledger_verified_ok") == 0
    assert watched("nvlhub_ledger_verified_timestamp_seconds") == watched.kit.clock.now()


def test_the_database_is_asked_now_and_then_only(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    summed = metrics.totals
    monkeypatch.setattr(metrics, "totals", lambda *what: asked.append(what) or summed(*what))
    for _ in range(20):
        watched.text()
    assert len(asked) == 1
    assert SUMMED_EVERY >= 15
    watched.metrics._summed -= SUMMED_EVERY
    watched.text()
    assert len(asked) == 2


def test_metrics_are_there_while_the_database_is_not(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watched.text()

    def away(*_: object) -> None:
        raise sa.exc.OperationalError("SELECT", {}, Exception("away"))

    monkeypatch.setattr(metrics, "totals", away)
    watched.fresh()
    assert "nvlhub_awards" not in watched.text()
    assert "nvlhub_leases" in watched.text()
    assert len(caplog.records) == 1


def test_no_name_of_a_user_or_a_project_is_told(watched: Watched) -> None:
    lease = watched.kit.ask(label="thesis")
    text = watched.text()
    for name in ("researcher", "demo", "thesis", lease.id):
        assert name not in text


def test_names_are_as_prometheus_wants_them(watched: Watched) -> None:
    watched.kit.registry.ledger.verify(ADMIN)
    for family in text_string_to_metric_families(watched.text()):
        assert re.fullmatch(r"nvlhub_[a-z]+(_[a-z]+)*", family.name)
        assert family.documentation
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")
            assert not sample.name.endswith("_created")


def test_an_engine_that_is_away_and_what_strangers_hold_are_gauges(watched: Watched) -> None:
    assert (watched("nvlhub_engine_away"), watched("nvlhub_gpus", pool="main", state="outside")) == (0, 0)
    engine = watched.kit.engine
    assert isinstance(engine, ScriptedEngine)
    engine.outside = (Running((Share(domain="nvl001", tray=1, gpus=(0, 1, 2)),), watched.kit.clock.now() + 60),)
    watched.kit.step()
    assert watched("nvlhub_gpus", pool="main", state="outside") == 3
    assert watched("nvlhub_gpus", pool="main", state="free") == 5
    engine.away = True
    watched.kit.step()
    assert watched("nvlhub_engine_away") == 1
