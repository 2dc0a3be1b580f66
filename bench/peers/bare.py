"""The agent of the bench, on nothing but the SDK: what a careful person writes first."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from bench.peers.tasks import (
        VALUE,
        Approval,
        BareDeed,
        BareDeeds,
        BareInput,
        Done,
        Look,
        Plan,
        Step,
        Steps,
    )

MINUTE = timedelta(minutes=1)


@workflow.defn(name="bench-bare")
class BareAgent:
    """Takes steps, waits for an approval, checks the fact again, acts."""

    def __init__(self) -> None:
        self._approval: Approval | None = None

    @workflow.signal
    def approve(self, approval: Approval) -> None:
        """Take the approval."""
        self._approval = approval

    @workflow.run
    async def run(self, input: BareInput) -> Done:
        for number in range(input.steps):
            step = Step(number=number)
            if input.local:
                await workflow.execute_local_activity_method(Steps.step, step, start_to_close_timeout=MINUTE)
            else:
                await workflow.execute_activity_method(Steps.step, step, start_to_close_timeout=MINUTE)
        plan = Plan(value=VALUE)
        await workflow.wait_condition(lambda: self._approval is not None)
        fact = await workflow.execute_activity_method(Steps.look, Look(), start_to_close_timeout=MINUTE)
        if fact.value != plan.value or self._approval is None:
            raise RuntimeError("the fact drifted")
        deed = BareDeed(plan=plan, approval=self._approval, key=workflow.info().workflow_id)
        return await workflow.execute_activity_method(
            BareDeeds.do,
            deed,
            start_to_close_timeout=MINUTE,
            schedule_to_start_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )
