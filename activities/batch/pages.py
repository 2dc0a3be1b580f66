"""Opens the pages of a batch, reads their items, checks agents before they start, and stores verdicts."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from pydantic import ValidationError
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from activities.batch.listing import read_verdicts, sample_of
from activities.batch.records import (
    CheckedItem,
    Gathered,
    GatherRequest,
    ItemCheck,
    Items,
    OpenedPage,
    OpenRequest,
    PollRequest,
    PollResult,
    ReadRequest,
    WriteRequest,
)
from activities.calls.owner import owner_of_caller
from common.agents.agent import summary_of
from common.agents.batch import PAGE, BatchItem, ItemResult, Verdict, as_lines
from common.agents.batch_state import PageReport
from common.agents.fork import CALLER, mark_of
from common.agents.kinds import KINDS
from common.approval.signed import sign_start
from common.approval.signing import Signer
from common.artifacts import ArtifactRef, ArtifactStore
from common.client.client import AgentClient
from common.client.errors import AgentClientError, TooManyAgentsError
from common.client.limits import priority_of
from common.client.view import QUERY_PATIENCE
from common.errors import permanent, retry_after
from common.flaws import flaw_of
from common.names import UnusableValueError
from common.settings import Settings
from common.temporal import search_attributes

# Retry delay when the owner is at the limit of running agents; the item keeps its slot and waits.
ROOM_AGAIN = timedelta(seconds=10)


class BatchPages:
    """The activities of pages.

    Args:
        client: starts and queries the workflows of pages.
        settings: the operator's rules for starts.
        signer: signs those workflows' starts.
        artifacts: stores items and verdicts.
    """

    def __init__(self, client: Client, settings: Settings, signer: Signer, artifacts: ArtifactStore) -> None:
        self._client, self._signer, self._artifacts = client, signer, artifacts
        self._agents = AgentClient(client, settings, signer)

    @activity.defn(name="batch_open")
    async def open_page(self, request: OpenRequest) -> None:
        """Start the workflow of a page, idempotently, for the owner of the agent that runs the batch."""
        owner = await owner_of_caller(self._client)
        pairs = [
            SearchAttributePair(search_attributes.BATCH_ID, request.request.batch),
            *([SearchAttributePair(search_attributes.OWNER, owner)] if owner else []),
        ]
        with suppress(WorkflowAlreadyStartedError):  # by an earlier attempt
            await self._client.start_workflow(
                PAGE,
                sign_start(PAGE, request.request, self._signer),
                id=request.id,
                task_queue=activity.info().task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                memo=mark_of(CALLER.get()),
                priority=priority_of(owner),
                search_attributes=TypedSearchAttributes(pairs),
            )

    @activity.defn(name="batch_read")
    async def read_items(self, request: ReadRequest) -> Items:
        """The items of a page."""
        return await asyncio.to_thread(self._read, request.items)

    @activity.defn(name="batch_write")
    async def write_results(self, request: WriteRequest) -> ArtifactRef:
        """Store the verdicts of a page as an artifact of the batch's agent."""
        data = as_lines(request.results)
        return await asyncio.to_thread(self._artifacts.put, data, request.parent)

    @activity.defn(name="batch_check")
    async def check_item(self, check: ItemCheck) -> CheckedItem | None:
        """Check an agent that is to start as an item against the rules of every start.

        Older versions returned None.

        Raises:
            ApplicationError: permanent: `BadItem`, `StartRefused`; retryable: `TooManyAgents`.
        """
        kind = KINDS.get(check.kind)
        if kind is None:
            raise permanent("BadItem", f"there is no kind {check.kind[:40]!r}")
        try:
            input = kind.input.model_validate(check.input)
        except ValidationError as error:
            raise permanent("BadItem", flaw_of(error)) from None
        if input.carried is not None:
            raise permanent("BadItem", "`carried` is the program's own")
        try:
            await self._agents.check_start(check.kind, input, await owner_of_caller(self._client))
        except TooManyAgentsError as error:
            raise retry_after("TooManyAgents", str(error), ROOM_AGAIN) from None
        except (AgentClientError, UnusableValueError) as error:
            raise permanent("StartRefused", str(error)) from None
        return CheckedItem(subject=summary_of(input))

    @activity.defn(name="batch_look")
    async def poll(self, request: PollRequest) -> PollResult:
        """The last reports of those pages that have ended, perhaps without being able to report it."""
        found = [await self._last_report(each, request.parent) for each in request.pages]
        return PollResult(reports=tuple(each for each in found if each is not None))

    @activity.defn(name="batch_gather")
    async def gather(self, request: GatherRequest) -> Gathered:
        """Every verdict so far, including those of pages still open."""
        judged = [await asyncio.to_thread(read_verdicts, self._artifacts, ref) for ref in request.judged]
        results = [each for verdicts in judged for each in verdicts]
        for id in request.open:
            results += (await self._verdicts(id)).results
        ref = await asyncio.to_thread(self._artifacts.put, as_lines(results))
        return Gathered(results=ref, count=len(results))

    async def _last_report(self, opened: OpenedPage, parent: str) -> PageReport | None:
        """The last report of a page; None while it runs. If it did not complete, its open items are
        quarantined."""
        handle = self._client.get_workflow_handle(opened.id, result_type=PageReport)
        status = (await handle.describe()).status
        if status == WorkflowExecutionStatus.RUNNING:
            return None
        if status == WorkflowExecutionStatus.COMPLETED:  # its last report is on its way, or was lost
            report: PageReport = await handle.result()
            return report
        results = list((await self._verdicts(opened.id)).results)
        known, how = {each.key for each in results}, str(status.name if status else "gone").lower()
        for item in (await asyncio.to_thread(self._read, opened.page.items)).items:
            if item.key not in known:
                reason = f"its page of the batch ended before it: {how}"
                results.append(ItemResult(key=item.key, verdict=Verdict.QUARANTINED, reason=reason))
        aside = [each for each in results if each.verdict is Verdict.QUARANTINED]
        return PageReport(
            number=opened.report.number,
            serial=opened.report.serial + 1_000_000,
            waiting=0,
            done=len(results) - len(aside),
            quarantined=len(aside),
            set_aside=sample_of(aside),
            results=await asyncio.to_thread(self._artifacts.put, as_lines(results), parent),
        )

    async def _verdicts(self, id: str) -> WriteRequest:
        """The verdicts of a page, queried even after it has ended."""
        handle = self._client.get_workflow_handle(id)
        # A worker evicts a run as it ends and loses queries sent at that moment: time out soon, and retry.
        found: WriteRequest = await handle.query(
            "verdicts", result_type=WriteRequest, rpc_timeout=QUERY_PATIENCE
        )
        return found

    def _read(self, ref: ArtifactRef) -> Items:
        lines = self._artifacts.get(ref).splitlines()
        return Items(items=tuple(BatchItem.model_validate_json(line) for line in lines))
