"""Encryption of payloads: what is sealed, what is refused, how keys change."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import ActivitySerializationContext, WorkflowSerializationContext
from temporalio.exceptions import ApplicationError

from common.key_ring import parse_keys, rotate
from common.settings import Settings, SettingsError
from common.temporal.codec import (
    ARRIVED_AT,
    COMPRESSED,
    DATABASE,
    KEY_ID,
    MAX_INFLATED_BYTES,
    SEALED_FOR,
    key_file,
    load_codec,
    prepare,
)
from common.temporal.connect import data_converter
from common.temporal.converter import MAX_BYTES, AgentPayloadConverter, reason_of

KEY, OTHER = "ab" * 32, "cd" * 32
CANARY = b"canary-7f3a"


def settings(folder: Path | str = "/nowhere", **environment: str) -> Settings:
    names = {name.upper(): value for name, value in environment.items()}
    return Settings.read({"HIBERNAUT_DATA_DIR": str(folder), **{f"HIBERNAUT_{n}": names[n] for n in names}})


def codec(keys: str = f"k1:{KEY}", agent: str = "", **environment: str):
    found = load_codec(settings(payload_keys=keys, **environment))
    assert found is not None
    return (
        found.with_context(WorkflowSerializationContext(namespace="n", workflow_id=agent)) if agent else found
    )


payloads = st.builds(
    Payload,
    metadata=st.dictionaries(st.text(max_size=9), st.binary(max_size=9), max_size=4),
    data=st.binary(max_size=300),
)


@given(st.lists(payloads, max_size=4))
async def test_what_was_sealed_opens_to_the_same(plain: list[Payload]) -> None:
    """Data and metadata, whatever they hold."""
    sealed = await codec(agent="a").encode(plain)
    assert await codec(agent="a").decode(sealed) == plain
    assert await codec(agent="a").encode(plain) == sealed


async def test_nothing_of_a_payload_can_be_read_without_the_key() -> None:
    """Neither its data nor its metadata; the key's id and the agent's id stay readable."""
    plain = Payload(metadata={"encoding": b"json/plain", "x": CANARY}, data=CANARY * 3)
    [sealed] = await codec(agent="a").encode([plain])
    assert CANARY not in sealed.SerializeToString()
    assert set(sealed.metadata) == {"encoding", KEY_ID, SEALED_FOR}


@pytest.mark.parametrize("size", [0, 400, 511, 512, 3_000, 2_000_000])
async def test_what_is_long_is_kept_smaller_and_read_with_compression_on_or_off(size: int) -> None:
    """The same bytes each time; what is short stays as it is, and either reads what the other wrote."""
    plain = [Payload(metadata={"encoding": b"json/plain"}, data=b"the price of a ton of it; " * (size // 26))]
    on, off = codec(agent="a"), codec(agent="a", compression="off")
    [packed], [unpacked] = await on.encode(plain), await off.encode(plain)
    if size >= 1000:
        assert len(packed.data) < len(unpacked.data) / 10
    elif size < 450:
        assert packed == unpacked
    assert await on.encode(plain) == [packed]
    for reader in (on, off):
        assert await reader.decode([packed, unpacked]) == plain * 2


async def test_what_does_not_compress_is_encrypted_as_it_is() -> None:
    """Nothing grows by being compressed."""
    plain = [Payload(data=hashlib.shake_256(b"noise").digest(5_000))]
    [packed], [unpacked] = await codec().encode(plain), await codec(compression="off").encode(plain)
    assert packed == unpacked


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"not compressed", "it holds no payload"),
        (zlib.compress(Payload(data=b"x" * 600).SerializeToString())[:-9], "it is cut short"),
        (zlib.compress(Payload(data=bytes(MAX_INFLATED_BYTES)).SerializeToString()), "it is cut short"),
        (zlib.compress(b"\xff" * 600), "it holds no payload"),
    ],
)
async def test_what_cannot_be_inflated_is_refused(data: bytes, reason: str) -> None:
    """Also what would fill the memory: it is given up where it grows past the largest payload."""
    sealing = codec()
    bound = b"\0".join((b"hibernaut/1", b"k1", b""))
    metadata = {"encoding": b"binary/encrypted", KEY_ID: b"k1"}
    sealed = sealing.cipher.seal(COMPRESSED + data, bound, "k1")
    [marked] = await sealing.decode([Payload(metadata=metadata, data=sealed)])
    assert (reason_of(marked) or "").startswith(reason)


async def test_each_change_to_what_was_sealed_is_noticed() -> None:
    """One bit of the data, another key id, another agent's name, a cut."""
    [sealed] = await codec(f"k1:{KEY},k2:{OTHER}", "a").encode([Payload(data=CANARY)])
    changed = []
    for place in range(len(sealed.data)):
        flipped = bytearray(sealed.data)
        flipped[place] ^= 1
        changed.append(Payload(metadata=sealed.metadata, data=bytes(flipped)))
    changed.append(Payload(metadata={**sealed.metadata, KEY_ID: b"k2"}, data=sealed.data))
    changed.append(Payload(metadata={**sealed.metadata, SEALED_FOR: b"b"}, data=sealed.data))
    changed.append(Payload(metadata=sealed.metadata, data=sealed.data[:20]))
    changed.append(Payload(metadata=sealed.metadata))
    opened = await codec(f"k1:{KEY},k2:{OTHER}").decode(changed)
    assert [reason_of(each) for each in opened] == ["it is not what was encrypted"] * len(changed)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (Payload(metadata={"encoding": b"json/plain"}, data=b"1"), "it came in plain"),
        (Payload(), "it came in plain"),
        (Payload(metadata={"encoding": b"binary/encrypted", KEY_ID: b"\xff\xfe"}), "unknown key"),
        (Payload(metadata={"encoding": b"hibernaut/refused", "reason": b"x" * 999}), "xxx"),
    ],
)
async def test_what_may_not_be_read_is_marked_and_refused_by_name(payload: Payload, reason: str) -> None:
    """The codec never raises; wanting the value does, for good and with the reason."""
    [marked] = await codec().decode([payload])
    assert (reason_of(marked) or "").startswith(reason)
    with pytest.raises(ApplicationError, match=reason) as failure:
        AgentPayloadConverter().from_payload(marked, str)
    assert (failure.value.type, failure.value.non_retryable) == ("PayloadRefused", True)


