"""The archive on a real server: moved whole, read back, replayed, revived, erased."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionDescription, WorkflowHandle, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer

from activities.mail.outbox import LetterRecord, Outbox
from cli.revival import revived_input
from common.agent_objects import objects_of
from common.approval.action_log import ActionLog
from common.approval.types import ApprovalPolicy, Authorization
from common.archive.anchor import ArchiveAnchor
from common.archive.index import IndexQuery
from common.archive.layout import ARCHIVIST, SCHEDULE, Head
from common.client.client import AgentClient
from common.client.view import patient_view_of
from common.owner_cache import owner_cache_prefix
from common.settings import Settings
from common.temporal.connect import data_converter
from testing.waiting import eventually
from tests.support.agents.doubles import ErrandInput
from tests.support.agents.keepers import KeeperAgent, Kept
from tests.support.archive.stage import ArchiveStage, archive_stage, listed, patience
from tests.support.s3 import Rclone, credentials, in_bucket
from tests.support.stage import state_is
from workflows.replayer import replayer

__all__ = ["credentials", "patience"]


STORES = ["encrypted in a folder", "plain in S3"]
both_stores = pytest.mark.parametrize("stage", STORES, indirect=True)


@pytest.fixture
async def stage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ArchiveStage]:
    if getattr(request, "param", STORES[0]) == STORES[0]:
        async with archive_stage(tmp_path, monkeypatch, encrypted=True) as stage:
            yield stage
        return
    rclone = Rclone(tmp_path / "served")
    where = in_bucket(f"http://127.0.0.1:{rclone.port}")
    async with rclone.running(), archive_stage(tmp_path, monkeypatch, encrypted=False, **where) as stage:
        yield stage


def replayer_of(stage: ArchiveStage) -> Replayer:
    return replayer(stage.agents, data_converter(stage.settings, writes=False))


def age_of(described: WorkflowExecutionDescription) -> timedelta:
    assert described.close_time is not None
    return datetime.now(UTC) - described.close_time


async def gone(handle: WorkflowHandle[Any, Any]) -> bool:
    try:
        await handle.describe()
    except RPCError as error:
        return error.status is RPCStatusCode.NOT_FOUND
    return False


@both_stores
@pytest.mark.usefixtures("patience")
async def test_a_closed_agent_is_moved_whole_and_an_open_one_stays(stage: ArchiveStage) -> None:
    """The same view as before, every run of its chain as Temporal's JSON that replays, payloads and all."""
    stage.world.step_text = "y" * 300_000
    handle = await stage.kept(rounds=2, say="z" * 200_000, steps=1, lines=3)
    failing = await stage.kept(fail=True, say="broken")
    asleep = await stage.start(ErrandInput())
    await stage.asked(asleep)
    shown = {
        each.id: await patient_view_of(stage.client, await each.describe(), attempts=20)
        for each in (handle, failing)
    }
    assert all(each.live for each in shown.values())

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
                await replayer_of(stage).replay_workflow(history)
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


@pytest.mark.usefixtures("patience")
async def test_a_revived_agent_goes_on_from_its_state(stage: ArchiveStage) -> None:
    """Memory, notebook, words told and marks come along; the id is a new one that names the old."""
    handle = await stage.kept(rounds=3, say="hello")
    await stage.archive()
    record = await stage.archived.find(handle.id)
    assert record is not None
    input = await revived_input(stage.archived, stage.client.data_converter, record, datetime.now(UTC))
    agents = AgentClient(stage.client, stage.settings, stage.signer)
    await agents.start("keeper", input, id=f"{handle.id}-revived", owner=record.owner)
    revived = stage.client.get_workflow_handle(f"{handle.id}-revived")
    stage.handles = [revived]
    await eventually(lambda: state_is(stage, revived, "sleeping"))
    await revived.signal("wake", None)
    kept = Kept.model_validate(await revived.result())
    assert (kept.rounds, kept.said) == (3, "hello")
    assert kept.chat == ["round 1: hello", "round 2: hello", "round 3: hello", "well done"]
    notes = await stage.notes(revived)
    assert f": revived from {handle.id}, run {record.run_id}" in notes
    assert notes.index("sleep: done") < notes.index(f": revived from {handle.id}, run {record.run_id}")
    await stage.replay_all()


