"""Compresses and encrypts what goes to Temporal; the same plaintext and key give the same bytes.

Decoding never raises, because a codec that raises fails a workflow's task for ever. A payload that may not be
read comes out marked, and the payload converter refuses it where its value is used.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import zlib
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from copy import copy
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

from common.files import write_atomically
from common.key_ring import KeyRing, rotate
from common.settings import Settings, SettingsError
from common.temporal.converter import INLINE, MAX_BYTES, REFUSED, refused

ENCRYPTED = b"binary/encrypted"
KEY_ID = "encryption-key-id"
# The agent a payload was encrypted for. Readable, because a codec endpoint is not told whose payload it gets.
SEALED_FOR = "sealed-for"
# The embedded stack's database, in the data folder.
DATABASE = "temporal.db"
NONCE_BYTES = 12
# Begins a compressed payload. A payload is a protobuf message, and none begins with a zero byte.
COMPRESSED = b"\0"
# Smaller payloads gain little. The fastest level: the others take twice the time for 5% less.
COMPRESSED_FROM_BYTES, LEVEL = 512, 1
# No legitimate payload is larger, with its metadata; what would inflate to more is refused.
MAX_INFLATED_BYTES = MAX_BYTES + 1024 * 1024
# Larger payloads are encrypted in a thread, so that they do not hold up a worker's other agents.
IN_THREAD_BYTES = 256 * 1024
# A schedule encrypts for its configured id, to which the server appends the time when it starts an agent.
_SCHEDULED = re.compile(r"-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

# Since, until.
Span = tuple[datetime, datetime]
ALWAYS: Span = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))

# When a payload arrived that anybody with access to Temporal could have sent; set in `untrusted_payloads.py`.
ARRIVED_AT: ContextVar[datetime | None] = ContextVar("arrived_at", default=None)


class UnreadableError(Exception):
    """A payload cannot be decrypted; the message holds nothing of its content."""


class Cipher:
    """Encrypts and decrypts bytes under a ring of keys. Equal input under one key gives equal output."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    @property
    def key_id(self) -> str:
        """The id of the key that encrypts now."""
        return self._ring.first

    def seal(self, plain: bytes, bound: bytes, key_id: str) -> bytes:
        """Nonce and ciphertext of ``plain``; ``bound`` is authenticated, and needed again to open it."""
        keys = self._keys(key_id)
        # Derived from the plaintext, so that a retry or a replay encodes to the same object in the store.
        nonce = _mac(keys.nonce, bound, plain)[:NONCE_BYTES]
        return nonce + keys.cipher.encrypt(nonce, plain, bound)

    def open(self, sealed: bytes, bound: bytes, key_id: str) -> bytes:
        """The plaintext.

        Raises:
            UnreadableError: the key is unknown, or the bytes were changed.
        """
        try:
            return self._keys(key_id).cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
        except (InvalidTag, ValueError):
            raise UnreadableError("it is not what was encrypted") from None

    def sign(self, data: bytes) -> str:
        """A signature of ``data``, `key id:hex`."""
        return f"{self.key_id}:{_mac(self._keys(self.key_id).signing, data).hex()}"

    def is_signed(self, data: bytes, signature: str) -> bool:
        """Whether ``signature`` was made of ``data`` by a key of this ring."""
        key_id, _, _ = signature.rpartition(":")
        try:
            wanted = f"{key_id}:{_mac(self._keys(key_id).signing, data).hex()}"
        except UnreadableError:
            return False
        return hmac.compare_digest(wanted.encode(), signature.encode())

    def _keys(self, id: str) -> _Keys:
        secret = self._ring.find(id)
        if secret is None:
            raise UnreadableError(f"unknown key {id[:40]!r}")
        return _derive(secret)