async def test_a_payload_of_one_agent_is_refused_by_another() -> None:
    """Who can write to Temporal and has no key cannot hand one agent's words to another."""
    [sealed] = await codec(agent="a").encode([Payload(data=b"yes")])
    [marked] = await codec(agent="b").decode([sealed])
    assert reason_of(marked) == "it was encrypted for another agent"
    activity = ActivitySerializationContext(
        namespace="n",
        workflow_id="a",
        workflow_type="w",
        activity_type="t",
        activity_id="1",
        activity_task_queue="q",
        is_local=False,
    )
    assert await codec().with_context(activity).decode([sealed]) == [Payload(data=b"yes")]
    assert await codec().decode([sealed]) == [Payload(data=b"yes")]
    assert await codec(agent="a-2026-11-24T10:00:00Z").decode([sealed]) == [Payload(data=b"yes")]


async def test_encryption_can_be_brought_in_and_taken_back() -> None:
    """`migrate` encrypts and reads plain; `off` writes plain and reads both; no keys, no codec."""
    plain = Payload(metadata={"encoding": b"json/plain"}, data=b"1")
    [sealed] = await codec().encode([plain])
    assert await codec(encryption="migrate").decode([plain, sealed]) == [plain, plain]
    assert await codec(encryption="migrate").encode([plain]) == [sealed]
    assert await codec(encryption="off").decode([plain, sealed]) == [plain, plain]
    assert await codec(encryption="off").encode([plain]) == [plain]
    assert load_codec(settings()) is None
    with pytest.raises(SettingsError, match="HIBERNAUT_PAYLOAD_KEYS"):
        load_codec(settings(encryption="on"))


async def test_a_running_process_takes_up_a_new_key_when_it_meets_it(tmp_path: Path) -> None:
    """Rotation: a fresh key seals, the old ones still open, the file is its owner's alone."""
    file = key_file(settings(tmp_path))
    rotate(file)
    running = load_codec(settings(tmp_path))
    assert running is not None
    [old] = await running.encode([Payload(data=b"old")])
    fresh = rotate(file)
    after = load_codec(settings(tmp_path))
    assert after is not None
    [new] = await after.encode([Payload(data=b"new")])
    assert new.metadata[KEY_ID] == fresh.encode() != old.metadata[KEY_ID]
    assert await running.decode([new]) == [Payload(data=b"new")]
    assert (await running.encode([Payload(data=b"x")]))[0].metadata[KEY_ID] == fresh.encode()
    assert await after.decode([old]) == [Payload(data=b"old")]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["payload.keys"]


