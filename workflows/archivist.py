"""The archivist moves closed agents from Temporal to the archive; the eraser deletes an owner's agents.

Neither is an agent: they have no owner and no memory. Both change the archive only under the workflow id
`archivist`, so Temporal ensures that only one works at a time. Both run on the workers' current build from
one task to the next: pinned to a build that is removed, they would hold that id for ever. A change of their
steps needs `workflow.patched`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, VersioningBehavior, WorkflowIDReusePolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from activities.archive.agents import AgentArchiver
    from activities.archive.erasure import ErasePart, Erasure, ErasureRecord
    from activities.archive.ledger import ArchiveLedger
    from activities.archive.records import (
        DueAgent,
        DuePage,
        DueRequest,
        EnterRequest,
        RecoverRequest,
        Removed,
        RemoveRequest,
        Stored,
        StoreOutcome,
        StoreRequest,
        SweepRequest,
    )
    from common.archive.layout import (
        ARCHIVIST,
        ERASER,
        ArchivedObject,
        ArchiveReport,
        ArchiveRequest,
        Erased,
        EraseRequest,
        Head,
    )
    from workflows.starts import require_signed

# Agents archived at once: archiving must not slow down the running ones.
AT_ONCE = 4
DRY_RUN_IDS = 1000
# A store or a server that is down comes back eventually, and nothing is lost by waiting.
ARCHIVE_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
# Heartbeats come every second, so a killed worker is noticed soon.
WORK = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(hours=6),
    heartbeat_timeout=timedelta(seconds=5),
    retry_policy=ARCHIVE_RETRY,
)
# One agent that cannot be moved must not hold up all others; the next run tries it again.
ONE_AGENT = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(hours=1),
    schedule_to_close_timeout=timedelta(hours=6),
    heartbeat_timeout=timedelta(seconds=5),
    retry_policy=ARCHIVE_RETRY,
)


@workflow.defn(name=ARCHIVIST, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Archivist:
    """Archives agents that are due, in batches: copy, read back, enter in index and chain, then delete."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._report = ArchiveReport()

    @workflow.run
    async def run(self, request: ArchiveRequest) -> ArchiveReport:
        """Work until no more agents are due, and return what was done."""
        await require_signed(request)
        if request.dry_run:
            return await self._look(request)
        if workflow.info().workflow_id != ARCHIVIST:
            return await _under_the_one_id(request)
        self._report = request.report
        if request.at is None:
            request = request.model_copy(update={"at": workflow.now()})
            self._report.head = await self._recover()
        while True:
            page = await self._due(request)
            stored = await asyncio.gather(*(self._store(each, request) for each in page.agents))
            records = [each.record for each in stored if each.record]
            if records:
                await self._enter(request, stored, records)
                await self._remove(records)
            request.batches, request.cursor = request.batches + 1, page.cursor
            if not page.cursor:
                break
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(request.model_copy(update={"report": self._report}))
        await self._sweep()
        return self._report

    @workflow.query
    def report(self) -> ArchiveReport:
        """The work done so far."""
        return self._report

    async def _look(self, request: ArchiveRequest) -> ArchiveReport:
        """Which agents are due, and nothing else."""
        request = request.model_copy(update={"at": workflow.now()})
        while True:
            page = await self._due(request)
            room = DRY_RUN_IDS - len(self._report.due_ids)
            self._report.due_ids += [each.id for each in page.agents[:room]]
            if not page.cursor:
                return self._report
            request.cursor = page.cursor

    async def _recover(self) -> Head:
        by = workflow.info().run_id
        unfinished = await workflow.execute_activity_method(
            ArchiveLedger.recover, RecoverRequest(by=by), **WORK
        )
        await self._remove(unfinished.records)
        return unfinished.head

    async def _due(self, request: ArchiveRequest) -> DuePage:
        wanted = DueRequest(
            at=request.at or workflow.now(), older_than=request.older_than, cursor=request.cursor
        )
        page = await workflow.execute_activity_method(
            AgentArchiver.list_due,
            wanted,
            start_to_close_timeout=timedelta(minutes=1),
            retry_policy=ARCHIVE_RETRY,
        )
        self._report.due += len(page.agents)
        return page

    async def _store(self, agent: DueAgent, request: ArchiveRequest) -> Stored:
        wanted = StoreRequest(agent=agent, at=request.at or workflow.now(), older_than=request.older_than)
        async with self._slots:
            try:
                stored = await workflow.execute_activity_method(AgentArchiver.store, wanted, **ONE_AGENT)
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                workflow.logger.warning("%s is left in Temporal: %s", agent.id, error.cause)
                self._pass_over("failed")
                return Stored(fate=StoreOutcome.DAMAGED)
        if stored.fate is not StoreOutcome.STORED:
            self._pass_over(stored.fate)
        return stored

    async def _enter(
        self, request: ArchiveRequest, stored: Sequence[Stored], records: list[ArchivedObject]
    ) -> None:
        batch = EnterRequest(
            by=f"{workflow.info().run_id}/{request.batches}",
            at=workflow.now(),
            rows=[each.row for each in stored if each.row],
            records=records,
        )
        entered = await workflow.execute_activity_method(ArchiveLedger.enter_batch, batch, **WORK)
        self._report.head = entered.head
        self._report.archived += len(records)
        self._report.bytes += entered.bytes + sum(each.bytes for each in stored)

    async def _remove(self, records: Sequence[ArchivedObject]) -> None:
        removed = await asyncio.gather(*(self._remove_one(each) for each in records))
        # The server deletes asynchronously: request all deletions first, then wait for each.
        await asyncio.gather(*(self._clear(each) for each in removed if each))

    async def _remove_one(self, record: ArchivedObject) -> Removed | None:
        async with self._slots:
            try:
                request = RemoveRequest(record=record)
                return await workflow.execute_activity_method(AgentArchiver.remove, request, **ONE_AGENT)
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                workflow.logger.warning("%s stays in Temporal too: %s", record.key, error.cause)
                self._pass_over("kept")
                return None

    async def _clear(self, agent: Removed) -> None:
        async with self._slots:
            await workflow.execute_activity_method(AgentArchiver.clear, agent, **WORK)

    async def _sweep(self) -> None:
        swept = await workflow.execute_activity_method(
            ArchiveLedger.sweep, SweepRequest(at=workflow.now()), **WORK
        )
        self._report.swept, self._report.swept_bytes = swept.deleted, swept.deleted_bytes

    def _pass_over(self, why: str) -> None:
        self._report.passed_over[why] = self._report.passed_over.get(why, 0) + 1


