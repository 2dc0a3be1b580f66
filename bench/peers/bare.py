"""The bench's agent on the bare SDK: what a careful engineer writes first."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bench.peers.effects import VALUE
    from bench.peers.tasks import (
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


@workflow.defn(name="bench-bare")
class BareAgent:
    """Takes steps, waits for an approval, checks the fact again, and acts."""

    def __init__(self) -> None:
        self._approval: Approval | None = None

    @workflow.signal
    def approve(self, approval: Approval) -> None:
        """Take the approval."""
        self._approval = approval

    @workflow.run
    async def run(self, input: BareInput) -> Done:
        patience = input.patience
        for number in range(input.steps):
            step = Step(number=number)
            if input.local:
                await workflow.execute_local_activity_method(
                    Steps.step, step, start_to_close_timeout=patience
                )
            else:
                await workflow.execute_activity_method(Steps.step, step, start_to_close_timeout=patience)
        plan = Plan(value=VALUE)
        await workflow.wait_condition(lambda: self._approval is not None)
        fact = await workflow.execute_activity_method(Steps.look, Look(), start_to_close_timeout=patience)
        if fact.value != plan.value or self._approval is None:
            raise RuntimeError("the fact drifted")
        # Retried until done: its key makes it idempotent, as Temporal's documentation advises.
        deed = BareDeed(plan=plan, approval=self._approval, key=workflow.info().workflow_id)
        return await workflow.execute_activity_method(BareDeeds.do, deed, start_to_close_timeout=patience)
