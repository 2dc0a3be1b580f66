"""The archive on a real server: moved whole, read back, replayed, revived, erased."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.service import RPCError
from temporalio.worker import Replayer

import worker
from common.agent_view import view_of
from common.archive_index import IndexQuery
from common.connect import data_converter
from tests.workflow.archive_stage import ArchiveStage, archive_stage
from tests.workflow.doubles import ErrandInput


@pytest.fixture(params=[True, False], ids=["encrypted", "plain"])
async def stage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ArchiveStage]:
    async with archive_stage(tmp_path, monkeypatch, encrypted=request.param) as stage:
        yield stage


def replayer(stage: ArchiveStage) -> Replayer:
    return Replayer(
        workflows=stage.agents,
        data_converter=data_converter(stage.settings, writes=False),
        workflow_runner=worker.sandbox(),
    )


async def test_a_closed_agent_is_moved_whole_and_an_open_one_stays(stage: ArchiveStage) -> None:
    """The same view as before, every run of its chain as Temporal's JSON that replays, payloads and all."""
    stage.world.step_text = "y" * 300_000
    handle = await stage.kept(rounds=2, say="z" * 200_000, steps=1, lines=3)
    failing = await stage.kept(fail=True, say="broken")
    asleep = await stage.start(ErrandInput())
    await stage.asked(asleep)
    shown = {each.id: await view_of(stage.client, await each.describe()) for each in (handle, failing)}

    looked = await stage.archive(dry_run=True)
    assert (looked.due, sorted(looked.due_ids)) == (2, sorted([handle.id, failing.id]))
    report = await stage.archive()

    assert (report.archived, report.passed_over) == (2, {})
    for each in (handle, failing):
        with pytest.raises(RPCError, match="not found"):
            await each.describe()
        record = await stage.archived.find(each.id)
        assert record is not None
        assert await stage.archived.view(record) == shown[each.id]
        for run in record.runs:
            text = await stage.archived.history(record, run)
            history = WorkflowHistory.from_json(each.id, text)
            assert len(history.events) == run.events
            if run.run_id == record.run_id:
                await replayer(stage).replay_workflow(history)
            plain = await stage.archived.history(record, run, readable=True)
            assert "binary/encrypted" not in plain
    record = await stage.archived.find(handle.id)
    assert record is not None
    assert len(record.runs) == 3
    assert [row.id for row in stage.archived.index.find(IndexQuery(node="look"))] == [failing.id, handle.id]
    found = await stage.verify()
    assert (found.flaws, found.agents, found.unsealed) == ([], 2, 0)
    assert found.head == report.head
    assert not [
        each.key for each in stage.store.list("payloads/") if handle.id in each.key and "/-/" not in each.key
    ]
    assert (await stage.status(asleep)).state == "awaiting_approval"
    assert (await stage.archive()).archived == 0
