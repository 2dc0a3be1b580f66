"""What an open request rests on, fetched for those who decide: they see it, and can do no harm by it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError

from common.approval.types import PREMISES_FRESH_FOR, ApprovalPolicy, ApprovalRequest, PremiseState
from testing.waiting import eventually
from tests.support.agents.doubles import ErrandInput, PanelInput
from tests.support.stage import Stage
from workflows.core.approval import MAX_REFRESHES

POLICY = ApprovalPolicy(approvers=("ann",))


async def look(agent: WorkflowHandle[Any, Any], request_id: str) -> ApprovalRequest | None:
    found: ApprovalRequest | None = await agent.execute_update(
        "look", request_id, result_type=ApprovalRequest
    )
    return found


async def refusal(agent: WorkflowHandle[Any, Any], name: str, *arguments: Any) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await agent.execute_update(name, args=arguments)
    return str(refused.value.cause)


async def test_a_look_shows_old_and_new_and_decides_nothing(stage: Stage) -> None:
    """As seen at first, as it is after a look; a look decides nothing, and the action fetches for itself."""
    agent = await stage.start(ErrandInput(policy=POLICY, freshness=timedelta(minutes=5)))
    asked = await stage.asked(agent)
    assert (asked.premises, asked.checked_at) == ((PremiseState(name="value", seen="10"),), None)
    stage.world.value = 12
    found = await look(agent, asked.id)
    moved = PremiseState(name="value", seen="10", now="12", drift="10 has become 12")
    assert found is not None
    assert found.premises == (moved,)
    assert found.checked_at is not None
    assert await stage.asked(agent) == found
    stage.world.value = 10
    before = stage.world.fact_fetches
    await stage.decide(agent, found)
    assert (await agent.result())["words"].startswith(f"{asked.id}: approved by ann")
    assert stage.world.fact_fetches == before + 1


async def test_what_cannot_be_fetched_is_said_and_a_closed_request_is_not_looked_at(stage: Stage) -> None:
    """Not knowing is shown as that; a look that ends after the decision brings nothing, and harms nothing."""
    agent = await stage.start(ErrandInput(policy=POLICY))
    asked = await stage.asked(agent)
    stage.world.fact_fails = True
    found = await look(agent, asked.id)
    assert found is not None
    [fact] = found.premises
    assert (fact.now, fact.drift) == ("", "it cannot be fetched: Gone: the fact cannot be had")
    stage.world.fact_fails = False
    other = await stage.start(ErrandInput(policy=POLICY))
    asked = await stage.asked(other)
    stage.world.hold = asyncio.Event()
    fetched = stage.world.fact_fetches
    under_way = asyncio.create_task(look(other, asked.id))
    await eventually(lambda: stage.world.fact_fetches > fetched)
    assert "looked at just now" in await refusal(other, "look", asked.id)
    await stage.decide(other, asked, verdict="reject", note="no")
    await eventually(lambda: _closed(stage, other))
    stage.world.hold.set()
    stage.world.hold = None
    # The agent may have ended before the look did.
    assert await asyncio.gather(under_way, return_exceptions=True) != [found]
    assert "rejected by ann" in (await other.result())["words"]


async def test_what_cannot_be_looked_at_leaves_nothing_in_history(stage: Stage) -> None:
    """Too soon, not open, resting on nothing, unreadable: each is refused, and the agent goes on."""
    agent = await stage.start(ErrandInput(policy=POLICY))
    asked = await stage.asked(agent)
    await look(agent, asked.id)
    length = (await agent.describe()).history_length
    assert "looked at just now" in await refusal(agent, "look", asked.id)
    assert "is not open" in await refusal(agent, "look", "nothing-7")
    await refusal(agent, "look")
    await refusal(agent, "look", asked.id, asked.id)
    await refusal(agent, "look", {"id": asked.id})
    await refusal(agent, "look", 7)
    await refusal(agent, "look", "x" * 100_000)
    await refusal(agent, "pry", asked.id)
    assert (await agent.describe()).history_length == length
    panel = await stage.start(PanelInput(questions={"a": POLICY}), kind="panel")
    assert "rests on nothing" in await refusal(panel, "look", (await stage.asked(panel)).id)
    await stage.decide(agent, asked)
    await agent.result()
    await panel.terminate("seen")


async def test_looks_have_an_end(stage: Stage) -> None:
    """However long somebody goes on looking, a history takes only so many; the answer counts as ever."""
    agent = await stage.start(ErrandInput(policy=POLICY))
    asked = await stage.asked(agent)
    for _ in range(MAX_REFRESHES):
        assert await look(agent, asked.id) is not None
        await stage.skipper.fast_forward(agent, PREMISES_FRESH_FOR + timedelta(seconds=1))
    assert f"looked at {MAX_REFRESHES} times" in await refusal(agent, "look", asked.id)
    await stage.decide(agent, asked)
    assert (await agent.result())["confirmation"] is not None


async def _closed(stage: Stage, agent: WorkflowHandle[Any, Any]) -> bool:
    return any("rejected" in note for note in await stage.notes(agent))
