"""Agents for tests of builds: an errand that lives for weeks, and a brief agent with changed code."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from tests.support.agents.brief_input import BriefInput
    from tests.support.agents.doubles import ErrandInput, ErrandMemory, ErrandResult
    from workflows.core.agent import Agent


@workflow.defn(name="long-errand")
class LongErrand(Agent[ErrandInput, ErrandMemory]):
    """Sleeps repeatedly."""

    long_lived = True

    @workflow.init
    def __init__(self, input: ErrandInput) -> None:
        super().__init__(input, ErrandMemory)

    @workflow.run
    async def run(self, input: ErrandInput) -> ErrandResult:
        assert input.sleep is not None
        while self.memory.steps < input.steps:
            with self.node(f"sleep {self.memory.steps}"):
                woken = await self.hibernate(workflow.now() + input.sleep)
            self.memory.woken.append(woken)
            self.memory.steps += 1
        return ErrandResult(memory=self.memory, words="slept")


@workflow.defn(name="brief")
class ChangedBrief(Agent[BriefInput, None]):
    """The brief agent in a build with other steps, so that its histories do not replay."""

    @workflow.init
    def __init__(self, input: BriefInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: BriefInput) -> str:
        with self.node(input.node):
            await workflow.sleep(timedelta(days=9))
        return input.say
