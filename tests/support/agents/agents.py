"""Small agents that tests run through the kit, with a recorder for what they do to the world."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.preconditions import Preconditions
    from tests.support.agents.doubles import (
        Confirmation,
        Errand,
        ErrandInput,
        ErrandMemory,
        ErrandPlan,
        ErrandResult,
        Fact,
        PanelInput,
        PanelMemory,
        PanelResult,
        Step,
        World,
    )
from workflows.core.agent import QUICK, READ, Action, Agent, Outcome, Premise


@workflow.defn(name="errand")
class ErrandAgent(Agent[ErrandInput, ErrandMemory]):
    """Takes steps, asks, checks a fact again, and acts once."""

    @workflow.init
    def __init__(self, input: ErrandInput) -> None:
        super().__init__(input, ErrandMemory)

    @workflow.run
    async def run(self, input: ErrandInput) -> ErrandResult:
        memory = self.memory
        if input.needs:
            await self.require(Preconditions.check, input.needs)
        while memory.steps < input.steps:
            with self.node("steps"):
                policy = QUICK if input.local_steps else READ
                await self.call(World.step, Step(number=memory.steps), policy)
                memory.steps += 1
            await self.carry_over(now=input.carry_every_step)
        if input.sleep is not None and memory.plan is None:
            with self.node("sleep"):
                memory.woken.append(await self.hibernate(workflow.now() + input.sleep))
        if memory.plan is None:
            with self.node("plan"):
                fact = await self.call(World.fact, Fact(), READ)
                memory.plan = ErrandPlan(what="buy", value=fact.value)
        while True:
            plan = memory.plan
            with self.node("approval"):
                evidence = [f"the fact is {plan.value}"]
                outcome = await self.ask("Buy?", plan, input.policy, evidence, _premises)
            if not outcome.approved:
                return ErrandResult(memory=memory, words=outcome.words)
            with self.node("act"):
                acted = await self.act(
                    Action(
                        World.act,
                        Errand(plan=outcome.plan),
                        outcome,
                        _premises(plan),
                        fence=lambda errand, facts: errand.model_copy(update={"fence": facts["value"]}),
                        lookup=World.look_up,
                        freshness=input.freshness or timedelta(seconds=10),
                        settles=input.settles,
                    )
                )
            if acted.result is not None:
                return ErrandResult(memory=memory, words=outcome.words, confirmation=acted.result)
            memory.plan = plan.model_copy(update={"value": acted.now("value") or plan.value})


def _premises(plan: ErrandPlan) -> list[Premise]:
    return [Premise("value", World.fact, Fact(), plan.value, read=lambda got: got.value)]


@workflow.defn(name="panel")
class PanelAgent(Agent[PanelInput, PanelMemory]):
    """Asks several people several questions at once."""

    @workflow.init
    def __init__(self, input: PanelInput) -> None:
        super().__init__(input, PanelMemory)

    @workflow.run
    async def run(self, input: PanelInput) -> PanelResult:
        with self.node(input.node):
            sleep = asyncio.create_task(self.hibernate(None)) if input.sleeps_beside else None
            if sleep:
                await asyncio.sleep(0)
            asked = asyncio.gather(*(self._asked(what) for what in input.questions))
            if input.goes_on_to:
                await asyncio.sleep(2)
                with self.node(input.goes_on_to):
                    await self.hibernate(None)
            outcomes = await asked
        return PanelResult(words=[each.words for each in outcomes])

    async def _asked(self, what: str) -> Outcome[ErrandPlan]:
        with self.node(what) if self.input.apart else nullcontext():
            return await self.ask(f"{what}?", ErrandPlan(what=what, value=0), self.input.questions[what])


__all__ = ["Confirmation", "ErrandAgent"]
