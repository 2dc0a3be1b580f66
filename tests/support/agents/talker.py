"""An agent that holds a conversation with a language model."""

from __future__ import annotations

from dataclasses import replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.llm.records import Think
    from activities.preconditions import Preconditions
    from tests.support.agents.talker_doubles import Talked, TalkInput
from workflows.core.agent import THINK, Agent


@workflow.defn(name="talker")
class Talker(Agent[TalkInput, Talked]):
    """Says `rounds` things, each after what was said before."""

    @workflow.init
    def __init__(self, input: TalkInput) -> None:
        super().__init__(input, Talked)
        self.budget_approvers = ("ann",)

    @workflow.run
    async def run(self, input: TalkInput) -> Talked:
        talked = self.memory
        if input.needs:
            await self.require(Preconditions.check, input.needs)
        with self.node("talk"):
            while talked.rounds < input.rounds:
                if input.wait_between:
                    await self.hibernate(None)
                think = Think(
                    instruction=f"Say something ({talked.rounds}).",
                    after=talked.transcript,
                    max_output_tokens=input.max_output_tokens,
                )
                reply = await self.think(think, replace(THINK, heartbeat=input.heartbeat))
                talked.rounds += 1
                talked.models.append(reply.model)
                talked.transcript = reply.transcript
        return talked
