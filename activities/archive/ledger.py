"""The archive's index and chain: enters what was stored, and finishes what a killed archivist left undone."""

from __future__ import annotations

import asyncio

from temporalio import activity
from temporalio.client import Client

from activities.archive.records import (
    Entered,
    EnterRequest,
    RecoverRequest,
    SweepDone,
    SweepRequest,
    Unfinished,
)
from activities.calls.heartbeats import heartbeats
from common.archive.anchor import ArchiveAnchor
from common.archive.chain import ArchiveDamagedError, Chain, put_checked
from common.archive.index import pack_rows
from common.archive.layout import INDEX, RECORD, ArchivedObject, Erased, Head, IndexRow, Manifest, number_of
from common.archive.payload_sweep import ForeignStoreError, sweep
from common.errors import permanent
from common.object_store import ObjectStore


class ArchiveLedger:
    """The activities that enter, recover and sweep. One archivist runs at a time: the chain has one writer.

    Args:
        client: a client of the namespace that the archive belongs to.
        objects: the archive's store.
        anchor: stores the chain's head in Temporal.
    """

    def __init__(self, client: Client, objects: ObjectStore, anchor: ArchiveAnchor) -> None:
        self._client, self._objects, self._anchor = client, objects, anchor
        self._chain = Chain(objects)

    @activity.defn(name="archive_recover")
    async def recover(self, request: RecoverRequest) -> Unfinished:
        """Finish what a killed archivist left undone: delete rows never entered and objects to be removed.

        Returns:
            The records of the newest batch, whose agents may still be in Temporal.

        Raises:
            ApplicationError: type `ArchiveRolledBack`, `ArchiveForeign` or `ArchiveUnreadable`, permanent:
                nothing may be added to the archive in this state.
        """
        async with heartbeats():
            head, newest = await self.check_head()
            if head.number:
                await self._anchor.keep(head)
            await asyncio.to_thread(self._clear, head, newest)
            records = [each for each in newest.added if each.key.endswith(f"/{RECORD}")] if newest else []
            return Unfinished(head=head, records=records)

    @activity.defn(name="archive_seal")
    async def enter_batch(self, request: EnterRequest) -> Entered:
        """Enter a batch: write its rows and manifest, read both back, store the chain's head in Temporal."""
        async with heartbeats():
            head, size = await self.enter(request.by, request, request.records, request.rows)
            return Entered(head=head, bytes=size)

    @activity.defn(name="archive_sweep")
    async def sweep(self, request: SweepRequest) -> SweepDone:
        """Delete the payloads that no run refers to."""
        async with heartbeats():
            try:
                done = await sweep(self._client, self._objects, request.at)
            except ForeignStoreError as error:
                raise permanent("ForeignStore", str(error)) from error
            return SweepDone(deleted=done.deleted, deleted_bytes=done.deleted_bytes)

    async def check_head(self) -> tuple[Head, Manifest | None]:
        """Check that the archive is this service's and not rolled back; return its head and newest manifest.

        Raises:
            ApplicationError: as ``recover``.
        """
        try:
            head, newest = await asyncio.to_thread(self._chain.head)
        except ArchiveDamagedError as error:
            raise permanent("ArchiveUnreadable", f"{error}; `starter.py archive verify` says more") from error
        anchor = await self._anchor.head()
        if anchor and not await asyncio.to_thread(self._chain.holds, anchor):
            raise permanent(
                "ArchiveRolledBack",
                f"its newest manifest is {head.number}, and Temporal knows of {anchor.number}: put back what "
                "is missing; `starter.py archive verify` says what",
            )
        if newest and newest.service != await self._anchor.service():
            raise permanent(
                "ArchiveForeign",
                "the archive there is another Temporal service's: give each its own HIBERNAUT_S3_PREFIX",
            )
        return head, newest

    async def enter(
        self,
        by: str,
        request: EnterRequest,
        records: list[ArchivedObject],
        rows: list[IndexRow],
        removed: tuple[str, ...] = (),
        erased: Erased | None = None,
    ) -> tuple[Head, int]:
        """Append a manifest of ``records`` and index files for ``rows``; return the head and the files' size.

        Idempotent by ``by``: a retry finds what the first attempt wrote.
        """
        head, newest = await self.check_head()
        if newest is None or newest.by != by:
            number = head.number + 1
            files = [
                await asyncio.to_thread(put_checked, self._objects, key, data)
                for key, data in pack_rows(rows, number)
            ]
            newest = Manifest(
                number=number,
                previous=head.sha256,
                service=await self._anchor.service(),
                by=by,
                at=request.at,
                kinds=sorted({*(newest.kinds if newest else ()), *(row.kind for row in rows)}),
                added=[*files, *records],
                removed=list(removed),
                erased=erased,
            )
            head = await asyncio.to_thread(self._chain.append, newest)
        await self._anchor.keep(head)
        return head, sum(each.size for each in newest.added if each.key.startswith(INDEX))

    def _clear(self, head: Head, newest: Manifest | None) -> None:
        orphans = [each.key for each in self._objects.list(INDEX) if number_of(each.key) > head.number]
        self._objects.delete([*orphans, *(newest.removed if newest else ())])
