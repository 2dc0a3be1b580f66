"""The codec endpoint without HTTP: encrypts, decrypts and fetches payloads for the Web UI.

The caller decides who may read which payload.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from temporalio.api.common.v1 import Payload
from temporalio.converter import StorageDriverRetrieveContext

from common.temporal.codec import EncryptingCodec, UnreadableError, agent_of
from common.temporal.converter import reason_of
from common.temporal.payload_store import PayloadStore, claim_in, workflow_id_in

# Whether the caller may read an agent's payloads; an empty id means payloads of no agent.
MayRead = Callable[[str], Awaitable[bool]]


class CodecService:
    """Encodes and decodes payloads of any agent.

    The owner of a payload is taken from what cannot be forged: the agent that an encrypted payload is bound
    to, and the key an object is stored under.

    Args:
        codec: None if nothing is encrypted; payloads are then passed through.
        store: holds large payloads.
        namespace: the only one whose payloads are fetched from the store.
    """

    def __init__(self, codec: EncryptingCodec | None, store: PayloadStore, namespace: str) -> None:
        self._codec, self._store, self._namespace = codec, store, namespace

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt each payload, for a signal or an input that a person types. Nothing goes to the store."""
        return await self._codec.encode(payloads) if self._codec else list(payloads)

    async def decode(self, payloads: Sequence[Payload], may_read: MayRead) -> list[Payload]:
        """Decrypt each payload that a key opens and that may be read; leave the others unchanged.

        References stay references, so that showing a page of history does not fetch everything.
        """
        return [await self._decrypted(each, may_read) for each in payloads]

    async def download(self, payloads: Sequence[Payload], may_read: MayRead) -> list[Payload]:
        """Like ``decode``, but fetch referenced payloads from the store if they may be read.

        Raises:
            StoreUnavailableError, ObjectMissingError, PayloadDamagedError: as ``PayloadStore.retrieve`` does.
        """
        fetched = [await self._fetched(each, may_read) for each in payloads]
        return await self.decode(fetched, may_read)

    async def _fetched(self, payload: Payload, may_read: MayRead) -> Payload:
        claim = claim_in(payload)
        if claim is None:
            return payload
        if not await may_read(workflow_id_in(claim.claim_data.get("key", ""), self._namespace)):
            return payload
        [stored] = await self._store.retrieve(StorageDriverRetrieveContext(), [claim])
        # Show a reference that the driver refuses unchanged.
        return payload if reason_of(stored) else stored

    async def _decrypted(self, payload: Payload, may_read: MayRead) -> Payload:
        if self._codec is None:
            return payload
        try:
            opened = self._codec.open(payload)
        except UnreadableError:
            return payload
        # Decryption has authenticated the agent it belongs to.
        return opened if await may_read(agent_of(payload)) else payload
