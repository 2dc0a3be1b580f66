"""The agent compared with the model: concurrent questions, each asked until acted on or given up."""

from __future__ import annotations

import asyncio

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from common.approval.types import ApprovalPolicy
    from tests.support.agents.doubles import Errand, ErrandPlan, Fact, World
    from tests.support.chain.world import ChainInput, ChainMemory
from workflows.core.agent import READ, Action, Agent, Premise


@workflow.defn(name="chain")
class ChainAgent(Agent[ChainInput, ChainMemory]):
    """Asks, acts on a yes, and asks again with the new fact if the old one has moved."""

    @workflow.init
    def __init__(self, input: ChainInput) -> None:
        super().__init__(input, ChainMemory)

    @workflow.run
    async def run(self, input: ChainInput) -> dict[str, str]:
        memory = self.memory
        with self.node("desk"):
            if not memory.plans:
                fact = await self.call(World.fact, Fact(), READ)
                memory.plans = {what: ErrandPlan(what=what, value=fact.value) for what in input.questions}
            open_ones = [what for what in input.questions if what not in memory.words]
            await asyncio.gather(*(self._chain(what, input.questions[what]) for what in open_ones))
        return memory.words

    async def _chain(self, what: str, policy: ApprovalPolicy) -> None:
        memory = self.memory
        while what not in memory.words:
            outcome = await self.ask(f"{what}?", memory.plans[what], policy, (), _premises)
            if not outcome.approved:
                memory.words[what] = outcome.words
                return
            plan = outcome.plan
            acted = await self.act(
                Action(
                    World.act,
                    Errand(plan=plan),
                    outcome,
                    _premises(plan),
                    fence=lambda errand, facts: errand.model_copy(update={"fence": facts["value"]}),
                    lookup=World.look_up,
                )
            )
            if acted.result is not None:
                memory.words[what] = outcome.words
            else:
                memory.plans[what] = plan.model_copy(update={"value": acted.now("value") or plan.value})


def _premises(plan: ErrandPlan) -> list[Premise]:
    return [Premise("value", World.fact, Fact(), plan.value, read=lambda got: got.value)]