@workflow.defn(name=ERASER, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Eraser:
    """Erases an owner's agents: those in Temporal first, so that none can be archived meanwhile."""

    @workflow.run
    async def run(self, request: EraseRequest) -> Erased:
        """Erase until nothing of the owner is left, and return what was erased."""
        await require_signed(request)
        if workflow.info().workflow_id != ARCHIVIST:
            raise ApplicationError(
                f"an {ERASER} works under the id {ARCHIVIST}", type="WrongId", non_retryable=True
            )
        part = ErasePart(
            owner=request.owner, by=workflow.info().run_id, at=workflow.now(), until=request.until
        )
        # First finish the last batch of an archivist that was killed: it may include this owner's agents.
        await workflow.execute_activity_method(ArchiveLedger.recover, RecoverRequest(by=part.by), **WORK)
        erased = Erased(owner=request.owner)
        while True:
            live = await workflow.execute_activity_method(Erasure.erase_live, part, **WORK)
            erased = erased.plus(live)
            if not live.live:
                break
        archived = await workflow.execute_activity_method(Erasure.erase_archived, part, **WORK)
        held = erased.held + archived.held
        erased = erased.plus(archived).model_copy(update={"held": held})
        found = erased.live or erased.archived or erased.objects or erased.artifacts
        if found and workflow.patched("erasures are kept"):
            record = ErasureRecord(by=part.by, at=part.at, erased=erased)
            await workflow.execute_activity_method(Erasure.store_record, record, **WORK)
        return erased


async def _under_the_one_id(request: ArchiveRequest) -> ArchiveReport:
    """Run the archivist under its one id as a child: a schedule appends the time to the ids it starts."""
    try:
        return await workflow.execute_child_workflow(
            Archivist.run,
            request,
            id=ARCHIVIST,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )
    except WorkflowAlreadyStartedError:
        raise ApplicationError("another one is at work", type="ArchivistAtWork", non_retryable=True) from None
