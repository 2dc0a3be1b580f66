"""The deliberate breakages of `bench/replay_mutants.py` are still breakages of this code."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_breakage_is_of_text_that_stands_once(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    for old, new in mutant.edits:
        assert text.count(old) == 1
        text = text.replace(old, new)
