"""The bench's agent, on the kit."""

from __future__ import annotations

from dataclasses import replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bench.peers.effects import VALUE
    from bench.peers.tasks import APPROVER, Done, KitDeed, KitDeeds, KitInput, Look, Plan, Step, Steps
from common.approval.types import ApprovalPolicy
from workflows.core.agent import ACTION, QUICK, READ, Action, Agent, Premise


@workflow.defn(name="bench-kit")
class KitAgent(Agent[KitInput, None]):
    """Takes steps, asks, checks the fact again, and acts."""

    @workflow.init
    def __init__(self, input: KitInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: KitInput) -> Done:
        step = QUICK if input.local else replace(READ, start_to_close=input.patience)
        with self.node("steps"):
            for number in range(input.steps):
                await self.call(Steps.step, Step(number=number), step)
        plan = Plan(value=VALUE)
        with self.node("approval"):
            outcome = await self.ask("Buy?", plan, ApprovalPolicy(approvers=(APPROVER,)))
        with self.node("act"):
            fact = Premise("value", Steps.look, Look(), plan.value, read=lambda found: found.value)
            policy = replace(ACTION, start_to_close=input.patience)
            deed = KitDeed(plan=outcome.plan)
            acted = await self.act(Action[Done](KitDeeds.do, deed, outcome, [fact], policy=policy))
        if acted.result is None:
            raise RuntimeError("the fact drifted")
        return acted.result
