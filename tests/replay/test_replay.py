"""Recorded histories replay with the code as it is: agents that sleep survive a deploy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from common.agents.batch import PAGE
from common.agents.kinds import KINDS
from workflows.replayer import replayer, workflow_classes

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


def replays() -> Replayer:
    return replayer(workflow_classes(), pydantic_data_converter)


def test_there_are_histories_of_every_agent() -> None:
    """An agent, or a page of a batch, without a recording could be broken unseen."""
    assert {file.name.rsplit("-", 1)[0] for file in HISTORIES} == {*KINDS, PAGE}


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.stem)
async def test_a_recorded_history_replays(file: Path) -> None:
    """Today's code takes the same steps."""
    await replays().replay_workflow(WorkflowHistory.from_json(file.stem, file.read_text()))


@pytest.mark.parametrize(
    "file", [file for file in HISTORIES if file.stem.endswith("-approved")], ids=lambda file: file.stem
)
async def test_a_history_that_does_not_fit_the_code_is_noticed(file: Path) -> None:
    """The test above can fail: an activity of another name does not replay."""
    text, count = re.subn(r'("activityType": \{\s+"name": ")', r"\1something_else_", file.read_text())
    assert count
    with pytest.raises(Exception, match=r"[Nn]ondeterminism"):
        await replays().replay_workflow(WorkflowHistory.from_json(file.stem, text))
