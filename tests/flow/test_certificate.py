"""What a certificate says, and when it counts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.flow.certificate import Achievement, Verdict, document, is_signed, judge, read
from nvlhub.signing import Signer

WHAT = Achievement(
    id="2345678923456789", name="王小明", name_latin="Wang Xiaoming", course="lasers", title="Lasers", title_zh="雷射",
    repository="https://example.org/lasers", commit="a" * 40, run=7, run_name="Spring", score_milli=925, grader="g" * 64,
    at="2027-03-14T01:02:03Z",
)  # fmt: skip


def signed(what: Achievement = WHAT) -> tuple[str, str, dict[str, object]]:
    signer = Signer()
    name, public = signer.make()
    text = document(what, "https://portal.example.org", name)
    return text, signer.sign(name, text), {"id": name, "public": public, "broken_at": None}


def test_a_certificate_counts_until_it_is_revoked_or_its_key_is_broken() -> None:
    text, signature, key = signed()
    assert judge(text, signature, key, revoked=False) is Verdict.VALID
    assert judge(text, signature, key, revoked=True) is Verdict.REVOKED
    assert judge(text, signature, {**key, "broken_at": 1}, revoked=False) is Verdict.KEY_BROKEN
    assert judge(text, signature, None, revoked=False) is Verdict.UNKNOWN


def test_another_key_of_ours_does_not_make_it_right() -> None:
    text, signature, _ = signed()
    _, _, other = signed()
    assert judge(text, signature, other, revoked=False) is Verdict.FORGED


@given(st.data())
def test_no_change_of_a_single_letter_goes_unnoticed(data: st.DataObject) -> None:
    text, signature, key = signed()
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters(codec="utf-8").filter(lambda letter: letter != text[place]))
    assert judge(text[:place] + letter + text[place + 1 :], signature, key, revoked=False) is Verdict.FORGED


@pytest.mark.parametrize("signature", ["", "x", "AAAA", "é" * 88, "A" * 86 + "==", "A" * 100_000])
def test_rubbish_for_a_signature_is_a_forgery_and_nothing_worse(signature: str) -> None:
    text, _, key = signed()
    assert judge(text, signature, key, revoked=False) is Verdict.FORGED
    assert not is_signed(text, signature, "rubbish")
    assert not is_signed("\ud800", signature, str(key["public"]))


def test_what_is_signed_is_the_same_whoever_writes_it() -> None:
    text = document(WHAT, "https://portal.example.org", "k")
    assert text == json.dumps(json.loads(text), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert "王小明" in text
    assert document(replace(WHAT, name="x"), "i", "k") != document(WHAT, "i", "k")


@pytest.mark.parametrize("text", ["", "[]", "null", '{"kind": "other"}', "[" * 100_000, "{" * 30_000, '"x"'])
def test_what_is_no_certificate_says_nothing(text: str) -> None:
    assert read(text) == {}
