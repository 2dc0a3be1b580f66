"""Moves closed agents into the archive: copied and read back first, deleted from Temporal later."""

from __future__ import annotations

import asyncio
import base64
import gzip
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowHistory
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.archive.facts import key_ids, key_ids_in, nodes_of
from activities.archive.holds import Holds
from activities.archive.records import (
    Cleared,
    DueAgent,
    DuePage,
    DueRequest,
    Removed,
    RemoveRequest,
    Stored,
    StoreOutcome,
    StoreRequest,
)
from activities.archive.removal import clear_payloads, delete_runs, is_there
from activities.calls.heartbeats import heartbeats
from common.agent_objects import delete_work
from common.archive.chain import get_checked, put_checked
from common.archive.layout import (
    ArchivedObject,
    ArchivedRun,
    ArchiveRecord,
    IndexRow,
    record_key,
    run_folder,
)
from common.archive.payload_sweep import payloads_in
from common.archive.reader import pack
from common.client.rows import AgentRow, row_of
from common.client.view import AgentView, patient_view_of
from common.client.visibility import AGENTS, quote
from common.digest import digest_bytes
from common.errors import permanent
from common.names import UnusableValueError
from common.object_store import ObjectMissingError, ObjectStore
from common.settings import Settings
from common.temporal import search_attributes
from common.temporal.payload_store import PayloadDamagedError, referenced_key

# An agent on hold stays in Temporal until this long before retention would delete it; then it is archived.
RESCUE_BEFORE = timedelta(days=3)


