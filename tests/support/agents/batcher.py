"""An agent that runs a batch."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from tests.support.agents.batcher_doubles import Batched, BatcherInput, BatcherMemory, Jobs
from workflows.core.agent import READ, Agent, agents_of, calling


@workflow.defn(name="batcher")
class Batcher(Agent[BatcherInput, BatcherMemory]):
    """Processes its items in one batch."""

    @workflow.init
    def __init__(self, input: BatcherInput) -> None:
        super().__init__(input, BatcherMemory)

    @workflow.run
    async def run(self, input: BatcherInput) -> Batched:
        policy = replace(READ, heartbeat=timedelta(seconds=30))
        if input.kind:
            work = agents_of(input.kind)
        elif input.together > 1:
            work = calling(Jobs.do_several, policy, input.together)
        else:
            work = calling(Jobs.do, policy)
        with self.node("batch"):
            counts = await self.batch(input.items, work, input.at_once)
        return Batched(counts=counts, so_far=await self.batch_results() if input.reports else None)
