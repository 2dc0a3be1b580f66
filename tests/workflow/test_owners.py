"""Owners side by side: turns, quotas, and room for the signals that matter."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from temporalio import activity

import worker
from common.agents.agent import AgentState
from common.approval.types import Verdict
from common.client import limits
from common.client.client import AgentClient
from common.client.errors import TooManyAgentsError, TooMuchSaidError
from common.client.filters import AgentFilter
from common.client.visibility import exactly
from gateway.problems import problem_of
from testing.waiting import eventually
from tests.support.agents.doubles import ErrandInput, Step, Stepped, World
from tests.support.stage import Stage
from workflows.core import agent as agent_module
from workflows.core.agent import LONG

MANY = 50


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


async def are_at_work(stage: Stage, owner: str, count: int) -> bool:
    """Whether visibility, by which agents are counted, knows so many."""
    working = " AND ".join(exactly(AgentFilter(owner=owner, state=AgentState.WORKING)))
    return (await stage.client.count_workflows(working)).count == count


async def test_an_owner_may_have_so_many_agents_at_work_and_any_number_asleep(stage: Stage) -> None:
    """More are refused with a clear line; another owner's are not, and what waits does not count."""
    await stage.rest()
    agents = AgentClient(stage.client, stage.settings.but(working_agents=2), stage.signer)
    started = [await agents.start("errand", ErrandInput(), owner="busy") for _ in range(2)]
    await eventually(lambda: are_at_work(stage, "busy", 2))
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
    # Near the server's end of all histories there is room for what somebody has to decide alone.
    monkeypatch.setattr(limits, "MAX_STEERED_EVENTS", 6)
    with pytest.raises(TooMuchSaidError, match="it takes decisions and cancel alone"):
        await agents.pause(agent.id)
    decision = await agents.decide(agent.id, Verdict.APPROVE, by="ann", through="cli", digest=request.digest)
    assert (await stage.fate(agent, decision.id)).status == "counted"
    assert (await agent.result())["confirmation"]


class Holding(World):
    """Its steps last until they are let go, and may be tried as often as it takes."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.authority)
        self.free = asyncio.Event()
        self.under_way: list[str] = []

    @activity.defn(name="step")
    async def step(self, step: Step) -> Stepped:
        info = activity.info()
        self.under_way.append(info.priority.fairness_key or "")
        if info.priority.fairness_key == "many":
            await self.free.wait()
        return await super().step(step)


async def test_an_owner_of_long_calls_leaves_others_room_on_the_worker(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six slots: one owner's long calls take four of them at most, and what is put off comes later."""
    await stage.rest()
    stage.world = Holding(stage)
    monkeypatch.setattr(agent_module, "READ", LONG)
    monkeypatch.setattr(worker, "build", partial(worker.build, slots=6))
    await stage.work()
    agents = AgentClient(stage.client, stage.settings, stage.signer)
    many = [await agents.start("errand", ErrandInput(steps=1), owner="many") for _ in range(10)]
    stage.handles += map(stage.client.get_workflow_handle, many)
    await eventually(lambda: len(stage.world.under_way) >= 4)
    ones = [await agents.start("errand", ErrandInput(steps=1), owner=f"one-{n}") for n in range(4)]
    stage.handles += map(stage.client.get_workflow_handle, ones)
    for id in ones:
        await stage.asked(stage.client.get_workflow_handle(id))
    assert stage.world.under_way.count("many") == 4
    stage.world.free.set()
    for id in many:
        await stage.asked(stage.client.get_workflow_handle(id))
