"""Batches of agents on the real server, and what a batch outlives."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from activities.batch import listing
from cli.dev_server import DevServer
from common.agents.agent import Carried
from common.agents.batch import item_agent_id
from common.agents.batch_agent import BatchInput, BatchResult
from common.agents.fork import FORK, Fork
from common.approval.floors import policy_file
from common.approval.types import ApprovalRequest, ApprovalsView
from common.client.client import AgentClient
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support import limits
from tests.support.agents.batcher_doubles import BatcherInput
from tests.support.agents.brief_input import BriefInput
from tests.support.batching import BatchStage, know_brief
from tests.support.stage import OWNER
from workflows.core import batch


@pytest.fixture
async def batches(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BatchStage]:
    """A stage with pages of three agents."""
    monkeypatch.setattr(listing, "AGENTS_IN_A_PAGE", 3)
    know_brief(monkeypatch)
    stage = BatchStage(await connect(settings), settings)
    async with stage.at_work():
        yield stage


@pytest.fixture
async def afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BatchStage]:
    """A stage on a server that suggests a fresh history after thirty events, with pages of ten items."""
    monkeypatch.setattr(listing, "ITEMS_IN_A_PAGE", 10)
    know_brief(monkeypatch)
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path / "short")})
    short = limits.short_histories(30) | limits.QUICK_TASKS
    async with DevServer(settings, ui_port=None, limits=short, scratch=True) as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        stage = BatchStage(await connect(settings), settings)
        async with stage.at_work():
            yield stage


async def test_a_file_of_inputs_is_done_by_an_agent_each(batches: BatchStage, tmp_path: Path) -> None:
    """Bad lines are set aside before anything starts; what an agent fails at is set aside when it does."""
    lines = [
        '{"say": "one", "id": "a/1"}',
        '{"say": "two"}',
        "not JSON",
        '{"say": "three", "unheard": 1}',
        '{"say": "four", "ending": "fails", "id": "bad"}',
        '{"say": 5, "id": "five"}',
        '{"say": "again", "id": "bad"}',
        '{"say": "last", "id": "last"}',
    ]
    file = tmp_path / "items.jsonl"
    file.write_text("\n".join(lines))
    agent = await batches.start(BatchInput(kind="brief", items=str(file), batch="spring"), "batch")
    result = BatchResult.model_validate(await agent.result())
    assert (result.items, result.done, result.quarantined, result.duplicates) == (7, 3, 4, 1)
    verdicts = batches.verdicts(result.results)
    last = batches.client.get_workflow_handle(item_agent_id(agent.id, "last"))
    assert await (await last.describe()).static_summary() == "last", "its page says what it is about"
    assert {key: each.result for key, each in verdicts.items() if each.verdict == "done"} == {
        "a/1": "one",
        "line-2": "two",
        "last": "last",
    }
    assert {key: each.reason for key, each in verdicts.items() if each.reason} == {
        "line-3": "line 3: it is not JSON",
        "line-4": "line 4: brief takes no 'unheard'",
        "five": "line 6: BriefInput: say (string_type)",
        "bad": "Broken: it did not work out",
    }
    assert {each.key for each in result.set_aside} == {"line-3", "line-4", "five", "bad"}
    item = batches.client.get_workflow_handle(f"{agent.id}.last")
    attributes = await batches.attributes(item)
    assert (attributes["AgentBatchId"], attributes["AgentOwner"]) == ("spring", OWNER)
    # How its items ended, the batch tells, and none of them by itself.
    assert {notice.agent for notice in batches.notices.told} == {agent.id}


async def test_the_operators_policy_holds_for_each_item(batches: BatchStage) -> None:
    """Whoever may start no such agent may not do so by a batch either."""
    policy_file(batches.settings).write_text(json.dumps({"rules": [{"kind": "brief", "start": "never"}]}))
    agent = await batches.start(
        BatcherInput(items=batches.inputs({"one": BriefInput(say="x")}), kind="brief"), "batcher"
    )
    _, verdicts = await batches.outcome(agent)
    assert "the operator's policy lets owner-1 start no brief" in verdicts["one"].reason


async def test_items_of_a_forks_batch_are_marked_as_it_is(batches: BatchStage, tmp_path: Path) -> None:
    """So their effects are held like its own, and whoever decides for them knows."""
    file = tmp_path / "items.jsonl"
    file.write_text('{"ending": "asks", "id": "one"}')
    mark = Fork(of="batch-1", run_id="r", node="items")
    input = BatchInput(
        kind="brief", items=str(file), carried=Carried(started_at=datetime.now(UTC), fork=mark)
    )
    agents = AgentClient(batches.client, batches.settings, batches.signer)
    agent = batches.client.get_workflow_handle(await agents.start("batch", input, owner=OWNER))
    batches.handles.append(agent)
    item = batches.client.get_workflow_handle(f"{agent.id}.one")
    request = await eventually(lambda: asked_if_there(batches, item))
    assert request.evidence == (mark.evidence,)
    for each in (agent, *await batches.pages(agent), item):
        assert await (await each.describe()).memo_value(FORK, type_hint=Fork) == mark
    await agent.cancel()


async def asked_if_there(batches: BatchStage, item: WorkflowHandle[Any, Any]) -> ApprovalRequest | None:
    try:
        await item.describe()
    except RPCError:
        return None
    return await batches.asked(item)


async def test_questions_of_items_are_one_notice_and_cancelling_ends_the_agents(
    batches: BatchStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a quiet time people hear how many wait; each is decided by itself."""
    # However slowly they come, it is quiet only where the test lets that time pass.
    monkeypatch.setattr(batch, "QUIET", timedelta(minutes=50))
    inputs = {f"q{number}": BriefInput(ending="asks") for number in range(4)}
    agent = await batches.start(
        BatcherInput(items=batches.inputs(inputs), kind="brief", at_once=4), "batcher"
    )

    async def all_ask() -> bool:
        return (await batches.standing(agent)).asking == 4

    await eventually(all_ask)
    assert batches.notices.events(agent.id) == []
    await batches.skip(agent, timedelta(minutes=51))

    async def told() -> bool:
        return batches.notices.events(agent.id) == ["asked"]

    await eventually(told)
    notice = next(each for each in batches.notices.told if each.agent == agent.id)
    assert (notice.text, notice.people) == ("4 questions of its agents wait for an answer", ("ann",))
    assert all(each.gathered for each in batches.notices.told if each.agent != agent.id)
    first = batches.client.get_workflow_handle(f"{agent.id}.q0")
    await batches.decide(first, await batches.asked(first))

    async def three_left() -> bool:
        standing = await batches.standing(agent)
        return (standing.asking, standing.done) == (3, 1)

    await eventually(three_left)
    view = await batches.query(first, "approvals", ApprovalsView)
    assert not view.open
    await agent.cancel()

    async def ended(number: int) -> bool:
        handle = batches.client.get_workflow_handle(f"{agent.id}.q{number}")
        status = (await handle.describe()).status
        return status is not None and status.name == "CANCELED"

    for number in (1, 2, 3):
        await eventually(lambda number=number: ended(number))
    with pytest.raises(WorkflowFailureError):
        await agent.result()
    assert batches.notices.events(agent.id) == ["asked", "finished"]


