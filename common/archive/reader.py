"""Reads archived agents: their final views, and their histories as Temporal's own JSON."""

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
    """The archived agents in an object store.

    Every method may raise ``StoreUnavailableError``, and those that read an agent ``ArchiveDamagedError``.
    """

    def __init__(self, objects: ObjectStore, converter: DataConverter) -> None:
        self.objects, self._converter = objects, converter
        self.index = ArchiveIndex(objects)

    @classmethod
    def open(cls, settings: Settings) -> ArchivedAgents:
        """The archive of these settings. Connects to nothing yet."""
        return cls(open_store(settings), data_converter(settings))

    async def find(self, id: str) -> ArchiveRecord | None:
        """The record of the agent as of its last run; None if no agent with that id is archived."""
        return await asyncio.to_thread(self._find, id)

    async def refuse(self, agents: AgentClient, id: str) -> None:
        """Refuse the id of an archived agent, because an id is never reused.

        If Temporal still knows it too, Temporal itself refuses it, or recognizes a repeated start.

        Raises:
            AgentExistsError: there was an agent with that id.
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
        """The record that a row of the index names, checked against the row's digest.

        Raises:
            ObjectMissingError: it is being erased.
        """
        key = record_key(row.kind, row.id, row.run_id)
        data = await asyncio.to_thread(self.objects.get, key)
        if digest_bytes(data) != row.sha256:
            raise ArchiveDamagedError(f"{key} was changed")
        return ArchiveRecord.model_validate_json(data)

    async def view(self, record: ArchiveRecord) -> AgentView:
        """The agent's final view."""
        data = await asyncio.to_thread(get_checked, self.objects, record.view)
        return AgentView.model_validate_json(await unpack(self._converter, record.namespace, record.id, data))

    async def history(self, record: ArchiveRecord, run: ArchivedRun, *, readable: bool = False) -> str:
        """The history of a run as Temporal's own JSON, for its Web UI and for a replay.

        References to the store are replaced by the payloads, encrypted as they were.

        Args:
            record: the agent's record.
            run: one of its runs.
            readable: decrypt everything, for a Web UI without a codec endpoint.
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
            raise ArchiveDamagedError(f"{key} is not a record") from None


async def pack(converter: DataConverter, namespace: str, id: str, document: bytes) -> bytes:
    """A document of an agent as it is stored in the archive: gzipped, and encrypted like its payloads."""
    payload = Payload(metadata={"encoding": ZIPPED}, data=gzip.compress(document, mtime=0))
    codec = _codec_for(converter, namespace, id)
    [sealed] = await codec.encode([payload]) if codec else [payload]
    return sealed.SerializeToString(deterministic=True)


async def unpack(converter: DataConverter, namespace: str, id: str, data: bytes) -> bytes:
    """The document that was given to ``pack``.

    Raises:
        ArchiveDamagedError: no key decrypts it, or it is not such a document.
    """
    codec = _codec_for(converter, namespace, id)
    try:
        payload = Payload.FromString(data)
        [opened] = await codec.decode([payload]) if codec else [payload]
        if opened.metadata.get("encoding") == ZIPPED:
            return gzip.decompress(opened.data)
    except (DecodeError, OSError, EOFError):
        raise ArchiveDamagedError(f"the view of {id} is not such a document") from None
    why = reason_of(opened) or "it is encrypted, and there is no key"
    raise ArchiveDamagedError(f"the view of {id} cannot be read: {why}")


def _codec_for(converter: DataConverter, namespace: str, id: str) -> PayloadCodec | None:
    context = WorkflowSerializationContext(namespace=namespace, workflow_id=id)
    return converter.with_context(context).payload_codec
