"""Small agents that tests run through the kit, with a recorder for what they do to the world."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from tests.workflow.doubles import (
        Confirmation,
        Errand,
        ErrandInput,
        ErrandMemory,
        ErrandPlan,
        ErrandResult,
        Fact,
        Step,
        World,
    )
from workflows.core.agent import Agent
from workflows.core.calls import QUICK, READ
from workflows.core.final_check import Action, Premise


@workflow.defn(name="errand")
class ErrandAgent(Agent):
    """Takes steps, asks, checks a fact again, acts once."""

    @workflow.init
    def __init__(self, input: ErrandInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: ErrandInput) -> ErrandResult:
        memory = self.remembered(ErrandMemory) or ErrandMemory()
        while memory.steps < input.steps:
            with self.node("steps"):
                policy = QUICK if input.local_steps else READ
                await self.call(World.step, Step(number=memory.steps), policy)
                memory.steps += 1
            await self.carry_over(memory, now=input.carry_every_step)
        if input.sleep is not None:
            with self.node("sleep"):
                memory.woken.append(await self.hibernate(workflow.now() + input.sleep))
        with self.node("plan"):
            fact = await self.call(World.fact, Fact(), READ)
            plan = ErrandPlan(what="buy", value=fact.value)
        while True:
            with self.node("approval"):
                outcome = await self.ask("Buy?", plan, input.policy, evidence=[f"the fact is {fact.value}"])
            if not outcome.approved:
                return ErrandResult(memory=memory, words=outcome.words)
            with self.node("act"):
                acted = await self.act(
                    Action(
                        World.act,
                        Errand(plan=outcome.plan),
                        outcome,
                        [Premise("value", World.fact, Fact(), plan.value, read=lambda got: got.value)],
                        lookup=World.look_up,
                        freshness=input.freshness or timedelta(seconds=10),
                    )
                )
            if acted.result is not None:
                return ErrandResult(memory=memory, words=outcome.words, confirmation=acted.result)
            plan = plan.model_copy(update={"value": acted.drifts[0].now})


__all__ = ["Confirmation", "ErrandAgent"]