async def test_agents_that_end_otherwise_are_set_aside_with_how(batches: BatchStage) -> None:
    """An agent that is cancelled or terminated from outside does not hold the batch up."""
    inputs = {name: BriefInput(ending="sleeps") for name in ("cancelled", "killed", "woken")}
    agent = await batches.start(BatcherInput(items=batches.inputs(inputs), kind="brief"), "batcher")
    handles = {name: batches.client.get_workflow_handle(f"{agent.id}.{name}") for name in inputs}

    async def sleeps(handle: WorkflowHandle[Any, Any]) -> bool:
        with suppress(RPCError):  # it may not have begun
            return (await batches.status(handle)).state == "sleeping"
        return False

    for each in handles.values():
        await eventually(lambda each=each: sleeps(each))
    await handles["cancelled"].cancel()
    await handles["killed"].terminate()
    await handles["woken"].signal("wake")
    batched, verdicts = await batches.outcome(agent)
    assert (batched.counts.done, batched.counts.quarantined) == (1, 2)
    assert verdicts["cancelled"].reason == "cancelled"
    assert verdicts["killed"].reason == "TerminatedError"


async def test_a_batch_outlives_fresh_histories_and_a_worker(afresh: BatchStage) -> None:
    """Its history starts afresh many times, pages end meanwhile, and the worker dies; each counts once."""
    names = [f"job-{number:02}" for number in range(60)]
    afresh.jobs.hold("job-03", "job-25")
    agent = await afresh.run(names, at_once=5)

    async def some_are_done() -> bool:
        return len(afresh.jobs.done) > 30

    await eventually(some_are_done)
    await afresh.rest()
    await afresh.work()

    async def most_are_done() -> bool:
        standing = await afresh.standing(agent)
        return (standing.done, standing.in_flight) == (58, 2)

    await eventually(most_are_done)
    first = (await agent.describe()).raw_description.workflow_execution_info
    assert first.first_run_id != first.execution.run_id
    afresh.jobs.let_go()
    batched, verdicts = await afresh.outcome(agent)
    assert (batched.counts.items, batched.counts.done) == (60, 60)
    assert sorted(verdicts) == names
    assert sorted(set(afresh.jobs.done)) == names
    assert afresh.jobs.most <= 5
    assert len(await afresh.pages(agent)) == 6
