"""Recorded histories replay with the code as it is, and it does with them what it did when last looked at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory

from common.agents.batch import PAGE
from common.agents.kinds import KINDS
from tests.replay.fingerprints import HERE, difference, histories, new_replayer, read

HISTORIES = histories()
NEWEST = [file for file in HISTORIES if file.parent.name == "histories"]
REPLAYER = new_replayer()


def name_of(file: Path) -> str:
    return str(file.relative_to(HERE).with_suffix("")).removeprefix("histories/")


def test_there_are_histories_of_every_agent() -> None:
    """An agent, or a page of a batch, without a recording could be broken unseen."""
    assert {file.name.rsplit("-", 1)[0] for file in NEWEST} == {*KINDS, PAGE}


@pytest.mark.parametrize("file", HISTORIES, ids=name_of)
async def test_a_recorded_history_replays_to_its_fingerprint(file: Path) -> None:
    """Today's code takes the same steps, and every command says what it said."""
    found = await difference(file, REPLAYER)
    assert found == "", f"meant? `python -m tests.replay.fingerprints`, and look at the difference\n{found}"


@pytest.mark.parametrize("file", [each for each in NEWEST if each.stem.endswith("-approved")], ids=name_of)
async def test_a_history_that_does_not_fit_the_code_is_noticed(file: Path) -> None:
    """The test above can fail: an activity of another name does not replay."""
    text, count = re.subn(r'("activityType": \{\s+"name": ")', r"\1something_else_", file.read_text())
    assert count
    _, failure = await REPLAYER.replay(WorkflowHistory.from_json(read(file).workflow_id, text))
    assert re.search("[Nn]ondeterminism", str(failure))
