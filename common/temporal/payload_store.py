"""The SDK's external storage: payloads over 128 KiB go to the object store, and Temporal holds a reference.

Keys are `payloads/<namespace>/<workflow id>/<run id>/<SHA-256 of the encoded bytes>`, so that a retry or a
replay writes the same object. Only a run writes under its own id: once it has closed, nothing new can refer
to its objects, which is what `payload_sweep.py` relies on. What is sent before a run has an id (its input, or
a signal to whichever run is current) goes under `-`.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Self, TypeVar
from urllib.parse import quote, unquote

from google.protobuf.message import DecodeError
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.api.sdk.v1 import ExternalStorageReference
from temporalio.converter import (
    ExternalStorage,
    JSONProtoPayloadConverter,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverSelectContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)

from common.object_store import ObjectMissingError, ObjectStore
from common.temporal.codec import Cipher
from common.temporal.converter import INLINE, MAX_BYTES, MAX_INLINE_BYTES, check_size, refused

THRESHOLD_BYTES = 128 * 1024
PREFIX = "payloads"
NO_RUN = "-"
# Segments of a key: prefix, namespace, workflow id, run id, digest.
SEGMENTS = 5
DRIVER = "hibernaut"
# Objects that are read or written in parallel.
THREADS = 16
# Keys remembered as written, so that most replays need not ask the store.
REMEMBERED = 10_000
_KEY = re.compile(rf"{PREFIX}/[^/]+/[^/]+/[^/]+/[0-9a-f]{{64}}")
_SEGMENT_BYTES = 180

Result = TypeVar("Result")

# Whether anybody with access to Temporal could have sent this payload; set in `untrusted_payloads.py`.
FROM_OUTSIDE: ContextVar[bool] = ContextVar("from_outside", default=False)


class PayloadDamagedError(Exception):
    """An object is not what was written to the store; once it is restored, its reader goes on."""


class PayloadStore(StorageDriver):
    """The external storage driver.

    Args:
        objects: the object store.
        cipher: signs references, so that a forged one is refused at once.
        reads_unsigned: also follow references without a signature, because there are or were no keys.
        writes: False for a replayer, which encodes again what a worker stored long ago.
    """

    def __init__(
        self,
        objects: ObjectStore,
        cipher: Cipher | None = None,
        *,
        reads_unsigned: bool = True,
        writes: bool = True,
    ) -> None:
        self.objects = objects
        self._cipher = cipher
        self._reads_unsigned = reads_unsigned
        self._writes = writes
        self._written: OrderedDict[str, None] = OrderedDict()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="payloads")

    def name(self) -> str:
        """The driver's name in references."""
        return DRIVER

    def storage(self) -> ExternalStorage:
        """The data converter's external storage, with this as its only driver."""
        return _TolerantStorage(
            drivers=[self], driver_selector=self._select, payload_size_threshold=THRESHOLD_BYTES
        )

    def _select(self, context: StorageDriverSelectContext, payload: Payload) -> Self | None:
        # Without a run (a heartbeat, or something encoded by hand), the object would never be swept.
        if INLINE not in payload.metadata and _run_of(context.target):
            return self
        check_size(payload.ByteSize(), MAX_INLINE_BYTES, "a payload outside of a workflow")
        return None

    async def store(
        self, context: StorageDriverStoreContext, payloads: Sequence[Payload]
    ) -> list[StorageDriverClaim]:
        """Write each payload that is not there yet.

        Raises:
            StoreUnavailableError: the store cannot be written to now.
        """
        run = _run_of(context.target)
        if run is None:
            raise ValueError("a payload for the store names no workflow")
        bodies = [payload.SerializeToString(deterministic=True) for payload in payloads]
        for body in bodies:
            check_size(len(body), 2 * MAX_BYTES, "a payload")
        return list(await asyncio.gather(*(self._in_thread(self._store, run, body) for body in bodies)))

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read each payload and check it against its digest. A forged reference comes out refused.

        Raises:
            StoreUnavailableError: the store cannot be read now.
            ObjectMissingError: an object is gone; its agent waits until it is restored. In a payload from
                outside, where waiting would stop the agent, such a reference comes out refused.
            PayloadDamagedError: an object was changed; likewise.
        """
        outside = FROM_OUTSIDE.get()
        return list(
            await asyncio.gather(*(self._in_thread(self._retrieve, each, outside) for each in claims))
        )

    async def _in_thread(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _store(self, run: str, body: bytes) -> StorageDriverClaim:
        digest = hashlib.sha256(body).hexdigest()
        key = f"{run}{digest}"
        if self._writes and not self._is_there(key, len(body)):
            self.objects.put(key, body)
            self._written[key] = None
            if len(self._written) > REMEMBERED:
                self._written.popitem(last=False)
        signature = {"signature": self._cipher.sign(key.encode())} if self._cipher else {}
        return StorageDriverClaim(claim_data={"key": key, **signature})

    def _is_there(self, key: str, size: int) -> bool:
        # Without a run, write it every time: the sweep spares such an object by its age.
        if f"/{NO_RUN}/" in key:
            return False
        if key in self._written:
            return True
        found = self.objects.head(key)
        return found is not None and found.size == size

    def _is_signed(self, key: str, signature: str) -> bool:
        return self._cipher is not None and self._cipher.is_signed(key.encode(), signature)

    def _retrieve(self, claim: StorageDriverClaim, outside: bool) -> Payload:
        key = claim.claim_data.get("key", "")
        if not _KEY.fullmatch(key):
            return refused("its reference names no payload")
        if not self._reads_unsigned and not self._is_signed(key, claim.claim_data.get("signature", "")):
            return refused("its reference is not signed by a key of this ring")
        try:
            body = self.objects.get(key)
        except ObjectMissingError:
            if outside:
                return refused("its reference names an object that is not there")
            raise
        if hashlib.sha256(body).hexdigest() != key.rpartition("/")[2]:
            raise PayloadDamagedError(f"the object {key} was changed in the store")
        try:
            return Payload.FromString(body)
        except DecodeError:
            return refused("its reference names an object that is no payload")


class _TolerantStorage(ExternalStorage):
    """Turns references that nobody can follow into refused payloads; the SDK would fail the task for ever."""

    def _decode_reference(self, payload: Payload) -> ExternalStorageReference | None:
        try:
            return super()._decode_reference(payload)
        except Exception:
            return None  # whatever it is, it is read as a value, and refused as one

    def _get_driver_by_name(self, name: str) -> StorageDriver:
        return self._driver_map.get(name) or _NoDriver()


class _NoDriver(StorageDriver):
    def name(self) -> str:
        return "none"

    async def store(
        self, context: StorageDriverStoreContext, payloads: Sequence[Payload]
    ) -> list[StorageDriverClaim]:
        raise NotImplementedError

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        return [refused("its reference is to another store") for _ in claims]


def namespace_prefix(namespace: str) -> str:
    """The prefix of the keys of a namespace's payloads."""
    return f"{PREFIX}/{segment(namespace)}/"


