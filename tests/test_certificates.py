"""Certificates from the attempt that passed to the day when their key is broken, on every database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from nvlhub.cli import app as cli
from nvlhub.errors import NotAllowedError, NotFoundError
from nvlhub.flow.certificate import KIND
from nvlhub.forms import SignedDocument
from nvlhub.portal import certificate_pdf
from nvlhub.portal.html import Site
from nvlhub.portal.verifying import Verifying
from nvlhub.registry import Registry
from nvlhub.registry.certificates import Certificates
from nvlhub.signing import Signer
from nvlhub.store import Store
from nvlhub.store import tables as t
from nvlhub.visitor import Visitor
from tests.conftest import START, HandClock
from tests.portal_kit import ADMIN, RESEARCHER, Kit, kit

LEARNER, STRANGER = Visitor("learner"), Visitor("stranger")
NAME = '王小明 <img src=x onerror=alert(1)>"'


@pytest.fixture
def portal(store: Store, clock: HandClock, tmp_path: Path) -> Kit:
    made = kit(store, clock)
    made.registry = Registry(made.desk, Signer(tmp_path / "keys"), "https://portal.example.org")
    with store.writing() as unit:
        unit.add_course(
            ["researcher"], slug="lasers", project="demo", title="Lasers", title_zh="雷射", profile="gpu1",
            made_by="admin", made_at=START,
        )  # fmt: skip
        run = unit.add_run(
            ["Ant", "Bee"], course="lasers", name="Spring", zone="UTC", starts=START, ends=START + 3600, seats=2, gpus=1,
            warm=0, flex=0, grace=0, no_show=0, code="LASERS23", roster_only=False, state="approved", made_by="admin",
            made_at=START,
        )  # fmt: skip
        unit.take_seat(run, "learner", START, name=NAME, name_latin="Wang")
        for number in (1, 2):
            unit.connection.execute(
                t.attempts.insert().values(
                    run=run, seat=1, number=number, user="learner", at=START + number, state="passed",
                    score_milli=900 + number, grader="g" * 64,
                )
            )  # fmt: skip
    return made


def issue(portal: Kit, attempt: int = 1) -> str:
    with portal.store.writing() as unit:
        return certificates(portal).issue(unit, attempt)


def certificates(portal: Kit) -> Certificates:
    return portal.registry.certificates


def downloaded(portal: Kit, name: str) -> SignedDocument:
    view = certificates(portal).certificate(name)
    return SignedDocument(document=view.document, signature=view.signature)


def test_a_certificate_is_issued_once_and_verified_by_anybody(portal: Kit) -> None:
    name = issue(portal)
    assert issue(portal, 2) == name
    view = certificates(portal).certificate(name)
    assert (view.verdict, view.user, view.run) == ("valid", "", "")
    assert certificates(portal).certificate(name, LEARNER).user == "learner"
    assert certificates(portal).verify(downloaded(portal, name)).verdict == "valid"
    [mine], total = certificates(portal).mine(LEARNER)
    assert (mine.id, total) == (name, 1)
    assert certificates(portal).mine(STRANGER) == ([], 0)


@pytest.mark.parametrize(
    ("name", "latin", "shown"), [("王小美", "Wang", "王小美"), ("", "Wang", "Wang"), ("", "", "learner")]
)
def test_the_name_is_what_is_known_of_the_learner(portal: Kit, name: str, latin: str, shown: str) -> None:
    with portal.store.writing() as unit:
        unit.change_seat(1, 1, name=name, name_latin=latin)
    told = json.loads(downloaded(portal, issue(portal)).document)
    assert (told["name"], told["name_latin"]) == (shown, latin)


def test_who_was_released_meanwhile_has_the_name_of_the_roster(portal: Kit) -> None:
    with portal.store.writing() as unit:
        unit.set_roster(1, [{
            "row": 1, "student_no": "B1", "name": "王小美", "name_latin": "Wang", "user": "Learner", "group": "", "seat": None,
            "dropped": False,
        }])  # fmt: skip
        unit.vacate(1, 1)
    told = json.loads(downloaded(portal, issue(portal)).document)
    assert (told["name"], told["name_latin"]) == ("王小美", "Wang")


def test_old_certificates_outlive_their_key_and_lost_files(portal: Kit, tmp_path: Path) -> None:
    name = issue(portal)
    certificates(portal).rotate(ADMIN)
    assert certificates(portal).certificate(name).verdict == "valid"
    for file in (tmp_path / "keys").iterdir():
        file.unlink()
    portal.registry = Registry(portal.desk, Signer(tmp_path / "keys"), "https://portal.example.org")
    assert certificates(portal).revoke(ADMIN, name, "new name").verdict == "revoked"
    second = issue(portal, 2)
    assert certificates(portal).certificate(second).verdict == "valid"
    assert certificates(portal).certificate(second).key != certificates(portal).certificate(name).key
    assert len(certificates(portal).keys().keys) == 3


def test_a_revoked_one_counts_nowhere_and_stays_revoked(portal: Kit) -> None:
    name = issue(portal)
    signed = downloaded(portal, name)
    with pytest.raises(NotFoundError):
        certificates(portal).revoke(STRANGER, name, "envy")
    assert certificates(portal).revoke(RESEARCHER, name, "copied").reason == "copied"
    portal.clock.forward(10)
    assert certificates(portal).revoke(ADMIN, name, "again").reason == "copied"
    assert certificates(portal).verify(signed).verdict == "revoked"
    assert certificates(portal).certificate(name).reason == ""
    assert [one.id for one in certificates(portal).keys().revoked] == [name]


def test_a_broken_key_takes_all_its_certificates_with_it(portal: Kit, tmp_path: Path) -> None:
    name = issue(portal)
    key = certificates(portal).certificate(name).key
    with pytest.raises(NotAllowedError):
        certificates(portal).break_key(RESEARCHER, key)
    certificates(portal).break_key(ADMIN, key)
    assert list((tmp_path / "keys").iterdir()) == []
    assert certificates(portal).certificate(name).verdict == "key-broken"
    assert certificates(portal).verify(downloaded(portal, name)).verdict == "key-broken"
    with pytest.raises(NotFoundError):
        certificates(portal).break_key(ADMIN, "0" * 12)


def test_what_was_signed_elsewhere_or_changed_does_not_count(portal: Kit) -> None:
    name = issue(portal)
    signed = downloaded(portal, name)
    better = SignedDocument(document=signed.document.replace("901", "999"), signature=signed.signature)
    assert certificates(portal).verify(better).verdict == "forged"
    assert certificates(portal).verify(SignedDocument(document="{}", signature="x")).verdict == "unknown"
    for name_, key_ in (("\\ud800", "x"), ([1], {"a": 1}), ("x" * 10_000, "\\u0000"), ("3" * 16, "\\udfff")):
        odd = json.dumps({"kind": KIND, "id": name_, "key": key_}).replace("\\\\", "\\")
        assert certificates(portal).verify(SignedDocument(document=odd, signature="x")).verdict == "unknown"
    # With our key, and yet never issued here.
    key = certificates(portal).certificate(name).key
    text = signed.document.replace(name, "3" * 16)
    forged = SignedDocument(document=text, signature=certificates(portal)._signer.sign(key, text))
    assert certificates(portal).verify(forged).verdict == "unknown"


def test_without_a_portal_the_file_and_the_keys_tell_who_achieved_what(portal: Kit, tmp_path: Path) -> None:
    signed = downloaded(portal, issue(portal))
    keys, file = tmp_path / "keys.json", tmp_path / "certificate.json"
    keys.write_text(certificates(portal).keys().model_dump_json())
    file.write_text(signed.model_dump_json())
    words = ["certificate", "verify", str(file), "--keys", str(keys), "--json"]
    told = json.loads(CliRunner().invoke(cli, words).output)
    assert (told["verdict"], told["name"], told["course"], told["score"]) == ("valid", NAME, "Lasers", "90.1 %")
    for odd in ([1], {"a": 1}, None, 7):
        document = json.dumps({"kind": KIND, "id": odd, "key": odd, "name": "Mallory"})
        file.write_text(json.dumps({"document": document, "signature": "x"}))
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 1
        assert json.loads(done.output)["verdict"] == "unknown"
        assert "Mallory" not in done.output


@pytest.fixture
def pages(portal: Kit) -> TestClient:
    app = FastAPI()
    app.include_router(
        Verifying(portal.registry, Site("/services/portal/"), "https://portal.example.org/").routes()
    )  # fmt: skip
    return TestClient(app, follow_redirects=False)


def test_the_public_page_tells_everybody_in_both_languages(portal: Kit, pages: TestClient) -> None:
    name = issue(portal)
    for language, word in (("en", "It counts"), ("zh-TW", "有效")):
        answer = pages.get(f"/services/portal/verify/{name}", headers={"Accept-Language": language})
        assert answer.status_code == 200
        assert word in answer.text
        assert "<img src=x" not in answer.text
        assert "王小明" in answer.text
        assert f"portal.example.org/services/portal/verify/{name}" in answer.text
    assert pages.get("/services/portal/verify/3333333333333333").status_code == 404
    assert pages.get("/services/portal/verify/..%2f..").status_code == 404
    assert pages.get("/services/portal/verify").status_code == 200


def test_an_id_an_address_or_a_file_can_be_pasted(portal: Kit, pages: TestClient) -> None:
    name = issue(portal)
    there = f"/services/portal/verify/{name}"
    spaced = f"{name[:4].upper()}-{name[4:8]} {name[8:]}"
    for text in (name, spaced, f"https://portal.example.org{there}/"):
        assert pages.post("/services/portal/verify", data={"text": text}).headers["location"] == there
    file = pages.get(f"/services/portal/certificates/{name}.json").text
    assert "It counts" in pages.post("/services/portal/verify", data={"text": file}).text
    changed = pages.post("/services/portal/verify", data={"text": file.replace("Spring", "Autumn")})
    assert "does not count" in changed.text
    assert "Autumn" not in changed.text
    for rubbish in ("", "x", "[1]", '{"document": 1, "signature": []}', "{" * 20_000):
        assert pages.post("/services/portal/verify", data={"text": rubbish}).status_code == 400


def drawn(told: dict[str, Any], monkeypatch: pytest.MonkeyPatch, lang: str = "en") -> list[str]:
    """Return the lines that are written on the PDF."""
    lines: list[str] = []
    monkeypatch.setattr(certificate_pdf, "_text", lambda page, text, *_: lines.append(text))
    certificate_pdf.certificate_pdf(told, "https://portal.example.org/x", lang)
    return lines


@pytest.mark.parametrize(
    ("name", "latin", "shown", "note"),
    [
        ("Nguyễn Văn Đức", "", "Nguyễn Văn Đức", False), ("Ελένη", "", "Ελένη", False), ("王小美", "Wang", "王小美", False),
        ("สมชาย", "Somchai", "Somchai", True), ("สมชาย", "", "The name stands at the address below", True),
        ("محمد", "Mohammed", "Mohammed", True), ("김", "Kim", "Kim", True), ("𠮷野", "Yoshino", "Yoshino", True),
    ],
)  # fmt: skip
def test_a_name_is_written_rightly_or_the_pdf_says_where_it_stands(
    portal: Kit, monkeypatch: pytest.MonkeyPatch, name: str, latin: str, shown: str, note: bool
) -> None:
    told = json.loads(downloaded(portal, issue(portal)).document) | {"name": name, "name_latin": latin}
    whole = certificate_pdf.certificate_pdf(told, "https://portal.example.org/x", "en")
    assert whole == certificate_pdf.certificate_pdf(told, "https://portal.example.org/x", "en")
    lines = drawn(told, monkeypatch)
    assert shown in lines
    assert any("in its own letters" in line for line in lines) == note
    pieces = "".join(part for line in lines for _, part in certificate_pdf._parts(line))
    assert pieces == "".join(lines), "no letter is left out or replaced"


def test_without_the_font_of_further_letters_the_latin_name_stands(
    portal: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate_pdf, "_further", lambda: None)
    told = json.loads(downloaded(portal, issue(portal)).document) | {"name": "Nguyễn", "name_latin": "Nguyen"}
    assert "Nguyen" in drawn(told, monkeypatch)


def test_the_pdf_is_one_page_and_always_the_same(portal: Kit, pages: TestClient) -> None:
    name = issue(portal)
    first, second = (pages.get(f"/services/portal/certificates/{name}.pdf").content for _ in range(2))
    assert first.startswith(b"%PDF-")
    assert first == second
    assert b"/Count 1" in first
