"""A hub and a notebook server read no grammar that they have no use for; who checks an IRI finds it checked."""

from __future__ import annotations

import subprocess
import sys

import pytest

LATER = "from nvlhub.iri import check_later; check_later(); import sys; "
IRIS = ["https://例え.jp/路徑?q#f", "http://example.org", "urn:x", "no iri at all <>", "http://[::1", ""]
CHECKED = f"""
import jsonschema
for format in ("iri", "iri-reference"):
    checks = jsonschema.Draft202012Validator({{"format": format}}, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    print([checks.is_valid(iri) for iri in {IRIS!r}])
"""


def ran(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout


def test_an_iri_is_checked_as_ever() -> None:
    iris, references = [True, True, True, False, False, False], [True, True, True, False, False, True]
    assert ran(LATER + CHECKED) == f"{iris}\n{references}\n"


@pytest.mark.parametrize("module", ["jupyterhub.app", "jupyterhub.singleuser"])
def test_what_starts_often_reads_no_grammar(module: str) -> None:
    assert ran(f"{LATER} import {module}; print('jsonschema' in sys.modules, 'lark' in sys.modules)") == "True False\n"


def test_the_portal_needs_nothing_of_the_hubs() -> None:
    assert ran("import sys, nvlhub.portal.service; print('jupyterhub' in sys.modules)") == "False\n"
