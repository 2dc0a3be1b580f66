"""A stage for batches with small pages, and shortcuts to inspect them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from activities.batch.listing import BatchListing, read_verdicts
from activities.batch.pages import BatchPages
from common.agents.batch import BatchCommand, BatchItem, BatchStatus, ItemResult, as_lines, page_prefix
from common.agents.kinds import KINDS, Kind
from common.artifacts import ArtifactRef, ArtifactStore
from common.settings import Settings
from testing.waiting import eventually
from tests.support.agents.batcher import Batcher
from tests.support.agents.batcher_doubles import Batched, BatcherInput, Jobs
from tests.support.agents.brief import BriefAgent
from tests.support.agents.brief_input import BriefInput
from tests.support.stage import Stage
from workflows.batch import Batch
from workflows.batch_page import BatchPage

BRIEF = Kind("brief", "ends at once", BriefInput, "tests.support.agents.brief:BriefAgent")


class BatchStage(Stage):
    """A stage for batches."""

    def __init__(self, client: Client, settings: Settings) -> None:
        super().__init__(client, settings)
        self.jobs = Jobs()
        self.artifacts = ArtifactStore.of(settings)
        self.agents = [Batcher, Batch, BatchPage, BriefAgent]

    def objects(self) -> list[Any]:
        listing = BatchListing(self.artifacts)
        pages = BatchPages(self.client, self.settings, self.signer, self.artifacts)
        return [*super().objects(), self.jobs, listing, pages]

    @asynccontextmanager
    async def at_work(self, *, replays: bool = True) -> AsyncIterator[Self]:
        """Like any stage; pages are replayed and terminated like agents."""
        async with super().at_work(replays=replays):
            try:
                yield self
            finally:
                for agent in list(self.handles):
                    self.handles += await self.pages(agent)

    def items(self, names: Iterable[str]) -> ArtifactRef:
        """Store jobs with these names as items."""
        return self.artifacts.put(as_lines(BatchItem(key=name, argument={"name": name}) for name in names))

    def inputs(self, inputs: dict[str, BriefInput]) -> ArtifactRef:
        """Store agents' inputs as items, by their keys."""
        items = (
            BatchItem(key=key, argument=input.model_dump(mode="json", exclude_defaults=True))
            for key, input in inputs.items()
        )
        return self.artifacts.put(as_lines(items))

    async def run(self, names: Iterable[str], **more: Any) -> WorkflowHandle[Any, Any]:
        """Start a batch of jobs."""
        return await self.start(BatcherInput(items=self.items(names), **more), "batcher")

    async def pages(self, agent: WorkflowHandle[Any, Any]) -> list[WorkflowHandle[Any, Any]]:
        """Every page of an agent's batch, in order."""
        described = await agent.describe()
        prefix = page_prefix(agent.id, described.raw_description.workflow_execution_info.first_run_id)
        found = list[WorkflowHandle[Any, Any]]()
        while True:
            handle = self.client.get_workflow_handle(f"{prefix}{len(found) + 1}")
            try:
                await handle.describe()
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                return found
            found.append(handle)

    async def standing(self, agent: WorkflowHandle[Any, Any]) -> BatchStatus:
        """The batch's status, once there is one."""

        async def find() -> BatchStatus | None:
            return (await self.status(agent)).batch

        return await eventually(find)

    async def command(self, agent: WorkflowHandle[Any, Any], **command: Any) -> None:
        await agent.signal("batch", BatchCommand(**command))

    async def outcome(self, agent: WorkflowHandle[Any, Any]) -> tuple[Batched, dict[str, ItemResult]]:
        """The result, and the verdicts by key; checks that no key has two."""
        batched = Batched.model_validate(await agent.result())
        return batched, self.verdicts(batched.counts.results)

    def verdicts(self, refs: Sequence[ArtifactRef]) -> dict[str, ItemResult]:
        found = [each for ref in refs for each in read_verdicts(self.artifacts, ref)]
        assert len({each.key for each in found}) == len(found)
        return {each.key: each for each in found}


def know_brief(monkeypatch: Any) -> None:
    """Register the brief agent as a kind, for entry points and checks."""
    monkeypatch.setitem(KINDS, BRIEF.name, BRIEF)