async def test_what_is_on_hold_or_silent_stays(stage: ArchiveStage) -> None:
    """A hold keeps an agent from the archivist and from the eraser; silence is waited out, twice its time."""
    held, other = await stage.kept(say="held"), await stage.kept(say="other")
    holds = stage.settings.data_dir / "holds.json"
    holds.write_text(json.dumps({"ids": [held.id]}))
    stage.agents.remove(KeeperAgent)
    await stage.rest()
    await stage.work()
    await asyncio.sleep(8)
    # Between once and twice its time, whatever the next seconds bring.
    waited = await stage.archive(age_of(await other.describe()))
    assert waited.passed_over == {"held": 1, "unanswered": 1}
    assert waited.archived == 0
    report = await stage.archive()
    assert (report.archived, report.passed_over) == (1, {"held": 1})
    record = await stage.archived.find(other.id)
    assert record is not None
    assert not (await stage.archived.view(record)).live
    erased = await stage.forget("owner-1")
    assert (erased.held, erased.live, erased.archived) == (1, 0, 1)
    assert (await held.describe()).close_time is not None
    holds.write_text("{}")
    stage.agents.append(KeeperAgent)
    await stage.rest()
    await stage.work()
    assert (await stage.archive()).archived == 1


def entered(outbox: Outbox, agent: str) -> LetterRecord:
    """A letter of the agent that is to go out, and an attempt that has begun."""
    letter = outbox.enter(agent, agent=agent, thread="", to="a@b.example", content="", domain="b.example")
    assert outbox.claim(letter.id, 1)
    return letter


@both_stores
async def test_an_owner_is_forgotten_whole_and_others_stay(stage: ArchiveStage) -> None:
    """Live and archived, payloads and rows, said in counts; a second time finds nothing; the chain holds."""
    stage.world.step_text = "y" * 300_000
    mine = [await stage.kept(steps=1, say="z" * 200_000) for _ in range(2)]
    theirs = await stage.kept(say="theirs", owner="owner-2")
    assert (await stage.archive()).archived == 3
    live = await stage.kept(say="live")
    await stage.copy_alone(live)
    asleep = await stage.start(ErrandInput())
    await stage.asked(asleep)
    # Notices hold plans. No worker takes these two, as where a way is away for the day.
    couriers = [await stage.courier(asleep.id, owner) for owner in ("owner-1", "owner-2")]
    for each in (asleep, *couriers):
        await eventually(lambda each=each: listed(each))
    outbox = Outbox(stage.store, stage.signer)
    letters = [entered(outbox, handle.id) for handle in (mine[0], theirs, asleep)]
    acts = ActionLog(stage.store)
    for handle in (mine[0], theirs, asleep):
        key = f"{handle.id}:act:d"
        acts.record_or_refuse(
            Authorization(key=key, policy=ApprovalPolicy(), requester="", votes=()), handle.id
        )
    own = [stage.own_objects(handle) for handle in (mine[0], theirs, live)]
    for owner in ("owner-1", "owner-2"):
        stage.store.put(f"{owner_cache_prefix(owner)}auditor/tree.gz", b"what audits keep of a tree")

    erased = await stage.forget("owner-1")
    assert (erased.live, erased.archived, erased.index_rows, erased.held) == (2, 2, 2, 0)
    assert erased.objects >= 2 * 5
    for handle in (*mine, live, asleep, couriers[0]):
        assert await stage.archived.find(handle.id) is None
        with pytest.raises(RPCError, match="not found"):
            await handle.describe()
        assert [each.key for each in stage.store.list("") if handle.id in each.key] == []
    assert [outbox.find(each.token) for each in letters] == [None, letters[1], None]
    assert [act.agent for act in acts.since(datetime.fromtimestamp(0, UTC))] == [theirs.id]
    assert [len(list(stage.store.list(owner_cache_prefix(owner)))) for owner in ("owner-1", "owner-2")] == [
        0,
        1,
    ]
    assert erased.artifacts == 2
    assert [objects_of(stage.store, [each.id]) for each in (mine[0], theirs, live)] == [[], own[1], []]
    [row] = stage.archived.index.find(IndexQuery())
    assert (row.id, row.owner) == (theirs.id, "owner-2")
    assert (await stage.verify()).flaws == []
    again = await stage.forget("owner-1")
    assert (again.live, again.archived, again.objects) == (0, 0, 0)
    assert await stage.archived.find(theirs.id)
    assert (await couriers[1].describe()).status == 1
    stage.handles = []


async def test_one_archivist_works_at_a_time_and_the_schedule_starts_it(stage: ArchiveStage) -> None:
    """What the schedule starts goes on under the one id; a second one ends with the reason."""
    handle = await stage.kept(say="x")
    stage.settings = stage.settings.but(archive=Settings.read({"HIBERNAUT_ARCHIVE_AFTER": "0d"}).archive)
    await stage.rest()
    await stage.work()
    anchor = ArchiveAnchor(stage.client, stage.settings)
    await anchor.keep(Head())
    described = await anchor.describe()
    assert described is not None
    assert described.schedule.state.paused
    await anchor.set_up()
    await stage.client.get_schedule_handle(SCHEDULE).trigger()
    await eventually(lambda: gone(handle))

    async def done() -> bool:
        run = await stage.client.get_workflow_handle(ARCHIVIST).describe()
        return run.close_time is not None

    await eventually(done)
    head = await anchor.head()
    assert head is not None
    assert head.number == 1
    assert (await stage.verify()).flaws == []
