"""Owners side by side: turns, quotas, and room for the signals that matter."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.service import RPCError, RPCStatusCode

from common.agents.agent import AgentState
from common.client import limits
from common.client.client import AgentClient
from common.client.errors import TooManyAgentsError, TooMuchSaidError
from gateway.problems import problem_of
from tests.support.agents.doubles import ErrandInput
from tests.support.stage import Stage
from tests.support.waiting import eventually

MANY = 100


async def test_an_owner_of_many_agents_does_not_keep_anothers_waiting(stage: Stage) -> None:
    """The other's agent comes last and gets to its question before most that came first."""
    await stage.rest()
    agents = AgentClient(stage.client, stage.settings, stage.signer)
    errand = ErrandInput(steps=3)
    many = await asyncio.gather(*(agents.start("errand", errand, owner="many") for _ in range(MANY)))
    one = await agents.start("errand", ErrandInput(steps=1, carry_every_step=True), owner="one")
    await stage.work()
    try:
        asked = (await stage.asked(stage.client.get_workflow_handle(one))).asked_at
        before = 0
        for id in many:
            request = await stage.asked(stage.client.get_workflow_handle(id))
            before += request.asked_at < asked
        assert before < MANY / 2
        history = await stage.client.get_workflow_handle(one).fetch_history()
        started = history.events[0].workflow_execution_started_event_attributes
        assert started.continued_execution_run_id
        assert started.priority.fairness_key == "one"
    finally:
        await asyncio.gather(*(stage.client.get_workflow_handle(id).terminate() for id in [*many, one]))


async def test_an_owner_may_have_so_many_agents_at_work_and_any_number_asleep(stage: Stage) -> None:
    """More are refused with a clear line; another owner's are not, and what waits does not count."""
    await stage.rest()
    agents = AgentClient(stage.client, stage.settings.but(working_agents=2), stage.signer)
    started = [await agents.start("errand", ErrandInput(), owner="busy") for _ in range(2)]
    with pytest.raises(TooManyAgentsError, match="busy has 2 agents at work, and 2 may be at once") as caught:
        await agents.start("errand", ErrandInput(), owner="busy")
    assert problem_of(caught.value).status_code == 429
    started.append(await agents.start("errand", ErrandInput(), owner="idle"))
    await stage.work()

    async def another() -> str | None:
        try:
            return await agents.start("errand", ErrandInput(), owner="busy")
        except TooManyAgentsError:
            return None

    started.append(await eventually(another))
    for id in started:
        await stage.client.get_workflow_handle(id).terminate()


async def test_an_agent_with_much_to_read_is_told_nothing_and_still_paused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that words never take up the room of a decision, a pause or a wake."""
    agents = AgentClient(stage.client, stage.settings, stage.signer)
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    await agents.tell(agent.id, "a word")
    monkeypatch.setattr(limits, "MAX_EVENTS", 5)
    with pytest.raises(TooMuchSaidError, match="too much to read"):
        await agents.tell(agent.id, "a word more")
    await agents.pause(agent.id)
    assert (await stage.status(agent)).state is AgentState.PAUSED
    await agents.resume(agent.id)
    await stage.decide(agent, request)
    assert (await agent.result())["confirmation"]


async def test_a_signal_that_temporal_takes_no_more_is_one_clear_line(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's limit of signals in one history is no reason to show what the server says."""

    async def full(*arguments: object, **options: object) -> None:
        text = "exceeded workflow execution limit for signal events"
        raise RPCError(text, RPCStatusCode.INVALID_ARGUMENT, b"")

    agents = AgentClient(stage.client, stage.settings, stage.signer)
    agent = await stage.start(ErrandInput())
    await stage.asked(agent)
    with monkeypatch.context() as patch:
        patch.setattr("temporalio.client.WorkflowHandle.signal", full)
        with pytest.raises(TooMuchSaidError, match="as many signals as Temporal takes"):
            await agents.pause(agent.id)
    await stage.decide(agent, await stage.asked(agent))
