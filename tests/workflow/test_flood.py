"""Decisions that come faster than they are judged, and checks that take longer than a workflow task."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from activities.calendars import Calendars
from activities.decisions import DecisionChecks, EnvelopeCheck, EnvelopeChecked
from common.agents.agent import AgentInput, AgentState, Receipt, WakeUp
from common.approval.types import ApprovalRequest, ApprovalsView, Verdict
from common.client import limits
from common.client.client import AgentClient
from common.client.errors import TooMuchSaidError
from testing.waiting import eventually
from tests.support.agents.brief import BriefAgent
from tests.support.agents.brief_input import BriefInput
from tests.support.agents.doubles import ErrandInput
from tests.support.stage import Stage
from workflows.core.gate import MAX_WAITING

MARKER = "EVENT_TYPE_MARKER_RECORDED"
UPSERT = "EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES"


async def judged(stage: Stage, agent: WorkflowHandle[Any, Any], count: int) -> bool:
    view = await stage.query(agent, "approvals", ApprovalsView)
    return sum(each.status == "refused" for each in view.decisions) == count == len(view.decisions)


@pytest.mark.parametrize(("count", "before"), [(40, 0), (MAX_WAITING + 20, 20)], ids=["few", "many"])
async def test_a_history_starts_afresh_before_decisions_that_wait_are_judged(
    short_histories: Stage, count: int, before: int
) -> None:
    """Each is judged, none twice; and of too many to carry over, first only those above the limit."""
    stage = short_histories
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    told = (await stage.events(agent)).count(MARKER)
    await stage.rest()
    await asyncio.gather(*(stage.decide(agent, request, by="eve", note=str(each)) for each in range(count)))
    await stage.work()
    await eventually(lambda: judged(stage, agent, count))
    view = await stage.query(agent, "approvals", ApprovalsView)
    assert {int(each.decision.note) for each in view.decisions} == set(range(count))
    first = (await agent.describe()).raw_description.workflow_execution_info.first_run_id
    events = await stage.events(stage.client.get_workflow_handle(agent.id, run_id=first))
    assert events.count(MARKER) - told == before
    assert events[-1] == "EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW"
    await stage.decide(agent, await stage.asked(agent))
    assert (await agent.result())["confirmation"]


SLEEPERS = {
    "memory": (ErrandInput(sleep=timedelta(days=3)), "errand"),
    "no memory": (BriefInput(after=timedelta(days=3)), "brief"),
}


async def flood(stage: Stage, agent: WorkflowHandle[Any, Any], count: int = 60) -> None:
    """Many words come while no worker runs; then one works."""
    await stage.rest()
    await asyncio.gather(*(agent.signal("tell", f"word {number}") for number in range(count)))
    await stage.work()
    await eventually(lambda: began_afresh(agent))


async def began_afresh(agent: WorkflowHandle[Any, Any]) -> bool:
    described = await agent.describe()
    return described.run_id != described.raw_description.workflow_execution_info.first_run_id


@pytest.mark.parametrize(("input", "kind"), SLEEPERS.values(), ids=SLEEPERS)
async def test_a_sleeping_agent_starts_afresh_and_sleeps_on_until_the_same_moment(
    short_histories: Stage, input: AgentInput, kind: str
) -> None:
    """Pause, words and a moved end come along, and the signals that matter still get through."""
    stage = short_histories
    stage.agents.append(BriefAgent)
    await stage.rest()
    await stage.work()
    agent = await stage.start(input, kind)
    until = datetime(2100, 1, 1, tzinfo=UTC)
    await eventually(lambda: sleeps(stage, agent))
    await agent.signal("wake", WakeUp(until=until))
    await agent.signal("pause")
    await flood(stage, agent)
    status = await stage.status(agent)
    assert (status.state, status.wake_at) == (AgentState.PAUSED, until)
    assert "word 59" in " ".join(await stage.notes(agent))
    assert not any("woke" in note for note in await stage.notes(agent))
    await agent.signal("resume")
    await agent.signal("wake")
    await eventually(lambda: woke(stage, agent))


async def sleeps(stage: Stage, agent: WorkflowHandle[Any, Any]) -> bool:
    return (await stage.status(agent)).state is AgentState.SLEEPING


async def woke(stage: Stage, agent: WorkflowHandle[Any, Any]) -> bool:
    return sum("woke: signal" in note for note in await stage.notes(agent)) == 1


async def test_an_agent_that_woke_while_paused_does_not_sleep_again_in_a_fresh_history(
    short_histories: Stage,
) -> None:
    """The pause holds it where it is, and what woke it is remembered."""
    stage = short_histories
    agent = await stage.start(ErrandInput(sleep=timedelta(days=3)))
    await eventually(lambda: sleeps(stage, agent))
    await agent.signal("pause")
    await agent.signal("wake")
    await eventually(lambda: woke(stage, agent))
    await flood(stage, agent)
    assert (await stage.status(agent)).state is AgentState.PAUSED
    await agent.signal("resume")
    await stage.decide(agent, await stage.asked(agent))
    assert (await agent.result())["memory"]["woken"] == ["signal"]


@pytest.mark.parametrize(("ending", "same"), [("asks", True), ("asks anew", False)])
async def test_an_agent_without_a_memory_that_asks_first_of_all_starts_afresh(
    short_histories: Stage, ending: str, same: bool
) -> None:
    """It goes on asking the same; a question that changed is asked anew, and the old one closed."""
    stage = short_histories
    stage.agents.append(BriefAgent)
    await stage.rest()
    await stage.work()
    agent = await stage.start(BriefInput(ending=ending), "brief")
    first = await stage.asked(agent)
    await flood(stage, agent)
    now = await stage.asked(agent, after="" if same else first.id)
    assert (now.id == first.id) is same
    assert len((await stage.query(agent, "approvals", ApprovalsView)).open) == 1
    await stage.decide(agent, now)
    assert "approved by ann" in await agent.result()


FEW_SIGNALS = {"history.maximumSignalsPerExecution": "40"}


@pytest.mark.parametrize("short_histories", [FEW_SIGNALS], indirect=True)
async def test_an_agent_that_cannot_start_afresh_hears_decisions_past_the_limit_of_signals(
    short_histories: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a memory it stays in the one history: a worker takes what the server takes no more."""
    stage = short_histories
    stage.agents.append(BriefAgent)
    await stage.rest()
    await stage.work()
    agents = AgentClient(stage.client, stage.settings, stage.signer)
    asking = BriefInput(after=timedelta(days=3), ending="asks")
    agent, other = await stage.start(asking, "brief"), await stage.start(asking, "brief")
    for each in (agent, other):
        await eventually(lambda each=each: sleeps(stage, each))
        await each.signal("wake")
        await stage.asked(each)
        for number in range(39):
            await each.signal("tell", f"word {number}")
        with pytest.raises(RPCError, match="limit for signal"):
            await each.signal("tell", "too much")
        assert not await began_afresh(each)
    monkeypatch.setattr(limits, "UPDATE_PATIENCE", timedelta(minutes=2))
    receipt = await agents.pause(agent.id)
    assert (await agents.receipt(agent.id, receipt, timedelta(minutes=2))) == Receipt(
        taken=True, words="it begins nothing until it is resumed"
    )
    await agents.resume(agent.id)
    await stage.rest()
    with monkeypatch.context() as patch:
        patch.setattr(limits, "UPDATE_PATIENCE", timedelta(seconds=0.5))
        with pytest.raises(TooMuchSaidError, match="no worker has taken this in time"):
            await agents.resume(agent.id)
    await stage.work()
    await agents.decide(agent.id, Verdict.APPROVE, by="ann", through="cli")
    assert "approved by ann" in await agent.result()
    await agents.cancel(other.id)
    with pytest.raises(WorkflowFailureError):
        await other.result()


