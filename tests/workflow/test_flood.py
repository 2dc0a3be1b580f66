"""Decisions that come faster than they are judged, and checks that take longer than a workflow task."""

from __future__ import annotations

import asyncio

import pytest
from temporalio import activity

from activities.calendars import Calendars
from activities.decisions import DecisionChecks, EnvelopeCheck, EnvelopeChecked
from common.approval.types import ApprovalRequest, ApprovalsView
from tests.support.agents.doubles import ErrandInput
from tests.support.stage import Stage
from tests.support.waiting import eventually
from workflows.core.gate import MAX_WAITING

MARKER = "EVENT_TYPE_MARKER_RECORDED"


async def judged(stage: Stage, agent: object, count: int) -> bool:
    view = await agent.query("approvals", result_type=ApprovalsView)  # type: ignore[attr-defined]
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
    view = await agent.query("approvals", result_type=ApprovalsView)
    assert {int(each.decision.note) for each in view.decisions} == set(range(count))
    first = (await agent.describe()).raw_description.workflow_execution_info.first_run_id
    events = await stage.events(stage.client.get_workflow_handle(agent.id, run_id=first))
    assert events.count(MARKER) - told == before
    assert events[-1] == "EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW"
    await stage.decide(agent, await stage.asked(agent))
    assert (await agent.result())["confirmation"]


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
    agent = await stage.start(ErrandInput())
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
