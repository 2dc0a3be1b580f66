"""The agent of the bench, on the kit."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bench.peers.tasks import APPROVER, VALUE, Done, KitDeed, KitDeeds, KitInput, Look, Plan, Step, Steps
from common.approval.types import ApprovalPolicy
from workflows.core.agent import QUICK, READ, Action, Agent, Premise


@workflow.defn(name="bench-kit")
class KitAgent(Agent[KitInput, None]):
    """Takes steps, asks, checks the fact again, acts."""

    @workflow.init
    def __init__(self, input: KitInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: KitInput) -> Done:
        with self.node("steps"):
            for number in range(input.steps):
                await self.call(Steps.step, Step(number=number), QUICK if input.local else READ)
        plan = Plan(value=VALUE)
        with self.node("approval"):
            outcome = await self.ask("Buy?", plan, ApprovalPolicy(approvers=(APPROVER,)))
        with self.node("act"):
            fact = Premise("value", Steps.look, Look(), plan.value, read=lambda found: found.value)
            acted = await self.act(Action[Done](KitDeeds.do, KitDeed(plan=outcome.plan), outcome, [fact]))
        if acted.result is None:
            raise RuntimeError("the fact drifted")
        return acted.result
