"""The agents of the bench of batches; `batch_worker.py` runs them."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bench.peers.batching_types import BatchedInput, Job, Jobs, Nap, Nothing
    from common.agents.batch import BatchCounts
from workflows.core.agent import READ, Agent, agents_of, calling


@workflow.defn(name="bench-batch")
class BatchAgent(Agent[BatchedInput, Nothing]):
    """Runs a batch of trivial jobs, or of sleeping agents."""

    @workflow.init
    def __init__(self, input: BatchedInput) -> None:
        super().__init__(input, Nothing)

    @workflow.run
    async def run(self, input: BatchedInput) -> BatchCounts:
        with self.node("batch"):
            work = agents_of(input.kind) if input.kind else calling(Jobs.do, READ)
            return await self.batch(input.items, work, input.at_once)


@workflow.defn(name="bench-sleeper")
class Sleeper(Agent[Nap, Nothing]):
    """Sleeps until it is woken."""

    @workflow.init
    def __init__(self, input: Nap) -> None:
        super().__init__(input, Nothing)

    @workflow.run
    async def run(self, input: Nap) -> Job:
        with self.node("sleep"):
            await self.hibernate(None)
        return Job(number=input.number)
