"""A profile as YAML and as the fields of a form: the same on both sides, and what is wrong with it is told by field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.exchange.profile_file import KEYS, Draft, read_fields, read_yaml, write_yaml
from nvlhub.flow.request import RESERVED, RESERVED_STARTS
from nvlhub.forms import Audience, NewProfile
from nvlhub.forms.profiles import LARGEST

PAGE = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text(encoding="utf-8")
GOOD = "name: x\ndisplay_name: X\npool: main\ngpus: 1\nlonged: 60\n".replace("longed", "longest")

printed = st.text(st.characters(min_codepoint=32, max_codepoint=0x2000, exclude_categories=["C", "Z"]), max_size=20)
words = printed.filter(lambda text: not set("<>&") & set(text))
slugs = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True)
hints = st.dictionaries(
    st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True),
    st.booleans() | st.integers(-(10**9), 10**9) | st.sampled_from([0.5, -2.25]) | words,
    min_size=1,
    max_size=3,
)
profiles = st.builds(
    NewProfile,
    name=slugs, display_name=words.filter(str.strip).map(str.strip), pool=slugs, gpus=st.integers(1, 10_008), span=st.sampled_from(["domain", "fabric"]),
    longest=st.integers(60, 10**6), idle=st.none() | st.integers(60, 10**6),
    audience=st.builds(Audience, programmes=st.lists(slugs, max_size=2), projects=st.lists(slugs, max_size=2)),
    environment=st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), printed, max_size=3),
    hints=st.dictionaries(st.sampled_from(["local", "slurm"]), hints, max_size=2), note=words,
)  # fmt: skip


def told(draft: Draft) -> dict[str, str]:
    return {fault.field: fault.error.slug for fault in draft.faults}


@given(profiles, st.none() | st.integers(1, 99))
def test_what_is_written_is_read_again_and_a_form_says_the_same(profile: NewProfile, version: int | None) -> None:
    text = write_yaml({**profile.model_dump(mode="json"), "version": version})
    read = read_yaml(text)
    assert (read.faults, read.profile, read.base) == ((), profile, version)
    assert read.fields is not None
    typed = read_fields(read.fields)
    assert (typed.faults, typed.profile, typed.base) == ((), profile, version)
    assert read_yaml(typed.yaml).profile == profile


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "replace")))
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    draft = read_yaml(text)
    assert draft.faults
    assert draft.yaml == text
    assert read_fields({"environment": text, "hints": text, "gpus": text, "name": text}).faults


@pytest.mark.parametrize(
    ("text", "field", "slug"),
    [
        ("a: &a [x]\nb: [*a, *a]\n", "", "import-alias"),
        ("name: !!python/object/apply:os.system [id]\n", "", "import-alias"),
        ("name: [x\n", "", "import-syntax"),
        ("name: x\x07\n", "", "import-syntax"),
        (f"{GOOD}---\n{GOOD}", "", "profile-shape"),
        ("- name: x\n", "", "profile-shape"),
        ("", "", "profile-shape"),
        ("[" * 50 + "]" * 50, "", "profile-shape"),
        ("? [a]\n: b\n", "", "profile-shape"),
        (f"note: {'x' * LARGEST}\n", "", "profile-too-large"),
        (f"{GOOD}gpuz: 1\n", "gpuz", "profile-key-unknown"),
        (f"{GOOD}gpus: 2\n", "gpus", "profile-key-twice"),
        (f"{GOOD}environment: {{A: 1, A: 2}}\n", "environment.A", "profile-key-twice"),
        (f"{GOOD}audience: [demo]\n", "audience", "profile-mapping"),
        (f"{GOOD}audience: {{programmes: demo}}\n", "audience.programmes", "profile-list"),
        (f"{GOOD}audience: {{users: [x]}}\n", "audience.users", "profile-key-unknown"),
        (f"{GOOD}environment: [A=1]\n", "environment", "profile-mapping"),
        (f"{GOOD}environment: {{A: [1]}}\n", "environment.A", "profile-single"),
        (f"{GOOD}environment: {{a: 1}}\n", "environment.a", "profile-signs-variable"),
        (f'{GOOD}environment: {{A: "1\\n2"}}\n', "environment.A", "profile-signs-variable"),
        (f"{GOOD}environment: {{A: {'x' * 1001}}}\n", "environment.A", "invalid-input"),
        (f"{GOOD}hints: {{slurm: now}}\n", "hints.slurm", "profile-mapping"),
        (f"{GOOD}hints: {{slurm: {{a: [1]}}}}\n", "hints.slurm.a", "profile-single"),
        (f"{GOOD}hints: {{slurm: {{a: <b>}}}}\n", "hints.slurm.a", "profile-hint-value"),
        (f"{GOOD}hints: {{pbs: {{a: 1}}}}\n", "hints.pbs", "invalid-input"),
        (GOOD.replace("gpus: 1", "gpus: many"), "gpus", "import-not-whole"),
        (GOOD.replace("gpus: 1", "gpus: -1"), "gpus", "import-not-whole"),
        (GOOD.replace("gpus: 1", f"gpus: {'9' * 5000}"), "gpus", "import-not-whole"),
        (GOOD.replace("gpus: 1", "gpus: [1]"), "gpus", "profile-single"),
        (GOOD.replace("gpus: 1\n", ""), "gpus", "profile-missing"),
        (GOOD.replace("name: x\n", "name: =HYPERLINK(1)\n", 1), "name", "profile-signs-name"),
        (GOOD.replace("display_name: X", "display_name: <img src=x>"), "display_name", "profile-signs-text"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_told_by_field(text: str, field: str, slug: str) -> None:
    draft = read_yaml(text)
    assert told(draft).get(field) == slug
    assert draft.profile is None


def test_more_variables_than_there_may_be_are_refused() -> None:
    lines = "".join(f"  V{number}: x\n" for number in range(51))
    assert told(read_yaml(f"{GOOD}environment:\n{lines}")) == {"environment": "invalid-input"}


def test_a_line_of_the_form_that_is_none_is_told_with_its_field() -> None:
    assert told(read_fields({"environment": "A", "hints": "partition=x"}))["environment"] == "profile-line"
    assert told(read_fields({"hints": "partition=x"}))["hints"] == "profile-hint-line"
    assert told(read_fields({"environment": "A=1\nA=2"}))["environment"] == "profile-key-twice"


def test_a_form_with_faults_is_still_shown_as_yaml() -> None:
    draft = read_fields({"name": "A b", "gpus": "many", "environment": "A=no"})
    assert "gpus: many" in draft.yaml
    assert "A: 'no'" in draft.yaml.replace('"', "'")


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_example_of_the_page_can_be_read() -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    draft = read_yaml(example)
    assert draft.faults == ()
    assert draft.profile is not None
    assert draft.profile.hints == {"slurm": {"partition": "gb300", "exclusive": True}}
    assert draft.profile.environment["OMP_NUM_THREADS"] == "8"


def test_the_page_names_every_key_and_every_variable_that_is_refused() -> None:
    assert tuple(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == KEYS
    assert all(f"`{name}`" in PAGE for name in (*RESERVED, *RESERVED_STARTS))