async def test_pauses_that_come_together_are_shown_once(stage: Stage) -> None:
    """Of thousands that a worker finds waiting, each would add a command to one workflow task."""
    agent = await stage.start(ErrandInput())
    await stage.asked(agent)
    before = (await stage.events(agent)).count(UPSERT)
    await stage.rest()
    for number in range(20):
        await agent.signal("resume" if number % 2 else "pause")
    await agent.signal("pause")
    await stage.work()
    assert (await stage.status(agent)).state is AgentState.PAUSED
    assert (await stage.events(agent)).count(UPSERT) - before == 1


class StuckChecks(DecisionChecks):
    """Inside a workflow task a check hangs or fails."""

    hangs = True

    @activity.defn(name="check_envelope")
    async def check_envelope(self, check: EnvelopeCheck) -> EnvelopeChecked:
        if activity.info().is_local:
            if self.hangs:
                await asyncio.sleep(60)
            raise OSError("a key cannot be read")
        return await super().check_envelope(check)


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "fails"])
async def test_what_does_not_get_through_in_a_workflow_task_goes_on_by_itself(
    stage: Stage, hangs: bool
) -> None:
    """The workflow task is not kept open: no second one is begun for a check that is still under way."""
    await stage.rest()
    checks = StuckChecks(stage.authority)
    checks.hangs = hangs
    stage.objects = lambda: [stage.world, checks, Calendars(), stage.notices]  # type: ignore[method-assign]
    await stage.work()
    # A task that takes no longer than it may, however busy the machine is.
    agent = await stage.start(ErrandInput(), task_timeout=timedelta(seconds=5))
    request: ApprovalRequest = await stage.asked(agent)
    before = len(await stage.events(agent))
    await stage.decide(agent, request)
    assert (await agent.result())["confirmation"]
    assert [each.removeprefix("EVENT_TYPE_") for each in (await stage.events(agent))[before:][:7]] == [
        "WORKFLOW_EXECUTION_SIGNALED",
        "WORKFLOW_TASK_SCHEDULED",
        "WORKFLOW_TASK_STARTED",
        "WORKFLOW_TASK_COMPLETED",
        "MARKER_RECORDED",
        "ACTIVITY_TASK_SCHEDULED",
        "ACTIVITY_TASK_STARTED",
    ]
