"""The API keeps what its description promises, whoever asks: generated requests, good and bad, all checks on.

More requests per operation: ``NVLHUB_EXAMPLES=200 pytest tests/api/test_schema.py``; those who are refused most make a third.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema

from tests.api.world import BASE, Api, Template, build

EXAMPLES = int(os.environ.get("NVLHUB_EXAMPLES", "2"))
WELL_FORMED = ["2xx", "401", "403", "404", "409", "412", "428", "429"]
"""What a request of the described shape may be answered with: who asks and how things stand are not its shape."""

RULES = {
    "POST /leases": "GPUs and seconds within the profile; only workers have a parent",
    "POST /leases/batch": "the same",
    "POST /leases/{lease_id}/extend": "at most twice the profile's longest time",
    "POST /profiles": "shapes that the pool's domains have, variables that a profile may set",
    "POST /profiles/check": "one draft, either in fields or as YAML",
    "POST /awards": "dates in order and not in the past",
    "PATCH /awards/{number}": "the same",
    "POST /requests": "each kind has fields of its own, dates in order",
    "PUT /requests/{number}": "the same",
    "POST /announcements": "dates in order and not in the past; one addressee",
    "GET /usage": "a period in order, of ten years at most",
    "GET /projects/{slug}/statement": "the same",
    "GET /usage/leases": "the same",
    "GET /efficiency": "the same",
    "GET /savings": "the same",
    "GET /export": "a CSV file is of one kind",
    "POST /import": "the same; a file that can be read, and every row of it right",
    "POST /reconciliations": "since when, not in the future",
    "POST /seat/{run}/progress": "a step comes with all steps, a check with its result, and one of them is told",
    "POST /attempts": "the files that the rubric asks for, no other, in base64",
    "POST /courses/{slug}/assessment/try": "the same",
    "POST /reservations": "times in order, not in the past, of 90 days at most",
    "PATCH /reservations/{number}": "the same",
    "POST /courses": "material at a commit, a profile that the project may start",
    "PATCH /courses/{slug}": "the same",
    "POST /runs": "a zone that there is; times in order, not in the past, of a day at most; shapes of a seat",
    "PATCH /runs/{number}": "the same",
    "POST /runs/{number}/roster": "a CSV file that can be read, and every row of it right",
    "POST /requests/{number}/reviews": "an amount goes with the approval of a request for GPU-hours, and is at most what was asked",
}
"""Operations with rules that JSON Schema cannot tell: what breaks them is answered 422, too."""


def config(role: str, phases: set[str], examples: int) -> SchemathesisConfig:
    """Return what to run: the same requests every time."""
    return SchemathesisConfig.from_dict({
        "seed": 72,
        "headers": {"Authorization": f"token {role}"} if role else {},
        "generation": {"max-examples": examples, "deterministic": True, "database": "none", "no-shrink": True},
        "phases": {
            name: {"enabled": name in phases} for name in ("examples", "coverage", "fuzzing", "stateful")
        },
        "checks": {
            "positive_data_acceptance": {"expected-statuses": WELL_FORMED},
            # RFC 6585: a change without If-Match is answered 428.
            "missing_required_header": {"expected-statuses": ["401", "403", "404", "422", "428"]},
        },
        "operations": [
            {
                "include-name": f"{operation.partition(' ')[0]} {BASE}{operation.partition(' ')[2]}",
                "checks": {"positive_data_acceptance": {"expected-statuses": [*WELL_FORMED, "422"]}},
            }
            for operation in RULES
        ],
    })  # fmt: skip


@dataclass
class Report:
    """What came of a run."""

    asked: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def take(self, event: events.EngineEvent) -> None:
        if isinstance(event, events.NonFatalError | events.FatalError):
            self.wrong.append(str(event))
        if not isinstance(event, events.ScenarioFinished):
            return
        story = event.recorder
        self.asked |= {case.value.operation.label for case in story.cases.values()}
        self.wrong += [
            f"{story.label}: {check.name}: {check.failure_info.failure.message}\n{check.failure_info.code_sample}"
            for checks in story.checks.values()
            for check in checks
            if check.status is Status.FAILURE and check.failure_info is not None
        ]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    with pytest.MonkeyPatch.context() as patch:
        # Ids that are the same in every run: requests are made of them.
        numbers = count(1)
        patch.setattr("nvlhub.desk.uuid", SimpleNamespace(uuid4=lambda: UUID(int=next(numbers), version=4)))
        yield build(tmp_path_factory.mktemp("world"))


RUNS: dict[str, set[str]] = {
    "": {"fuzzing"},
    "hub": {"fuzzing"},
    "other": {"fuzzing"},
    "member": {"fuzzing"},
    "pi": {"fuzzing", "stateful"},
    "officer": {"fuzzing", "stateful"},
    "admin": {"coverage", "fuzzing", "stateful"},
}
"""Who asks, and how: the boundaries of every field are tried as the one who is refused least."""


@pytest.mark.parametrize("role", RUNS, ids=lambda role: role or "anonymous")
def test_the_api_does_what_its_description_says(template: Template, tmp_path: Path, role: str) -> None:
    api, report = Api(), Report()
    with api.world(template, tmp_path) as portal:
        schema: Any = schemathesis.openapi.from_asgi(
            f"{BASE}/openapi.json", api.app,
            config=config(role, RUNS[role], EXAMPLES if "stateful" in RUNS[role] else max(1, EXAMPLES // 3)),
        )  # fmt: skip
        for event in from_schema(schema).execute():
            report.take(event)
        assert report.wrong == [], "\n\n".join(report.wrong[:10])
        assert report.asked == {operation.ok().label for operation in schema.get_all_operations()}
        assert portal.broken() == []


# --- the description itself -------------------------------------------------------------------------------------------


def described() -> dict[str, Any]:
    document: dict[str, Any] = Api().app.openapi()
    return document


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in described()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path.removeprefix(BASE)}", operation


OPEN = {"GET /health", "GET /certificates/keys", "GET /certificates/{name}", "POST /verify"}
"""What anybody may ask, without a token."""


def test_every_failure_is_declared_as_a_problem() -> None:
    answers = described()["components"]["responses"]
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert {answer["content"] == problem for answer in answers.values()} == {True}
    for name, operation in operations():
        failures = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
        expected = {"500"} if name in OPEN else {"401", "403", "429", "500", "503"}
        assert failures.keys() >= expected, name
        assert all(answer == {"$ref": f"#/components/responses/{status}"} for status, answer in failures.items())
        if "requestBody" in operation:
            assert failures.keys() >= {"404", "409", "413", "422"}, name


def test_whoever_changes_says_from_what_and_is_told_what_it_became() -> None:
    for name, operation in operations():
        needs = {parameter["name"]: parameter["required"] for parameter in operation.get("parameters", ())}
        if name.startswith("PATCH"):
            assert needs["If-Match"], name
        if "If-Match" in needs:
            assert operation["responses"].keys() >= {"412", "428"}, name
            good = next(answer for status, answer in operation["responses"].items() if status < "3")
            assert good["headers"]["ETag"]["required"], name
    starts = dict(operations())["POST /leases"]["parameters"]
    assert [(header["name"], header["required"]) for header in starts] == [("Idempotency-Key", True)]


def test_all_but_health_needs_a_token() -> None:
    assert {name for name, operation in operations() if operation.get("security") != [{"token": []}]} == OPEN


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/leases", "GET, POST"), ("/leases/batch", "POST"), ("/leases/x", "DELETE, GET"), ("/me", "GET")],
)
def test_who_uses_another_method_or_no_token_is_told_what_there_is(
    template: Template, tmp_path: Path, path: str, methods: str
) -> None:
    api = Api()
    with api.world(template, tmp_path):
        assert api("PUT", path, "member").headers["allow"] == methods
        assert api("GET", path, "").headers["www-authenticate"] == "token"


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 5000, b"9" * 5000, b"\x00", b""])
def test_what_is_no_json_is_no_fault_of_ours(template: Template, tmp_path: Path, content: bytes) -> None:
    api = Api()
    with api.world(template, tmp_path):
        response = api("POST", "/awards", "admin", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert response.json()["type"] in {"urn:nvlhub:problem:not-json", "urn:nvlhub:problem:invalid-input"}