def test_unknown_key_ids_do_not_make_the_file_be_parsed_again(tmp_path: Path, monkeypatch) -> None:
    """Who sends payloads with invented ids must cost no more than a look at the file's age."""
    rotate(key_file(settings(tmp_path)))
    running = load_codec(settings(tmp_path))
    assert running is not None
    parsed = []
    monkeypatch.setattr("common.key_ring.parse_keys", lambda *args: parsed.append(args) or {})
    forged = Payload(metadata={"encoding": b"binary/encrypted", KEY_ID: b"none"})
    assert [reason_of(running._decode_one(forged)) for _ in range(3)] == ["unknown key 'none'"] * 3
    assert parsed == []
    file = key_file(settings(tmp_path))
    file.write_text("")
    os.utime(file, ns=(1, 1))  # a file system with coarse times must not hide the change
    running._decode_one(forged)
    assert len(parsed) == 1


def test_the_embedded_stack_writes_a_key_unless_encryption_is_turned_off(tmp_path: Path) -> None:
    """And only where none is there or set; it stays the same."""
    prepare(settings(tmp_path, encryption="off"), accepts_plain=False)
    prepare(settings(tmp_path, payload_keys=f"k:{KEY}"), accepts_plain=False)
    assert not key_file(settings(tmp_path)).exists()
    prepare(settings(tmp_path), accepts_plain=False)
    file = key_file(settings(tmp_path))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kept = file.read_text()
    prepare(settings(tmp_path), accepts_plain=False)
    assert file.read_text() == kept
    found = load_codec(settings(tmp_path))
    assert found is not None
    assert (found.writes, found.reads_plain, found.reads_unsigned) == (True, False, False)


async def test_what_came_in_plain_while_that_was_accepted_stays_readable_and_nothing_else(
    tmp_path: Path,
) -> None:
    """Before the first key, and from a start with `--unsigned` until the next without."""
    plain = Payload(metadata={"encoding": b"json/plain"}, data=b"1")
    arrivals: list[tuple[datetime, bool]] = []

    async def admitted() -> list[bool]:
        """Whether what came at each of these times is read today."""
        found = load_codec(settings(tmp_path))
        assert found is not None
        bound = found.with_context(WorkflowSerializationContext(namespace="n", workflow_id="a"))
        assert await bound.decode([plain]) == [plain], "what is stored is read"
        assert found.reads_unsigned
        read = []
        for arrived_at, _ in arrivals:
            token = ARRIVED_AT.set(arrived_at)
            [got] = await bound.decode([plain])
            ARRIVED_AT.reset(token)
            read.append(reason_of(got) is None)
        return read

    (tmp_path / DATABASE).touch()
    arrivals.append((datetime.now(UTC), True))
    for accepts_plain in (False, True, True, False, False):
        prepare(settings(tmp_path), accepts_plain=accepts_plain)
        arrivals.append((datetime.now(UTC), accepts_plain))
        assert await admitted() == [wanted for _, wanted in arrivals]
    strict = load_codec(settings(tmp_path, encryption="on"))
    assert strict is not None
    assert reason_of((await strict.decode([plain]))[0])


@pytest.mark.parametrize("text", ["k1", f":{KEY}", "k1:xyz", "k1:abcd", f"k1:{KEY},k1:{OTHER}"])
def test_keys_that_cannot_be_used_are_named(text: str) -> None:
    """At start, without the key itself in the message."""
    with pytest.raises(SettingsError, match="FROM") as error:
        parse_keys(text, "FROM")
    assert KEY not in str(error.value)


async def test_a_failure_hides_its_words_and_its_stack() -> None:
    """Message, stack trace, details and cause; its type stays readable, for searches."""
    converter = data_converter(settings(payload_keys=f"k1:{KEY}"))
    failure = Failure()
    try:
        try:
            raise ValueError(CANARY.decode())
        except ValueError as cause:
            raise ApplicationError(CANARY.decode(), CANARY.decode(), type="Broken") from cause
    except ApplicationError as error:
        await converter.encode_failure(error, failure)
    assert CANARY not in failure.SerializeToString()
    assert failure.application_failure_info.type == "Broken"
    back = await converter.decode_failure(failure)
    assert isinstance(back, ApplicationError)
    assert (back.message, back.details) == (CANARY.decode(), (CANARY.decode(),))
    assert CANARY.decode() in str(back.__cause__)


def test_a_value_that_cannot_be_kept_is_refused_before_temporal_sees_it() -> None:
    """Over 32 MiB, for good, with both sizes named."""
    fits = AgentPayloadConverter().to_payloads([b"x" * MAX_BYTES])
    assert len(fits[0].data) == MAX_BYTES
    with pytest.raises(ApplicationError, match=str(MAX_BYTES)) as failure:
        AgentPayloadConverter().to_payload("x" * MAX_BYTES)
    assert (failure.value.type, failure.value.non_retryable) == ("PayloadTooLarge", True)
