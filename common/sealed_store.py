"""Encrypts what is kept outside Temporal, if payloads are encrypted, with the same keys; also as a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload

from common.object_store import ObjectStore, ObjectUnreadableError, StoredObject, open_store
from common.settings import Settings
from common.temporal.codec import ENCRYPTED, KEY_ID, EncryptingCodec, UnreadableError, load_codec


class Sealer:
    """Encrypts what is kept outside Temporal, if payloads are encrypted; each thing is bound to its name."""

    def __init__(self, codec: EncryptingCodec | None) -> None:
        self._cipher = codec.cipher if codec else None
        self.seals = codec is not None and codec.writes

    def seal(self, name: str, data: bytes) -> bytes:
        """`data` encrypted for `name`; unchanged if nothing is encrypted."""
        if self._cipher is None or not self.seals:
            return data
        id = self._cipher.key_id
        sealed = self._cipher.seal(data, _bound(name, id), id)
        return Payload(metadata={"encoding": ENCRYPTED, KEY_ID: id.encode()}, data=sealed).SerializeToString(
            deterministic=True
        )

    def open(self, name: str, body: bytes) -> bytes | None:
        """What was encrypted for `name`; None if `body` is not encrypted.

        Raises:
            UnreadableError: its key is unknown, it was changed, or it was encrypted for another name.
        """
        if self._cipher is None:
            return None
        try:
            payload = Payload.FromString(body)
        except DecodeError:
            return None
        if payload.metadata.get("encoding") != ENCRYPTED:
            return None
        id = payload.metadata.get(KEY_ID, b"").decode(errors="replace")
        return self._cipher.open(payload.data, _bound(name, id), id)


class SealedStore(ObjectStore):
    """An encrypting layer over another store. An object is bound to its key: moved to another, it is refused.

    Args:
        objects: the underlying store.
        codec: encrypts, and says whether plain objects are accepted; without one, all are plain.
    """

    def __init__(self, objects: ObjectStore, codec: EncryptingCodec | None) -> None:
        self._objects, self._sealer = objects, Sealer(codec)
        self._reads_plain = codec is None or codec.reads_unsigned

    @classmethod
    def open(cls, settings: Settings) -> SealedStore:
        """The object store of these settings, encrypted as they say."""
        return cls(open_store(settings), load_codec(settings))

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        """See the interface."""
        return self._objects.put(key, self._sealer.seal(key, data), if_absent=if_absent)

    def get(self, key: str) -> bytes:
        """See the interface.

        Raises:
            ObjectUnreadableError: its key is unknown, it was changed, or it is plain and must not be.
        """
        body = self._objects.get(key)
        try:
            data = self._sealer.open(key, body)
        except UnreadableError as error:
            raise ObjectUnreadableError(f"the object {key} cannot be read: {error}") from None
        if data is None and not self._reads_plain:
            raise ObjectUnreadableError(f"the object {key} is plain, and encryption is on")
        return body if data is None else data

    def head(self, key: str) -> StoredObject | None:
        """See the interface. The size is that of the stored bytes."""
        return self._objects.head(key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See the interface. Sizes are those of the stored bytes."""
        return self._objects.list(prefix)

    def delete(self, keys: Iterable[str]) -> None:
        """See the interface."""
        self._objects.delete(keys)

    def look(self) -> None:
        """See the interface."""
        self._objects.look()


def _bound(key: str, id: str) -> bytes:
    return b"\0".join((b"hibernaut/1 object", id.encode(), key.encode()))
