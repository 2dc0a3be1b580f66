"""How a worker ends, whatever holds it, and what a busy machine does to it."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta

import pytest
from temporalio import activity
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion

import worker
from activities.calls.interceptor import ReliableReports
from common.approval.types import ApprovalPolicy, Verdict
from common.settings import Settings
from common.temporal.connect import connect
from common.temporal.sandbox import _Instance
from testing.waiting import eventually
from tests.support.agents.agents import ErrandAgent
from tests.support.agents.doubles import ErrandInput, Step, Stepped, World
from tests.support.stage import Stage


class Stubborn(World):
    """Its steps hear no cancellation."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.authority)
        self.begun = False
        self.enough = asyncio.Event()

    @activity.defn(name="step")
    async def step(self, step: Step) -> Stepped:
        """Go on until it is enough."""
        self.begun = True
        while not self.enough.is_set():
            try:
                await self.enough.wait()
            except asyncio.CancelledError:
                continue
        return Stepped(number=step.number, text="")


async def test_a_worker_that_does_not_end_is_left(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so, and what it had under way is done by the next."""
    monkeypatch.setattr(worker, "END_SECONDS", 1)
    stage = Stage(await connect(settings), settings.but(drain_seconds=0))
    held = stage.world = Stubborn(stage)
    agent = await stage.start(ErrandInput(steps=1, policy=ApprovalPolicy(approvers=("ann",))))
    built = worker.build(
        stage.client,
        stage.settings,
        reports=ReliableReports(stage.client),
        workflows=[ErrandAgent],
        objects=stage.objects(),
    )
    with caplog.at_level(logging.WARNING):
        async with built:
            await eventually(lambda: held.begun)
    assert "which does not end" in caplog.text
    assert not held.enough.is_set()
    held.enough.set()
    await stage.work()
    await stage.decide(agent, await stage.asked(agent))
    assert (await agent.result())["words"]
    await stage.rest()


async def test_a_task_that_takes_seconds_of_a_busy_machine_is_no_deadlock(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's own limit of two seconds would fail it, and each that follows, for as long as that lasts."""
    took, activate = [], _Instance.activate

    def slowly(run: _Instance, act: WorkflowActivation) -> WorkflowActivationCompletion:
        if not took:
            time.sleep(2.5)
            took.append(run)
        return activate(run, act)

    monkeypatch.setattr(_Instance, "activate", slowly)
    agent = await stage.start(ErrandInput(steps=1), task_timeout=timedelta(seconds=10))
    await stage.decide(agent, await stage.asked(agent), Verdict.REJECT)
    await agent.result()
    assert took
    assert not [name for name in await stage.events(agent) if "TASK_FAILED" in name or "TIMED_OUT" in name]
