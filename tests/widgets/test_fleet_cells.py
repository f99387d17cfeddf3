"""From the answer of the portal to the bytes and words of the picture."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvlhub.flow.fleet import GpuState
from nvlwidgets.fleet_cells import LEASED, MODES, STATES, Rack, legend, seen_of, sentence, words
from nvlwidgets.markup import asset


def view(states: bytes, busy: bytes | None = None, layout: Any = None, **more: Any) -> dict[str, Any]:
    counts = {name: states.count(number) for number, name in enumerate(STATES)}
    return {
        "states": b64encode(states).decode(), "busy": b64encode(busy or b"\xff" * len(states)).decode(),
        "layout": layout or [["nvl001", [len(states)]]], "gpus": counts, "gpu_model": "GB300", "simulated": True,
        "shapes": [{"gpus": 1, "now": 2, "packed": 2}, {"gpus": 72, "now": 0, "packed": 0}], **more,
    }  # fmt: skip


def test_states_are_called_as_the_portal_numbers_them() -> None:
    assert [state.name.lower() for state in GpuState] == list(STATES)


def test_the_low_bits_are_the_state_and_the_high_ones_the_utilisation() -> None:
    seen = seen_of(view(bytes([1, 1, 1, 3, 0]), bytes([0, 52, 100, 4, 255])))
    assert [(cell & 7, cell >> 3) for cell in seen.busy_cells] == [(1, 1), (1, 11), (1, 21), (3, 1), (0, 0)]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 255)), min_size=1))
def test_the_state_of_a_gpu_is_never_lost_behind_its_utilisation(gpus: list[tuple[int, int]]) -> None:
    states, busy = (bytes(column) for column in zip(*gpus, strict=True))
    seen = seen_of(view(states, busy))
    assert bytes(cell & 7 for cell in seen.busy_cells) == states
    assert [cell >> 3 for cell in seen.busy_cells] == [0 if percent > 100 else percent // 5 + 1 for percent in busy]


def test_holders_beyond_the_colours_are_others() -> None:
    seen = seen_of(view(bytes([1, 1, 0, 3])))
    assert [(cell & 7, cell >> 3) for cell in seen.held_cells((1, 700, 0, 8))] == [(1, 1), (1, 9), (0, 0), (3, 8)]


def test_holders_of_another_floor_are_left_out() -> None:
    assert seen_of(view(bytes([1, 1]))).held_cells((1, 1, 1)) == bytes([1, 1])


def test_racks_are_counted_from_the_bytes() -> None:
    seen = seen_of(view(bytes([0, 1, 2, 2, 3, 4, 5]), layout=[["a", [2, 2]], ["b", [1, 2]]]))
    assert list(seen.figures()) == [
        Rack("a", (1, 1, 2, 0, 0, 0), 2, 1),
        Rack("b", (0, 0, 0, 1, 1, 1), 2, 1),
    ]


def test_an_answer_that_contradicts_itself_is_not_drawn() -> None:
    with pytest.raises(ValueError, match="4 GPUs"):
        seen_of(view(bytes(3), layout=[["nvl001", [4]]]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lang", ["en", "zh-TW"])
def test_a_legend_names_each_byte_once_and_every_state(mode: str, lang: str) -> None:
    shown = legend(mode, lang, [f"p{number}" for number in range(12)])
    assert len({value for value, _ in shown}) == len(shown) == len({text for _, text in shown})
    assert {value & 7 for value, _ in shown} == {0, 1, 2, 3, 4, 5}


def test_names_of_holders_stand_in_the_legend_as_they_are() -> None:
    assert (LEASED | 1 << 3, "=HYPERLINK(1)<b>") in legend("holder", "en", ["=HYPERLINK(1)<b>"])


def test_the_figures_in_words_leave_out_what_there_is_none_of() -> None:
    told = sentence(view(bytes([0, 0, 1, 1])), "en")
    assert told == (
        "2 of 4 GPUs are free, 2 are leased. Free capacity for 1 GPUs in one NVLink domain: 2 could start now. "
        "GPU model: GB300, simulated: these GPUs exist in name only."
    )
    told = sentence(view(bytes([0, 1, 2, 3, 4, 5])), "zh-TW")
    assert all(word in told for word in ("6 個 GPU", "停用", "保留給預約", "1 個由入口網站以外的工作使用", "模擬"))


def test_a_fleet_without_gpus_says_what_to_do() -> None:
    assert "Check that the engine" in sentence(view(b"", layout=[["nvl001", []]]), "en")


def test_places_that_the_picture_fills_in_are_kept() -> None:
    for lang in ("en", "zh-TW"):
        told = words(lang)
        assert "{name}" in told["rack"]
        assert "{parts}" in told["rack"]
        assert "{percent}" in told["mean"]


def test_the_picture_has_a_colour_for_every_state() -> None:
    drawn = asset("fleet.js").split("const STATES = [")[1].split("]")[0]
    assert len(set(drawn.split(", "))) == len(STATES)