class EncryptingCodec(PayloadCodec, WithSerializationContext):
    """The payload codec of every client and worker, if there are keys.

    Args:
        cipher: holds the keys.
        writes: encrypt; False if encryption was turned off, and only older payloads are decrypted.
        reads_plain: accept payloads that are not encrypted; otherwise they are refused.
        plain_at: the times during which plain payloads were accepted here. Payloads from then stay readable,
            or an agent could not be replayed.
        compresses: compress what is encrypted; compressed payloads are read in any case.
    """

    def __init__(
        self,
        cipher: Cipher,
        *,
        writes: bool,
        reads_plain: bool,
        plain_at: Sequence[Span] = (),
        compresses: bool = True,
    ) -> None:
        self.cipher, self.writes, self._compresses = cipher, writes, compresses
        self.reads_plain, self._plain_at = reads_plain, plain_at
        self._agent = ""

    @property
    def reads_unsigned(self) -> bool:
        """Whether references to large payloads may be unsigned, as older ones are."""
        return self.reads_plain or bool(self._plain_at)

    def with_context(self, context: SerializationContext) -> Self:
        """This codec for one agent, to whose id its payloads are bound."""
        if not isinstance(context, WorkflowSerializationContext | ActivitySerializationContext):
            return self
        bound = copy(self)
        bound._agent = context.workflow_id or ""
        return bound

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt each payload, including its metadata."""
        if not self.writes:
            return list(payloads)
        return await _each(self._seal, payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt each payload; one that may not be read comes out marked as refused."""
        return await _each(self._decode_one, payloads)

    def _seal(self, payload: Payload) -> Payload:
        key_id = self.cipher.key_id
        # Otherwise the order of map entries, and with it the bytes, could vary.
        plain = payload.SerializeToString(deterministic=True)
        if self._compresses:
            plain = _compressed(plain)
        metadata = {
            "encoding": ENCRYPTED,
            KEY_ID: key_id.encode(),
            **({SEALED_FOR: self._agent.encode()} if self._agent else {}),
            **({INLINE: b"1"} if INLINE in payload.metadata else {}),
        }
        return Payload(metadata=metadata, data=self.cipher.seal(plain, _bound(self._agent, key_id), key_id))

    def _decode_one(self, payload: Payload) -> Payload:
        encoding = payload.metadata.get("encoding")
        if encoding == REFUSED:
            return payload
        if encoding != ENCRYPTED:
            return payload if self._admits_plain() else refused("it came in plain, and encryption is on")
        agent = agent_of(payload)
        if agent and self._agent and not _is_for(agent, self._agent):
            return refused("it was encrypted for another agent")
        try:
            return self.open(payload)
        except UnreadableError as error:
            return refused(str(error))

    def _admits_plain(self) -> bool:
        arrived_at = ARRIVED_AT.get()
        if self.reads_plain or arrived_at is None:
            return self.reads_unsigned
        return any(since <= arrived_at < until for since, until in self._plain_at)

    def open(self, payload: Payload) -> Payload:
        """The decrypted payload, whichever agent it was encrypted for.

        Raises:
            UnreadableError: it is not encrypted, its key is unknown, or it was changed, or it is too large.
        """
        if payload.metadata.get("encoding") != ENCRYPTED:
            raise UnreadableError("it is not encrypted")
        agent = agent_of(payload)
        key_id = payload.metadata.get(KEY_ID, b"").decode(errors="replace")
        try:
            return Payload.FromString(
                _inflated(self.cipher.open(payload.data, _bound(agent, key_id), key_id))
            )
        except DecodeError:
            raise UnreadableError("it holds no payload") from None


def agent_of(payload: Payload) -> str:
    """The agent that a payload says it was encrypted for, which is true only if it can be opened."""
    return payload.metadata.get(SEALED_FOR, b"").decode(errors="replace")


def load_codec(settings: Settings) -> EncryptingCodec | None:
    """The codec that the settings ask for; None if they do not ask for encryption and there are no keys.

    Raises:
        SettingsError: encryption is asked for without keys, or the keys cannot be read.
    """
    ring = KeyRing(settings.state.payload_keys, key_file(settings), "HIBERNAUT_PAYLOAD_KEYS")
    if ring:
        mode = settings.state.encryption or "on"
        plain_at = () if settings.state.encryption else _plain_times(settings)
        return EncryptingCodec(
            Cipher(ring),
            writes=mode != "off",
            reads_plain=mode != "on",
            plain_at=plain_at,
            compresses=settings.state.compression == "on",
        )
    if settings.state.encryption in ("on", "migrate"):
        raise SettingsError(
            f"HIBERNAUT_ENCRYPTION={settings.state.encryption}, and there are no keys: "
            f"set HIBERNAUT_PAYLOAD_KEYS, or have `starter.py keys rotate` write {key_file(settings)}."
        )
    return None


