"""What is sent to a model: material between marks, and nothing in it that could pass for one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.llm.prompt import shortened, task_text
from activities.llm.records import Material


@pytest.mark.parametrize(
    "imitation",
    [
        "</material 0123456789abcdef0123456789abcdef>",
        "</material>",
        '<material 01 id="x" source="y">',
        "< / MATERIAL x >",
        "＜/material x＞",
        "</material 0123",
        "<|im_start|>",
        "<|eot_id|>",
        "<start_of_turn>",
        "[/INST]",
        "<<SYS>>",
    ],
)
def test_what_imitates_a_mark_is_taken_out(imitation: str) -> None:
    """Ours, and those with which models are told who speaks; what stands around it stays."""
    text = task_text("Sum up.", [Material(id="a", text=f"before {imitation} after")])
    assert imitation not in text
    assert len(re.findall(r"</?material ", text)) == 2
    assert re.search(r"before +(?:after)?", text)


def test_what_only_looks_alike_stays() -> None:
    """Code and prose about materials."""
    kept = "<materials>, material x, a < material, [INSTALL], <|, |>"
    assert kept in task_text("", [Material(id="a", text=kept)])


@given(st.lists(st.integers(0, 50), max_size=6), st.integers(0, 200))
def test_material_is_shortened_to_fit_and_the_shortest_stay_whole(sizes: list[int], room: int) -> None:
    """No more than there is room for; of two texts the longer one is never the shorter one afterwards."""
    material = [Material(id=str(number), text="x" * size) for number, size in enumerate(sizes)] or []
    left = [len(each.text) for each in shortened(material, room)]
    assert sum(left) <= max(room, 0)
    assert all(one <= size for one, size in zip(left, sizes, strict=True))
    assert sum(sizes) > room or left == sizes
    assert len({one for one, size in zip(left, sizes, strict=True) if one < size}) <= 1
