"""What goes wrong is told to people on a page, and to programs as a problem document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nvlhub.api.problems import TooLargeError
from nvlhub.text import LANGUAGES, say
from nvlhub.wire import MAX_BODY_BYTES
from tests.conftest import HandClock
from tests.courses_kit import with_course
from tests.portal.pages_kit import PREFIX, Visit, visiting
from tests.portal_kit import RESEARCHER

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def visit(clock: HandClock, tmp_path: Path) -> Iterator[Visit]:
    with with_course(tmp_path, clock) as portal:
        for made in visiting(portal):
            yield made.be(RESEARCHER)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize(("path", "status"), [("nothing", 404), ("teach/999", 404), ("teach/no-number", 422)])
def test_an_address_that_is_wrong_is_told_in_words(visit: Visit, path: str, status: int, lang: str) -> None:
    page = visit.see(path, **BROWSER, **{"Accept-Language": lang})
    assert visit.status == status
    assert f"<h1>{say('problem-title', lang)}</h1>" in page
    assert f'<html lang="{lang}">' in page
    assert '<p class="error" role="alert"' in page
    # A program gets the document wherever it asks, and so does everybody at the API.
    assert visit.http.get(PREFIX + "nothing").headers["content-type"] == "application/problem+json"
    assert (
        visit.http.get(PREFIX + "api/v1/nothing", headers=BROWSER).headers["content-type"] == "application/problem+json"
    )


def test_a_file_that_is_too_large_for_a_form_is_told_on_a_page(visit: Visit) -> None:
    sent = visit.http.post(PREFIX + "teach/1/roster", content=b"x" * (MAX_BODY_BYTES + 1), headers=BROWSER)
    assert sent.status_code == TooLargeError.status
    assert sent.headers["content-type"].startswith("text/html")
    assert "default-src" in sent.headers["content-security-policy"]
    assert say("problem-title", "en") in sent.text


def test_what_a_page_may_be_asked_with_stays_in_its_head(visit: Visit) -> None:
    refused = visit.http.put(PREFIX + "teach", headers=BROWSER)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    assert "<h1>" in refused.text
