"""The score of clause finding counts what it says it counts."""

from __future__ import annotations

import zipfile
from pathlib import Path

from bench.contracts_score import Text, clause_table, passages, report, score, texts

LICENSE = """---
key: {key}
category: {category}
owner: {owner}
---
A LICENCE

1. Governing Law

{law}

2. Warranty

The software is provided as is, without warranty of any kind, and nobody says more about it than this here.
"""
FOUND = "This licence is governed by the laws of the State of New York, and every court there may hear of it."
MISSED = (
    "Whoever wants to argue about any of this may do so in a quiet room, and at a time that suits both sides."
)


def wheel(folder: Path) -> Path:
    file = folder / "data.whl"
    with zipfile.ZipFile(file, "w") as made:
        for key, category, law in (("a", "Proprietary Free", FOUND), ("b", "Permissive", MISSED)):
            made.writestr(
                f"licensedcode/data/licenses/{key}.LICENSE",
                LICENSE.format(key=key, category=category, owner="Unspecified", law=law),
            )
        made.writestr(
            "licensedcode/data/licenses/c.LICENSE", "---\nkey: c\ncategory: Unstated License\n---\nx"
        )
        made.writestr(
            "licensedcode/data/rules/w.RULE",
            "---\nlicense_expression: warranty-disclaimer\n---\nAS IS, WITHOUT WARRANTY.",
        )
    return file


def test_a_section_counts_by_its_heading_and_is_found_by_the_text_below(tmp_path: Path) -> None:
    """One of two governing laws is found; the other is taken for nothing."""
    some = list(texts(wheel(tmp_path)))
    assert [each.category for each in some] == ["proprietary", "permissive"]
    scored = [score(each) for each in some]
    table = clause_table(scored)
    assert table["governing_law"] == {
        "sections": 2,
        "found": 1,
        "recall": 0.5,
        "precision": 1.0,
        "instead": {"nothing": 1},
    }
    assert table["warranty_disclaimer"]["recall"] == 1
    made = report("all", some, scored)
    assert made["clauses"]["sections"] == 4
    assert made["clauses"]["recall"] == 0.75
    assert sum(sum(found.values()) for found in made["category"]["confusion"].values()) == 2
    assert [label for label, _ in passages(wheel(tmp_path))] == ["warranty_disclaimer"]


def test_all_texts_of_an_owner_are_in_one_half() -> None:
    """So that no version of a text that rules were tuned on is scored."""
    halves = {owner: {Text(key, owner, "", "").held_out for key in "abcdef"} for owner in ("x", "y", "z")}
    assert all(len(half) == 1 for half in halves.values())
    assert len({Text(key, "Unspecified", "", "").held_out for key in "abcdef"}) == 2
