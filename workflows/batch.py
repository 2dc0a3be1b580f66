"""The batch: runs an agent of one kind for each input in a file, a limited number at once."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.batch.listing import BatchListing
    from activities.batch.records import FileRequest
    from common.agents.batch_agent import BatchInput, BatchMemory, BatchResult
    from workflows.core.agent import LONG, Agent, agents_of


@workflow.defn(name="batch")
class Batch(Agent[BatchInput, BatchMemory]):
    """Runs an agent for every line of a file."""

    long_lived = True

    @workflow.init
    def __init__(self, input: BatchInput) -> None:
        super().__init__(input, BatchMemory)

    @workflow.run
    async def run(self, input: BatchInput) -> BatchResult:
        """List the lines, and run an agent for each."""
        memory = self.memory
        if memory.listing is None:
            with self.node("items"):
                request = FileRequest(path=input.items, kind=input.kind)
                memory.listing = await self.call(BatchListing.list_file, request, LONG)
        with self.node("batch"):
            counts = await self.batch(memory.listing, agents_of(input.kind), input.at_once, input.batch)
        status = self.status().batch
        assert status is not None
        return BatchResult.of(counts, status.id, status.set_aside)