def agent_prefix(namespace: str, workflow_id: str) -> str:
    """The prefix of the keys of an agent's payloads."""
    return f"{namespace_prefix(namespace)}{segment(workflow_id)}/"


def run_prefix(namespace: str, workflow_id: str, run_id: str | None) -> str:
    """The prefix of the keys of a run's payloads; without a run id, of what was sent before its runs."""
    return f"{agent_prefix(namespace, workflow_id)}{segment(run_id or NO_RUN)}/"


def workflow_id_in(key: str, namespace: str) -> str:
    """The id in a payload's key; empty if it is of another namespace, or was cut to fit."""
    segments = key.split("/")
    if len(segments) != SEGMENTS or not key.startswith(namespace_prefix(namespace)):
        return ""
    id = unquote(segments[2])
    return id if segment(id) == segments[2] else ""


def claim_in(payload: Payload) -> StorageDriverClaim | None:
    """What a reference to this store names; None if the payload is not such a reference."""
    if payload.metadata.get("messageType") != ExternalStorageReference.DESCRIPTOR.full_name.encode():
        return None
    try:
        reference = JSONProtoPayloadConverter().from_payload(payload, ExternalStorageReference)
    except Exception:
        return None  # not a reference that could be followed
    if reference.driver_name != DRIVER:
        return None
    return StorageDriverClaim(claim_data=dict(reference.claim_data))


def referenced_key(payload: Payload) -> str | None:
    """The key that a reference in a history names; None if the payload is not a reference to this store."""
    claim = claim_in(payload)
    return claim.claim_data.get("key") if claim else None


def _run_of(target: object) -> str | None:
    """The key prefix for what is being encoded, from the target that the SDK gives."""
    if isinstance(target, StorageDriverWorkflowInfo) and target.id:
        return run_prefix(target.namespace, target.id, target.run_id)
    # An activity that is completed by its task token encodes its result without a target.
    if target is None and activity.in_activity():
        info = activity.info()
        if info.workflow_id:
            return run_prefix(info.namespace, info.workflow_id, info.workflow_run_id)
    return None


def segment(text: str) -> str:
    """``text`` as one segment of a key: a legal file name, and a different one for every text."""
    quoted = quote(text, safe="")
    if quoted.startswith("."):
        quoted = f"%2E{quoted[1:]}"
    if len(quoted) <= _SEGMENT_BYTES:
        return quoted
    return f"{quoted[: _SEGMENT_BYTES - 70]}~{hashlib.sha256(text.encode()).hexdigest()}"
