"""Erases an owner's agents, live and archived, except those on legal hold."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime

from pydantic import AwareDatetime, BaseModel
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.archive.holds import Holds
from activities.archive.ledger import ArchiveLedger
from activities.archive.records import EnterRequest
from activities.archive.removal import clear_payloads, delete_runs, is_there
from activities.calls.heartbeats import heartbeats
from activities.llm.ledger import Ledger
from activities.mail.outbox import objects_of as letters_of
from common.agent_objects import is_artifact, objects_of
from common.agents.batch import PAGE_PREFIX
from common.approval.action_log import ActionLog
from common.archive.index import ArchiveIndex, IndexQuery, unpack_rows
from common.archive.layout import Erased, Forgotten, IndexRow, agent_folder, day_of, run_folder
from common.client.visibility import quote
from common.legacy_data import forget_legacy
from common.notices.types import COURIER, agent_of, courier_id
from common.object_store import ObjectStore, StoredObject
from common.owner_cache import owner_cache_prefix
from common.settings import Settings
from common.temporal import search_attributes
from common.temporal.payload_store import agent_prefix


class ErasePart(BaseModel, frozen=True):
    """Asks for an owner's agents to be erased, if they started no later than `until`.

    `by` identifies this erasure; retries use the same value.
    """

    owner: str
    by: str
    at: AwareDatetime
    until: AwareDatetime


class ErasureRecord(BaseModel, frozen=True):
    """What the erasure named `by` has deleted."""

    by: str
    at: AwareDatetime
    erased: Erased


class Erasure:
    """The activities that erase.

    Args:
        client: a client of the namespace whose agents are erased.
        objects: the store of the archive and of large payloads.
        settings: which agents are on hold.
        ledger: enters the erasure into the chain.
    """

    def __init__(
        self, client: Client, objects: ObjectStore, settings: Settings, ledger: ArchiveLedger
    ) -> None:
        self._client, self._objects, self._settings, self._ledger = client, objects, settings, ledger
        self._answers = Ledger.of(settings)

    @activity.defn(name="erase_live")
    async def erase_live(self, request: ErasePart) -> Erased:
        """Terminate and delete the owner's agents in Temporal and the workflows that deliver their notices.

        The result counts this attempt only: what an earlier attempt deleted can no longer be counted.
        """
        async with heartbeats():
            holds, found = Holds.load(self._settings), Erased(owner=request.owner)
            runs, kinds, held = dict[str, list[str]](), dict[str, str](), set[str]()
            first = dict[str, datetime]()
            query = f"{search_attributes.OWNER.name} = {quote(request.owner)}"
            async for execution in self._client.list_workflows(query):
                batch = execution.typed_search_attributes.get(search_attributes.BATCH_ID) or ""
                # A notice is erased or held like the agent it is about.
                agent = agent_of(execution.id) if execution.workflow_type == COURIER else execution.id
                if holds.cover(agent, request.owner, batch):
                    held.add(agent)
                    continue
                runs.setdefault(execution.id, []).append(execution.run_id)
                kinds[execution.id] = execution.workflow_type
                first[execution.id] = min(execution.start_time, first.get(execution.id, execution.start_time))
            for id in [id for id, started in first.items() if started > request.until]:
                del runs[id], kinds[id]
            found.held = len(held)
            there = {id for id in runs if await self._end(id)}
            # Delete these before the agents: a retry after a kill finds them through the agents.
            to_delete = await asyncio.to_thread(self._letters_and_acts, runs)
            to_delete += await asyncio.to_thread(self._never_entered, request.owner, kinds)
            # These go even if all of the owner's agents are on hold: they are only a cache.
            to_delete += await asyncio.to_thread(self._list_objects, owner_cache_prefix(request.owner))
            await asyncio.to_thread(self._objects.delete, [each.key for each in to_delete])
            own = await asyncio.to_thread(self._forget_own, runs)
            found.objects, found.artifacts = len(to_delete) + own.objects, own.artifacts
            found.bytes = own.bytes + sum(each.size for each in to_delete)
            found.live = sum(not id.startswith((courier_id(""), PAGE_PREFIX)) for id in there)
            for id, ids in runs.items():
                found = found.plus(await self._erase(id, ids))
            return found

    @activity.defn(name="erase_archived")
    async def erase_archived(self, request: ErasePart) -> Erased:
        """Remove the owner's rows from the index, and the agents' archived objects from the store.

        New index files without these rows are entered into the chain first; then the old files and the
        agents' objects are deleted. After a kill in between, the next attempt or the next archivist run
        finishes the job.
        """
        async with heartbeats():
            _, newest = await self._ledger.check_head()
            if newest is None or newest.by != request.by:
                await self._enter(request)
                _, newest = await self._ledger.check_head()
            if newest is None or newest.by != request.by:
                return Erased(owner=request.owner, held=await self._held(request.owner))
            await asyncio.to_thread(self._objects.delete, newest.removed)
            return newest.erased or Erased(owner=request.owner)

    @activity.defn(name="keep_erasure")
    def store_record(self, record: ErasureRecord) -> None:
        """Keep the counts of what was erased, as evidence for later; none of its content."""
        counts = record.erased.model_dump(exclude={"owner"})
        kept = Forgotten(**counts, at=record.at).model_dump_json(exclude={"owner"})
        self._objects.put(f"{Forgotten.prefix(record.erased.owner)}{record.by}.json", kept.encode())

    async def _end(self, id: str) -> bool:
        """Terminate the agent; return whether it existed, as visibility still lists deleted ones briefly."""
        was_there = await is_there(self._client, id)
        try:
            await self._client.get_workflow_handle(id).terminate("its owner is forgotten")
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        return was_there

    async def _erase(self, id: str, runs: list[str]) -> Erased:
        prefix = agent_prefix(self._client.namespace, id)
        listed = await asyncio.to_thread(self._list_objects, prefix)
        await delete_runs(self._client, id, runs)
        await clear_payloads(self._client, self._objects, id, runs)
        # No run is left, so payloads of signals that never reached the agent can go as well.
        await asyncio.to_thread(self._objects.delete, [each.key for each in listed])
        return Erased(objects=len(listed), bytes=sum(each.size for each in listed))

    def _letters_and_acts(self, agents: Collection[str]) -> list[StoredObject]:
        return letters_of(self._objects, agents) + ActionLog(self._objects).objects_of(agents)

    def _never_entered(self, owner: str, kinds: dict[str, str]) -> list[StoredObject]:
        """Objects of these agents that a killed archivist had copied but not yet entered in the index."""
        if not kinds:
            return []
        entered = {row.id for row in ArchiveIndex(self._objects).find(IndexQuery(owner=owner))}
        return [
            each
            for id, kind in kinds.items()
            if id not in entered
            for each in self._objects.list(agent_folder(kind, id))
        ]

    def _forget_own(self, agents: Collection[str]) -> Erased:
        """Delete what the agents stored for themselves: artifacts, files, working data, model answers."""
        own = objects_of(self._objects, agents)
        self._objects.delete([each.key for each in own])
        self._answers.forget(agents)
        old = forget_legacy(self._settings, agents)
        artifacts = sum(is_artifact(each.key) for each in own)
        return Erased(
            objects=len(own) - artifacts,
            artifacts=artifacts + len(old),
            bytes=sum(old) + sum(each.size for each in own),
        )

    async def _enter(self, request: ErasePart) -> None:
        """Enter the rewritten index into the chain, if the owner has rows in it."""
        holds = Holds.load(self._settings)
        found = await asyncio.to_thread(self._rows_of, request.owner)
        kept, removed, erased = list[IndexRow](), list[str](), Erased(owner=request.owner)
        rows_to_erase = dict[str, IndexRow]()
        for key, rows in found.items():
            erasable = [
                row
                for row in rows
                if row.owner == request.owner
                and row.started <= request.until
                and not holds.cover(row.id, row.owner, row.batch)
            ]
            erased.held += sum(
                row.owner == request.owner and row.started <= request.until for row in rows
            ) - len(erasable)
            if erasable:
                removed.append(key)
                kept += [row for row in rows if row not in erasable]
                rows_to_erase.update((row.run_id, row) for row in erasable)
                erased.index_rows += len(erasable)
        to_delete = list[StoredObject]()
        for row in rows_to_erase.values():
            prefix = run_folder(row.kind, row.id, row.run_id)
            listed = await asyncio.to_thread(self._list_objects, prefix)
            if not await is_there(self._client, row.id):
                # Payloads of signals that were on their way to the agent when it was archived.
                leftover = agent_prefix(self._client.namespace, row.id)
                listed += await asyncio.to_thread(self._list_objects, leftover)
            to_delete += listed
            erased.archived += 1
        ids = {row.id for row in rows_to_erase.values()}
        to_delete += await asyncio.to_thread(self._letters_and_acts, ids)
        own = await asyncio.to_thread(self._forget_own, ids)
        removed += [each.key for each in to_delete]
        erased.objects, erased.artifacts = len(to_delete) + own.objects, own.artifacts
        erased.bytes = own.bytes + sum(each.size for each in to_delete)
        if rows_to_erase:
            entry = EnterRequest(by=request.by, at=request.at, rows=[], records=[])
            await self._ledger.enter(request.by, entry, [], kept, tuple(removed), erased)

    def _list_objects(self, prefix: str) -> list[StoredObject]:
        return list(self._objects.list(prefix))

    def _rows_of(self, owner: str) -> dict[str, list[IndexRow]]:
        """The index files in which the owner has rows, with all their rows."""
        index = ArchiveIndex(self._objects)
        days = {row.day for row in index.find(IndexQuery(owner=owner))}
        files = {key: unpack_rows(self._objects.get(key)) for key in index.files() if day_of(key) in days}
        return {key: rows for key, rows in files.items() if any(row.owner == owner for row in rows)}

    async def _held(self, owner: str) -> int:
        rows = await asyncio.to_thread(ArchiveIndex(self._objects).find, IndexQuery(owner=owner))
        return len(rows)