class AgentArchiver:
    """The activities that list, copy and remove agents.

    Args:
        client: a client of the namespace whose agents are archived.
        objects: the store of the archive and of large payloads.
        settings: when agents are due, and which are on hold.
    """

    def __init__(self, client: Client, objects: ObjectStore, settings: Settings) -> None:
        self._client, self._objects, self._settings = client, objects, settings

    @activity.defn(name="archive_list_due")
    async def list_due(self, request: DueRequest) -> DuePage:
        """The next page of agents that closed long enough ago."""
        shortest = self._settings.archive.shortest if request.older_than is None else request.older_than
        found = self._client.list_workflows(
            f"{AGENTS} AND CloseTime <= '{(request.at - shortest).isoformat()}'",
            page_size=request.page,
            next_page_token=base64.b64decode(request.cursor) if request.cursor else None,
        )
        await found.fetch_next_page()
        rows = [row_of(execution) for execution in found.current_page or ()]
        due = [row for row in rows if self._is_due(row, request)]
        return DuePage(
            agents=[DueAgent(id=row.id, run_id=row.run_id) for row in due],
            cursor=base64.b64encode(found.next_page_token or b"").decode(),
        )

    @activity.defn(name="archive_store")
    async def store(self, request: StoreRequest) -> Stored:
        """Copy an agent with every run of its chain, and read the copy back. It stays in Temporal.

        Raises:
            StoreUnavailableError: the store cannot be used now.
        """
        async with heartbeats():
            return await self._store(request)

    @activity.defn(name="archive_remove")
    async def remove(self, request: RemoveRequest) -> Removed:
        """Ask the server to delete an agent, after reading all of it back from the archive.

        Raises:
            ApplicationError: type `ArchiveMismatch`, permanent: the agent changed after it was archived.
            ArchiveDamagedError, StoreUnavailableError: its archived copy is damaged or incomplete, or the
                store cannot be read now.
        """
        async with heartbeats():
            data = await asyncio.to_thread(get_checked, self._objects, request.record)
            record = ArchiveRecord.model_validate_json(data)
            for each in record.objects:
                await asyncio.to_thread(get_checked, self._objects, each)
            await asyncio.to_thread(self._delete_leftovers, record)
            await self._remove(record)
            return Removed(id=record.id, runs=[run.run_id for run in record.runs])

    @activity.defn(name="archive_clear")
    async def clear(self, agent: Removed) -> Cleared:
        """Wait until the server has deleted an agent, then delete its payload objects and working data.

        Its artifacts and files stay, because its archived history refers to them.
        """
        async with heartbeats():
            await clear_payloads(self._client, self._objects, agent.id, agent.runs)
            if not await is_there(self._client, agent.id):
                await asyncio.to_thread(delete_work, self._objects, agent.id)
            return Cleared(id=agent.id)

    def _is_due(self, row: AgentRow, request: DueRequest) -> bool:
        if row.closed_at is None:
            return False
        ttl = self._ttl(row, request.older_than)
        return row.closed_at <= request.at - ttl

    def _ttl(self, row: AgentRow, older_than: timedelta | None) -> timedelta:
        return self._settings.archive.ttl(row.kind, row.status) if older_than is None else older_than

    async def _store(self, request: StoreRequest) -> Stored:
        described = await self._describe(request.agent.id)
        if described is None:
            return Stored(fate=StoreOutcome.GONE)
        row = row_of(described)
        if row.running or row.closed_at is None or row.run_id != request.agent.run_id:
            return Stored(fate=StoreOutcome.BUSY)
        batch = described.typed_search_attributes.get(search_attributes.BATCH_ID) or ""
        held = Holds.load(self._settings).cover(row.id, row.owner, batch)
        if held and request.at < row.closed_at + await self._retention() - RESCUE_BEFORE:
            return Stored(fate=StoreOutcome.HELD)
        try:
            view = await patient_view_of(self._client, described)
        except ApplicationError as error:
            activity.logger.warning("%s is left in Temporal: %s", row.id, error.message)
            return Stored(fate=StoreOutcome.DAMAGED)
        patience = 2 * self._ttl(row, request.older_than)
        if not view.live and request.at < row.closed_at + patience:
            return Stored(fate=StoreOutcome.UNANSWERED)
        try:
            return await self._copy(view, batch, request.at)
        except (ObjectMissingError, PayloadDamagedError) as error:
            activity.logger.warning("%s is left in Temporal: %s", row.id, error)
            await asyncio.to_thread(self._delete_partial_copy, view)
            return Stored(fate=StoreOutcome.DAMAGED)

    async def _copy(self, view: AgentView, batch: str, at: datetime) -> Stored:
        histories = await self._histories(view.id, view.run_id)
        record = ArchiveRecord(
            id=view.id,
            run_id=view.run_id,
            kind=view.kind,
            owner=view.owner,
            namespace=self._client.namespace,
            archived_at=at,
            runs=[],
            view=await self._put_view(view),
        )
        nodes, keys = {entry.node for entry in view.notebook} | {view.node}, set[str]()
        for run_id, history in histories.items():
            record.runs.append(await self._put_history(view, run_id, history))
            keys |= await self._put_payloads(record, view, history, is_last=run_id == view.run_id)
            nodes |= nodes_of(history.events)
        body = record.model_dump_json().encode()
        key = record_key(view.kind, view.id, view.run_id)
        stored = await asyncio.to_thread(put_checked, self._objects, key, body)
        row = IndexRow(
            id=view.id,
            run_id=view.run_id,
            kind=view.kind,
            owner=view.owner,
            batch=batch,
            status=view.status,
            started=view.started_at,
            closed=view.closed_at or at,
            node=view.node,
            nodes=sorted(nodes - {""}),
            stuck_at=view.stuck_at,
            failure=search_attributes.fit((view.failure or "").partition(":")[0], 200),
            cost=float(view.cost.usd),
            keys=sorted(keys),
            sha256=stored.sha256,
        )
        size = stored.size + sum(each.size for each in record.objects)
        return Stored(fate=StoreOutcome.STORED, row=row, record=stored, bytes=size)

    async def _put_view(self, view: AgentView) -> ArchivedObject:
        document = view.model_dump_json().encode()
        return await self._put(
            view, await pack(self._client.data_converter, self._client.namespace, view.id, document), "view"
        )

    async def _put_history(self, view: AgentView, run_id: str, history: WorkflowHistory) -> ArchivedRun:
        text = history.to_json().encode()
        zipped = await asyncio.to_thread(gzip.compress, text, mtime=0)
        return ArchivedRun(
            run_id=run_id,
            started_at=history.events[0].event_time.ToDatetime(tzinfo=UTC),
            events=len(history.events),
            history=await self._put(view, zipped, "history.json.gz"),
        )

    async def _put_payloads(
        self, record: ArchiveRecord, view: AgentView, history: WorkflowHistory, *, is_last: bool
    ) -> set[str]:
        """Copy the payloads that a history refers to; return the ids of all keys they are encrypted with."""
        payloads = [payload for event in history.events for payload in payloads_in(event)]
        keys = key_ids(payloads)
        for key in dict.fromkeys(filter(None, map(referenced_key, payloads))):
            if key in record.payloads:
                continue
            try:
                body = await asyncio.to_thread(self._objects.get, key)
            except ObjectMissingError:
                if is_last:
                    raise
                # Expected for earlier runs: the sweep deletes payloads of a run that continued as new.
                record.missing.append(key)
                continue
            if digest_bytes(body) != key.rpartition("/")[2]:
                raise PayloadDamagedError(f"{key} was changed in the store")
            record.payloads[key] = await self._put(view, body, "payload")
            keys |= key_ids_in(body)
        if is_last:
            record.missing = [key for key in record.missing if key not in record.payloads]
        return keys

    async def _put(self, view: AgentView, data: bytes, name: str) -> ArchivedObject:
        key = f"{run_folder(view.kind, view.id, view.run_id)}{digest_bytes(data)}.{name}"
        return await asyncio.to_thread(put_checked, self._objects, key, data)

    async def _histories(self, id: str, run_id: str) -> dict[str, WorkflowHistory]:
        """The histories of all runs of this id that Temporal still has, by run id, oldest first."""
        waiting, found = [run_id], dict[str, WorkflowHistory]()
        try:
            listed = self._client.list_workflows(f"WorkflowId = {quote(id)}")
            waiting += [known.run_id async for known in listed]
        except UnusableValueError:
            pass  # following the chain below finds the runs as well
        while waiting:
            each = waiting.pop()
            if not each or each in found:
                continue
            try:
                history = await self._client.get_workflow_handle(id, run_id=each).fetch_history()
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND or each == run_id:
                    raise
                continue
            found[each] = history
            # Visibility may lag, so follow the chain as well.
            waiting.append(
                history.events[0].workflow_execution_started_event_attributes.continued_execution_run_id
            )
        last = found.pop(run_id)
        earlier = sorted(found.items(), key=lambda each: each[1].events[0].event_time.ToDatetime())
        return {**dict(earlier), run_id: last}

    def _delete_partial_copy(self, view: AgentView) -> None:
        """Delete an incomplete copy. The record is written last, so without one the copy is incomplete."""
        folder = run_folder(view.kind, view.id, view.run_id)
        if self._objects.head(record_key(view.kind, view.id, view.run_id)) is None:
            self._objects.delete([each.key for each in self._objects.list(folder)])

    def _delete_leftovers(self, record: ArchiveRecord) -> None:
        """Delete objects of killed attempts that the record does not name."""
        # Reading a history again may order its maps differently, which changes its digest and its name.
        names = {record_key(record.kind, record.id, record.run_id), *(each.key for each in record.objects)}
        listed = self._objects.list(run_folder(record.kind, record.id, record.run_id))
        self._objects.delete([each.key for each in listed if each.key not in names])

    async def _remove(self, record: ArchiveRecord) -> None:
        described = await self._describe(record.id)
        if described is not None and (described.close_time is None or described.run_id != record.run_id):
            raise permanent("ArchiveMismatch", f"{record.id} runs again")
        handle = self._client.get_workflow_handle
        for run in record.runs if described is not None else ():
            try:
                length = (await handle(record.id, run_id=run.run_id).describe()).history_length
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                continue
            if length != run.events:
                raise permanent("ArchiveMismatch", f"{record.id}: {length} events, and {run.events} archived")
        # Delete the last run last: a retry after a kill finds the agent by it.
        await delete_runs(self._client, record.id, [run.run_id for run in record.runs])

    async def _describe(self, id: str) -> WorkflowExecutionDescription | None:
        try:
            return await self._client.get_workflow_handle(id).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None

    async def _retention(self) -> timedelta:
        request = DescribeNamespaceRequest(namespace=self._client.namespace)
        described = await self._client.workflow_service.describe_namespace(request)
        return described.config.workflow_execution_retention_ttl.ToTimedelta()
