"""Reads archived agents: what `show` would have printed, and histories as Temporal's own JSON."""

from __future__ import annotations

import asyncio
import gzip

from google.protobuf.message import DecodeError
from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import History
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter, PayloadCodec, WorkflowSerializationContext

from common.archive.chain import ArchiveDamagedError, Chain, get_checked
from common.archive.index import ArchiveIndex
from common.archive.layout import RECORD, ArchivedRun, ArchiveRecord, IndexRow, agent_folder, record_key
from common.archive.payload_sweep import payloads_in
from common.client.client import AgentClient
from common.client.errors import AgentExistsError, NoSuchAgentError
from common.client.view import AgentView
from common.digest import digest_bytes
from common.object_store import ObjectMissingError, ObjectStore, open_store
from common.settings import Settings
from common.temporal.connect import data_converter
from common.temporal.converter import reason_of
from common.temporal.payload_store import referenced_key

ZIPPED = b"binary/gzip"


class ArchivedAgents:
    """The archived agents of one object store.

    Every method may raise ``StoreUnavailableError``, and those that read an agent ``ArchiveDamagedError``.
    """

    def __init__(self, objects: ObjectStore, converter: DataConverter) -> None:
        self.objects, self._converter = objects, converter
        self.index = ArchiveIndex(objects)

    @classmethod
    def open(cls, settings: Settings) -> ArchivedAgents:
        """The archive of these settings. Reaches out to nothing yet."""
        return cls(open_store(settings), data_converter(settings))

    async def find(self, id: str) -> ArchiveRecord | None:
        """The record of the agent, of its last run; None where none of that id is archived."""
        return await asyncio.to_thread(self._find, id)

    async def refuse(self, agents: AgentClient, id: str) -> None:
        """Refuse an id that an archived agent has: an id names one agent for good.

        One that Temporal still knows as well is Temporal's own to refuse, or to take for the same start.

        Raises:
            AgentExistsError: there was an agent of that id.
        """
        if await self.find(id) is None:
            return
        try:
            await agents.describe(id)
        except NoSuchAgentError:
            raise AgentExistsError(
                f"there was an agent with the id {id}, archived since; choose another."
            ) from None

    async def read(self, row: IndexRow) -> ArchiveRecord:
        """The record that a row of the index stands for, checked against it.

        Raises:
            ObjectMissingError: it is being erased.
        """
        key = record_key(row.kind, row.id, row.run_id)
        data = await asyncio.to_thread(self.objects.get, key)
        if digest_bytes(data) != row.sha256:
            raise ArchiveDamagedError(f"{key} was changed")
        return ArchiveRecord.model_validate_json(data)

    async def view(self, record: ArchiveRecord) -> AgentView:
        """What `show` would have printed, in the end."""
        data = await asyncio.to_thread(get_checked, self.objects, record.view)
        return AgentView.model_validate_json(await unpack(self._converter, record.namespace, record.id, data))

    async def history(self, record: ArchiveRecord, run: ArchivedRun, *, readable: bool = False) -> str:
        """The history of a run as Temporal's own JSON, for its Web UI and for a replay.

        What it referred to in the store stands in it, encrypted as it was.

        Args:
            record: the agent's.
            run: one of its runs.
            readable: decrypt everything instead, for a Web UI without a codec endpoint.
        """
        data = await asyncio.to_thread(get_checked, self.objects, run.history)
        history = WorkflowHistory.from_json(record.id, gzip.decompress(data).decode())
        whole = History(events=history.events)
        for payload in payloads_in(whole):
            await self._resolve(record, payload)
        if readable:
            await self._decode(record, whole)
        return WorkflowHistory(record.id, whole.events).to_json()

    async def _resolve(self, record: ArchiveRecord, payload: Payload) -> None:
        key = referenced_key(payload)
        stored = record.payloads.get(key) if key else None
        if stored is not None:
            payload.CopyFrom(Payload.FromString(await asyncio.to_thread(get_checked, self.objects, stored)))

    async def _decode(self, record: ArchiveRecord, whole: History) -> None:
        codec = _codec_for(self._converter, record.namespace, record.id)
        if codec is None:
            return
        for payload in payloads_in(whole):
            [decoded] = await codec.decode([payload])
            if reason_of(decoded) is None:
                payload.CopyFrom(decoded)

    def _find(self, id: str) -> ArchiveRecord | None:
        _, newest = Chain(self.objects).head()
        keys = [
            each.key
            for kind in (newest.kinds if newest else ())
            for each in self.objects.list(agent_folder(kind, id))
            if each.key.endswith(f"/{RECORD}")
        ]
        return max(filter(None, map(self._record, keys)), key=lambda each: each.archived_at, default=None)

    def _record(self, key: str) -> ArchiveRecord | None:
        try:
            return ArchiveRecord.model_validate_json(self.objects.get(key))
        except ObjectMissingError:
            return None  # it is being erased
        except ValidationError:
            raise ArchiveDamagedError(f"{key} is no record") from None


async def pack(converter: DataConverter, namespace: str, id: str, document: bytes) -> bytes:
    """A document of an agent as it lies in the archive: gzipped, and encrypted as its payloads are."""
    payload = Payload(metadata={"encoding": ZIPPED}, data=gzip.compress(document, mtime=0))
    codec = _codec_for(converter, namespace, id)
    [sealed] = await codec.encode([payload]) if codec else [payload]
    return sealed.SerializeToString(deterministic=True)


async def unpack(converter: DataConverter, namespace: str, id: str, data: bytes) -> bytes:
    """The document that `pack` was given.

    Raises:
        ArchiveDamagedError: no key opens it, or it is no such document.
    """
    codec = _codec_for(converter, namespace, id)
    try:
        payload = Payload.FromString(data)
        [opened] = await codec.decode([payload]) if codec else [payload]
        if opened.metadata.get("encoding") == ZIPPED:
            return gzip.decompress(opened.data)
    except (DecodeError, OSError, EOFError):
        raise ArchiveDamagedError(f"the view of {id} is no such document") from None
    why = reason_of(opened) or "it is encrypted, and there is no key"
    raise ArchiveDamagedError(f"the view of {id} cannot be read: {why}")


def _codec_for(converter: DataConverter, namespace: str, id: str) -> PayloadCodec | None:
    context = WorkflowSerializationContext(namespace=namespace, workflow_id=id)
    return converter.with_context(context).payload_codec
