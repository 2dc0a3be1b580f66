"""An agent that keeps an approval in its memory while it sleeps, and acts on it only then."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from common.approval.types import ApprovalPolicy
    from tests.support.agents.doubles import Confirmation, Errand, ErrandPlan, World
    from tests.support.agents.promise_input import Promised, PromiseInput, PromiseMemory
    from workflows.core.agent import Action, Agent, Outcome


@workflow.defn(name="promise", failure_exception_types=[ApplicationError])
class PromiseAgent(Agent[PromiseInput, PromiseMemory]):
    """Asks, sleeps, and acts; on drift it starts over."""

    @workflow.init
    def __init__(self, input: PromiseInput) -> None:
        super().__init__(input, PromiseMemory)

    @workflow.run
    async def run(self, input: PromiseInput) -> Promised:
        while True:
            outcome = await self._approved(input.plan)
            with self.node("sleep"):
                await self.hibernate(None)
            with self.node("act"):
                acted = await self.act(Action[Confirmation](World.act, Errand(plan=outcome.plan), outcome))
            if acted.result:
                return Promised(decision=outcome.words, confirmation=acted.result)
            self.memory.answer, self.memory.evidence = None, acted.evidence

    async def _approved(self, plan: ErrandPlan) -> Outcome[ErrandPlan]:
        if self.memory.answer is None:
            with self.node("approval"):
                policy = ApprovalPolicy(approvers=("ann",))
                outcome = await self.ask("Do it?", plan, policy, self.memory.evidence)
                self.memory.answer = outcome.answer
        return Outcome.of(self.memory.answer, ErrandPlan)
