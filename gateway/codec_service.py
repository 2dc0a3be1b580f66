"""What a codec endpoint does, without HTTP: payloads as the Web UI sends them, readable or sealed.

Who may ask, and for which namespace, is the endpoint's to decide.
"""

from __future__ import annotations

from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.converter import StorageDriverRetrieveContext

from common.temporal.codec import EncryptingCodec, UnreadableError
from common.temporal.converter import reason_of
from common.temporal.payload_store import PayloadStore, claim_in


class CodecService:
    """Encodes and decodes payloads of any agent.

    Args:
        codec: None where nothing is encrypted; payloads then stay as they are.
        store: where large payloads lie.
    """

    def __init__(self, codec: EncryptingCodec | None, store: PayloadStore) -> None:
        self._codec, self._store = codec, store

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Each payload sealed, for a signal or an input that a person types. None goes to the store."""
        return await self._codec.encode(payloads) if self._codec else list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Each payload readable where a key opens it, else as it came: a person looks, nothing acts on it.

        References stay references, so that a page of history does not fetch all that it refers to.
        """
        return [self._readable(payload) for payload in payloads]

    async def download(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Each payload readable, and what a reference names fetched from the store.

        Raises:
            StoreUnavailableError, ObjectMissingError, PayloadDamagedError: as the store's driver has them.
        """
        found = []
        for payload in payloads:
            claim = claim_in(payload)
            if claim is not None:
                [stored] = await self._store.retrieve(StorageDriverRetrieveContext(), [claim])
                # A reference that the driver refuses is shown as it came.
                payload = payload if reason_of(stored) else stored
            found.append(self._readable(payload))
        return found

    def _readable(self, payload: Payload) -> Payload:
        if self._codec is None:
            return payload
        try:
            return self._codec.open(payload)
        except UnreadableError:
            return payload
