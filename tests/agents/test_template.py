"""The template agent: it sleeps until there is something to do, and deletes only what was approved."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from cli.new.template.activities import TemplateActivities
from cli.new.template.inputs import DeleteRequest, FindRequest, TemplateInput
from common.settings import Settings
from testing.stage import Stage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    (made / "new.txt").write_text("new")
    return made


def put_old(file: Path) -> None:
    file.write_text("old")
    os.utime(file, (0, 0))


async def test_it_looks_each_day_and_when_told_and_deletes_on_a_yes(stage: Stage, folder: Path) -> None:
    agent = await stage.start(TemplateInput(path=str(folder), approvers=["ann"]), "template")
    tomorrow = await stage.asleep(agent)
    await stage.skip(agent, timedelta(days=1))
    await stage.asleep(agent, after=tomorrow)
    put_old(folder / "old.txt")
    await agent.signal("tell", "look now")
    asked = await stage.asked(agent)
    assert [file["name"] for file in asked.plan["files"]] == ["old.txt"]
    await stage.decide(agent, asked)
    assert await agent.result() == "files deleted: 1"
    assert [each.name for each in folder.iterdir()] == ["new.txt"]
    notes = await stage.notes(agent)
    assert [each for each in notes if "woke" in each] == ["sleep: woke: time", "sleep: woke: event"]


async def test_it_asks_again_where_the_folder_has_changed_since(stage: Stage, folder: Path) -> None:
    put_old(folder / "a.txt")
    put_old(folder / "b.txt")
    agent = await stage.start(TemplateInput(path=str(folder), approvers=["ann"]), "template")
    asked = await stage.asked(agent)
    (folder / "b.txt").write_text("somebody works on it")
    await stage.decide(agent, asked)
    again = await stage.asked(agent, after=asked.id)
    assert (folder / "a.txt").exists()
    assert [file["name"] for file in again.plan["files"]] == ["a.txt"]
    await stage.decide(agent, again)
    assert await agent.result() == "files deleted: 1"
    assert (folder / "b.txt").exists()


def test_nothing_is_deleted_without_an_approval(settings: Settings, folder: Path) -> None:
    put_old(folder / "old.txt")
    activities = TemplateActivities.build(settings)
    found = ActivityEnvironment().run(
        activities.find, FindRequest(path=str(folder), older_than=timedelta(days=1))
    )
    with pytest.raises(ApplicationError, match="no approval came with it"):
        ActivityEnvironment().run(activities.delete, DeleteRequest(plan=found))
    assert (folder / "old.txt").exists()
