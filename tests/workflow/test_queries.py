"""Queries that come amidst a local activity: answered, and no agent does anything else because of them."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta

import pytest
from temporalio import activity
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion

from activities.calendars import Calendars
from activities.decisions import DecisionChecks, EnvelopeCheck, EnvelopeChecked
from common.approval.types import Verdict
from common.temporal.sandbox import ALONE, _Instance
from testing.waiting import eventually
from tests.support.agents.doubles import ErrandInput
from tests.support.stage import Stage, noted, state_is


class Meeting(DecisionChecks):
    """A check of a decision and a query of its task meet: the one ends while the other is answered."""

    def prepare(self) -> None:
        self.asked, self.checked, self.left = threading.Event(), threading.Event(), threading.Event()
        self.begun = threading.Event()
        self.may_end = asyncio.Event()

    @activity.defn(name="check_envelope")
    async def check_envelope(self, check: EnvelopeCheck) -> EnvelopeChecked:
        self.begun.set()
        await self.may_end.wait()
        asyncio.get_running_loop().call_soon(self.checked.set)
        return await super().check_envelope(check)

    def activate(self, run: _Instance, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """In place of `_Instance.activate`, in a thread of the worker."""
        queries = [job.query_workflow for job in act.jobs if job.HasField("query_workflow")]
        meets = bool(queries and run._local) and queries[0].query_id != ALONE
        if meets:
            self.asked.set()
            # Not for long: the SDK takes two seconds without an answer for a deadlock.
            self.checked.wait(1)
            time.sleep(0.1)
        completion = self.real(run, act)
        if meets and not completion.successful.commands:
            self.left.set()
        return completion

    real = staticmethod(_Instance.activate)


@pytest.mark.parametrize("verdict", [Verdict.APPROVE, Verdict.REJECT])
async def test_a_query_amidst_a_check_is_answered_after_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, verdict: Verdict
) -> None:
    """More signals come meanwhile. They count after the check, as in the replay after the test."""
    await stage.rest()
    meeting = Meeting(stage.authority)
    monkeypatch.setattr(_Instance, "activate", lambda run, act: meeting.activate(run, act))
    stage.objects = lambda: [stage.world, meeting, Calendars(), stage.notices]  # type: ignore[method-assign]
    # The queries have to be there before the worker is, and nothing shows when they are.
    for seconds in (0.3, 1, 3, 9):
        meeting.prepare()
        await stage.work()
        agent = await stage.start(ErrandInput())
        request = await stage.asked(agent)
        await stage.rest()
        decision = await stage.decide(agent, request, verdict)
        queries = [asyncio.create_task(stage.status(agent)) for _ in range(3)]
        await asyncio.sleep(seconds)
        await stage.work()
        await eventually(lambda: meeting.begun.is_set())
        met = await asyncio.to_thread(meeting.asked.wait, 3)
        if met and verdict is Verdict.APPROVE:
            await agent.signal("pause")
            await agent.signal("resume")
        meeting.may_end.set()
        assert [each.owner for each in await asyncio.gather(*queries)] == ["owner-1"] * 3
        result = await agent.result()
        assert (result["confirmation"] is not None) == (verdict is Verdict.APPROVE)
        assert (await stage.fate(agent, decision.id)).status == "counted"
        if met:
            break
        await stage.rest()
    assert meeting.left.is_set()


async def test_an_agent_answers_that_was_terminated_before_it_saw_its_last_events(stage: Stage) -> None:
    """No task will bring it what came while no worker ran; every query does, however often."""
    agent = await stage.start(ErrandInput(sleep=timedelta(days=3)))
    await eventually(lambda: state_is(stage, agent, "sleeping"))
    await stage.rest()
    await agent.signal("tell", "hurry")
    await agent.terminate("from outside")
    await stage.work()
    for _ in range(2):
        assert await noted(stage, agent, "was told: hurry")