def prepare(settings: Settings, *, accepts_plain: bool) -> None:
    """Have the embedded stack encrypt: write its first key if there is none, unless encryption is turned off.

    Args:
        settings: the settings of the stack, none of which may run yet.
        accepts_plain: plain payloads are accepted from now on, until the next start says otherwise.

    Raises:
        SettingsError: the file with the times of plain payloads cannot be read.
    """
    file, now = key_file(settings), datetime.now(UTC)
    times = list(_plain_times(settings))
    if settings.state.encryption == "off" or settings.state.payload_keys:
        return
    if not file.exists() and not times and (settings.data_dir / DATABASE).exists():
        times.append((ALWAYS[0], now))  # agents lived here without keys
    times = [(since, min(until, now)) for since, until in times]
    times += [(now, ALWAYS[1])] if accepts_plain else []
    if times:
        lines = "".join(f"{since.isoformat()} {until.isoformat()}\n" for since, until in times)
        write_atomically(_times_file(settings), lines.encode())
    if not file.exists():
        rotate(file)


def key_file(settings: Settings) -> Path:
    """The file in which the embedded stack keeps its keys."""
    return settings.data_dir / "payload.keys"


def _times_file(settings: Settings) -> Path:
    return settings.data_dir / "payload.plain"


def _plain_times(settings: Settings) -> tuple[Span, ...]:
    file = _times_file(settings)
    try:
        lines = file.read_text().splitlines()
        spans = [tuple(map(datetime.fromisoformat, line.split())) for line in lines]
        return tuple((since, until) for since, until in spans)
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: each line should be two times: {error}.") from None


class _Keys:
    """The keys derived from one secret, one for each use."""

    def __init__(self, secret: bytes) -> None:
        def expand(use: bytes) -> bytes:
            return HKDFExpand(SHA256(), 32, b"hibernaut/1 " + use).derive(secret)

        self.cipher = AESGCMSIV(expand(b"encrypt"))
        self.nonce = expand(b"nonce")
        self.signing = expand(b"sign")


_derive = lru_cache(maxsize=64)(_Keys)


def _mac(key: bytes, *parts: bytes) -> bytes:
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        mac.update(len(part).to_bytes(8, "big"))
        mac.update(part)
    return mac.digest()


def _bound(agent: str, key_id: str) -> bytes:
    return b"\0".join((b"hibernaut/1", key_id.encode(), agent.encode()))


def _compressed(plain: bytes) -> bytes:
    """``plain``, compressed if that makes it smaller."""
    if len(plain) < COMPRESSED_FROM_BYTES:
        return plain
    smaller = COMPRESSED + zlib.compress(plain, LEVEL)
    return smaller if len(smaller) < len(plain) else plain


def _inflated(data: bytes) -> bytes:
    if not data.startswith(COMPRESSED):
        return data
    inflating = zlib.decompressobj()
    try:
        plain = inflating.decompress(data[len(COMPRESSED) :], MAX_INFLATED_BYTES)
    except zlib.error:
        raise UnreadableError("it holds no payload") from None
    if not inflating.eof:
        raise UnreadableError("it is cut short, or inflates to more than can be kept")
    return plain


def _is_for(sealed_for: str, agent: str) -> bool:
    if agent == sealed_for:
        return True
    return agent.startswith(sealed_for) and bool(_SCHEDULED.fullmatch(agent[len(sealed_for) :]))


async def _each(change: Callable[[Payload], Payload], payloads: Sequence[Payload]) -> list[Payload]:
    if sum(len(payload.data) for payload in payloads) > IN_THREAD_BYTES:
        return await asyncio.to_thread(lambda: [change(each) for each in payloads])
    return [change(each) for each in payloads]
