"""What a codec endpoint does, apart from HTTP: encrypts, decrypts and fetches payloads for the Web UI.

Who may ask for which payload is for the endpoint to decide.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from temporalio.api.common.v1 import Payload
from temporalio.converter import StorageDriverRetrieveContext

from common.temporal.codec import EncryptingCodec, UnreadableError, agent_of
from common.temporal.converter import reason_of
from common.temporal.payload_store import PayloadStore, claim_in, workflow_id_in

# Whether whoever asks may read an agent's payloads; asked with an empty id about payloads of no agent.
MayRead = Callable[[str], Awaitable[bool]]


class CodecService:
    """Encodes and decodes payloads of any agent.

    Whose a payload is, is judged by what cannot be forged: the agent that an encrypted payload is bound to,
    and the place where an object is stored.

    Args:
        codec: None if nothing is encrypted; payloads then stay as they are.
        store: where large payloads lie.
        namespace: whose payloads are fetched from the store.
    """

    def __init__(self, codec: EncryptingCodec | None, store: PayloadStore, namespace: str) -> None:
        self._codec, self._store, self._namespace = codec, store, namespace

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Each payload encrypted, for a signal or an input that a person types. None goes to the store."""
        return await self._codec.encode(payloads) if self._codec else list(payloads)

    async def decode(self, payloads: Sequence[Payload], may_read: MayRead) -> list[Payload]:
        """Each payload decrypted if a key opens it and it may be read, else unchanged.

        References stay references, so that a page of history does not fetch everything it refers to.
        """
        return [await self._decrypted(each, may_read) for each in payloads]

    async def download(self, payloads: Sequence[Payload], may_read: MayRead) -> list[Payload]:
        """As ``decode``, and what a reference names is fetched from the store if it may be read.

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
        # A reference that the driver refuses is shown unchanged.
        return payload if reason_of(stored) else stored

    async def _decrypted(self, payload: Payload, may_read: MayRead) -> Payload:
        if self._codec is None:
            return payload
        try:
            opened = self._codec.open(payload)
        except UnreadableError:
            return payload
        # Opening it has proven whose it is.
        return opened if await may_read(agent_of(payload)) else payload
