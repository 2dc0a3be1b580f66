"""What a codec endpoint does, apart from HTTP: encrypts, decrypts and fetches payloads for the Web UI.

Who may ask for which payload is for the endpoint to decide.
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
        codec: None if nothing is encrypted; payloads then stay as they are.
        store: where large payloads lie.
    """

    def __init__(self, codec: EncryptingCodec | None, store: PayloadStore) -> None:
        self._codec, self._store = codec, store

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Each payload encrypted, for a signal or an input that a person types. None goes to the store."""
        return await self._codec.encode(payloads) if self._codec else list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Each payload decrypted if a key opens it, else unchanged.

        References stay references, so that a page of history does not fetch everything it refers to.
        """
        return [self._readable(payload) for payload in payloads]

    async def download(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Each payload decrypted, and what a reference names fetched from the store.

        Raises:
            StoreUnavailableError, ObjectMissingError, PayloadDamagedError: as ``PayloadStore.retrieve`` does.
        """
        found = []
        for payload in payloads:
            claim = claim_in(payload)
            if claim is not None:
                [stored] = await self._store.retrieve(StorageDriverRetrieveContext(), [claim])
                # A reference that the driver refuses is shown unchanged.
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
