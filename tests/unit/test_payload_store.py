"""Large payloads: where they lie, when they are written, what is read back, what a sweep may delete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
    WorkflowSerializationContext,
)
from temporalio.exceptions import ApplicationError

from common.archive.payload_sweep import collectable
from common.object_store import FolderStore, ObjectMissingError, StoredObject
from common.settings import Settings
from common.temporal.codec import SEALED_FOR, load_codec
from common.temporal.connect import data_converter
from common.temporal.converter import reason_of
from common.temporal.payload_store import (
    THRESHOLD_BYTES,
    PayloadDamagedError,
    PayloadStore,
    agent_prefix,
    claim_in,
    referenced_key,
    run_prefix,
)
from gateway.codec_service import CodecService
from tests.support.incompressible import incompressible

LARGE = incompressible(THRESHOLD_BYTES + 1)
RETRIEVE = StorageDriverRetrieveContext()


class Counting(FolderStore):
    """A folder that counts what is asked of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.puts: list[str] = []
        self.heads: list[str] = []

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        self.puts.append(key)
        return super().put(key, data, if_absent=if_absent)

    def head(self, key: str) -> StoredObject | None:
        self.heads.append(key)
        return super().head(key)


def to(run_id: str | None, id: str = "agent/1") -> StorageDriverStoreContext:
    return StorageDriverStoreContext(target=StorageDriverWorkflowInfo(namespace="n", id=id, run_id=run_id))


def sealing(tmp_path: Path, **more: str) -> Settings:
    return Settings.read(
        {"HIBERNAUT_DATA_DIR": str(tmp_path), "HIBERNAUT_PAYLOAD_KEYS": "k:" + "ab" * 32, **more}
    )


async def test_the_same_payload_of_a_run_is_one_object_written_once(tmp_path: Path) -> None:
    """By the process that wrote it, and by one that starts afterwards."""
    objects = Counting(tmp_path)
    payload = Payload(data=b"1")
    [claim] = await PayloadStore(objects).store(to("r1"), [payload])
    again = PayloadStore(objects)
    assert await again.store(to("r1"), [payload, payload]) == [claim, claim]
    assert await again.store(to("r1"), [payload]) == [claim]
    assert objects.puts == [claim.claim_data["key"]]
    assert objects.puts[0].startswith("payloads/n/agent%2F1/r1/")
    assert await again.retrieve(RETRIEVE, [claim]) == [payload]


async def test_half_an_object_is_written_again(tmp_path: Path) -> None:
    """What is there counts only whole."""
    objects = Counting(tmp_path)
    [claim] = await PayloadStore(objects).store(to("r1"), [Payload(data=b"123")])
    FolderStore.put(objects, claim.claim_data["key"], b"1")
    await PayloadStore(objects).store(to("r1"), [Payload(data=b"123")])
    assert await PayloadStore(objects).retrieve(RETRIEVE, [claim]) == [Payload(data=b"123")]


async def test_what_is_written_before_a_run_is_known_is_renewed_each_time(tmp_path: Path) -> None:
    """Its age protects it from the sweep until something refers to it."""
    objects = Counting(tmp_path)
    store = PayloadStore(objects)
    await store.store(to(None), [Payload(data=b"1")])
    await store.store(to(None), [Payload(data=b"1")])
    assert len(objects.puts) == 2
    assert len(list(objects.list("payloads/n/agent%2F1/-/"))) == 1


async def test_a_replayers_store_writes_nothing(tmp_path: Path) -> None:
    """And gives the reference that a worker's store gives."""
    objects = Counting(tmp_path)
    [claim] = await PayloadStore(objects, writes=False).store(to("r"), [Payload(data=b"1")])
    assert objects.puts == []
    assert await PayloadStore(objects).store(to("r"), [Payload(data=b"1")]) == [claim]


async def test_an_object_that_was_changed_or_is_gone_is_noticed(tmp_path: Path) -> None:
    """Neither is the agent's failure: it waits until the object is put back."""
    objects = FolderStore(tmp_path)
    store = PayloadStore(objects)
    [claim] = await store.store(to("r"), [Payload(data=b"1")])
    key = claim.claim_data["key"]
    objects.put(key, Payload(data=b"2").SerializeToString())
    with pytest.raises(PayloadDamagedError, match=key):
        await store.retrieve(RETRIEVE, [claim])
    objects.delete([key])
    with pytest.raises(ObjectMissingError, match=key):
        await store.retrieve(RETRIEVE, [claim])


@pytest.mark.parametrize(
    "key", ["", "../../etc/passwd", "archive/v1/index", "payloads/n/a/r/" + "0" * 63, "payloads/../a/r/x"]
)
async def test_a_reference_that_no_store_wrote_is_refused_and_follows_no_path(
    tmp_path: Path, key: str
) -> None:
    """Marked, never raised: a signal may bring it."""
    [marked] = await PayloadStore(FolderStore(tmp_path)).retrieve(
        RETRIEVE, [StorageDriverClaim(claim_data={"key": key})]
    )
    assert reason_of(marked) == "its reference names no payload"


async def test_with_encryption_on_a_reference_has_to_be_signed(tmp_path: Path) -> None:
    """A forged one to an object that is not there would make its agent wait for ever."""
    codec = load_codec(sealing(tmp_path))
    assert codec is not None
    store = PayloadStore(FolderStore(tmp_path), codec.cipher, reads_unsigned=False)
    [claim] = await store.store(to("r"), [Payload(data=b"1")])
    assert await store.retrieve(RETRIEVE, [claim]) == [Payload(data=b"1")]
    key, signature = claim.claim_data["key"], claim.claim_data["signature"]
    elsewhere = key.replace("/r/", "/s/")
    for forged in (
        {"key": key},
        {"key": elsewhere, "signature": signature},
        {"key": key, "signature": "k:ü"},
    ):
        [marked] = await store.retrieve(RETRIEVE, [StorageDriverClaim(claim_data=forged)])
        assert reason_of(marked) == "its reference is not signed by a key of this ring"


async def test_a_large_payload_that_belongs_to_no_agent_stays_inline_and_bounded(tmp_path: Path) -> None:
    """Nobody would ever know when to delete it."""
    converter = data_converter(sealing(tmp_path))
    [payload] = await converter.encode([LARGE])
    assert claim_in(payload) is None
    with pytest.raises(ApplicationError, match="outside of a workflow") as failure:
        await converter.encode([incompressible(2_000_000)])
    assert failure.value.type == "PayloadTooLarge"


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_agents_never_share_a_prefix_and_every_prefix_is_legal(one: str, two: str) -> None:
    """Whatever their ids are."""
    prefixes = {agent_prefix("n", one), agent_prefix("n", two)}
    assert len(prefixes) == len({one, two})
    for prefix in prefixes:
        segments = prefix.removesuffix("/").split("/")
        assert len(segments) == 3
        assert all(not each.startswith(".") and 0 < len(each) <= 200 for each in segments)


async def test_the_codec_service_opens_what_it_can_and_follows_references_on_download_alone(
    tmp_path: Path,
) -> None:
    """Encode, decode, download; what no key opens is shown unchanged."""
    settings = sealing(tmp_path)
    codec = load_codec(settings)
    objects = FolderStore(tmp_path / "objects")
    store = PayloadStore(objects, codec.cipher if codec else None, reads_unsigned=False)
    service = CodecService(codec, store, "n")

    async def all_may(agent: str) -> bool:
        return True

    agents = data_converter(settings)._with_store_context(to("r"))
    small, large = await agents.encode(["small", LARGE])
    plain = Payload(metadata={"encoding": b"json/plain"}, data=b'"plain"')
    assert (await service.decode([small], all_may))[0].data == b'"small"'
    assert await service.decode([large, plain], all_may) == [large, plain]
    assert (referenced_key(large) or "").startswith(run_prefix("n", "agent/1", "r"))
    [opened] = await service.download([large], all_may)
    assert opened.data == f'"{LARGE}"'.encode()
    forged = Payload()
    forged.CopyFrom(large)
    forged.data = forged.data.replace(b'"signature":"k:', b'"signature":"k:0')
    assert await service.download([forged, plain], all_may) == [forged, plain]
    [typed] = await service.encode([plain])
    assert (await service.decode([typed], all_may)) == [plain]
    assert typed.metadata["encoding"] == b"binary/encrypted"


@pytest.mark.parametrize("keys", ["k:" + "ab" * 32, ""])
async def test_whose_a_large_payload_is_cannot_be_written_onto_its_reference(
    tmp_path: Path, keys: str
) -> None:
    """Its owner downloads it; for others it stays a reference or encrypted, whatever they write and where."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path), "HIBERNAUT_PAYLOAD_KEYS": keys})
    codec = load_codec(settings)
    store = PayloadStore(
        FolderStore(tmp_path / "objects"), codec.cipher if codec else None, reads_unsigned=not codec
    )
    service = CodecService(codec, store, "n")
    converter = data_converter(settings)
    context = WorkflowSerializationContext(namespace="n", workflow_id="agent/1")
    [large] = await converter.with_context(context)._with_store_context(to("r")).encode([LARGE])
    asked = list[str]()

    async def owner(agent: str) -> bool:
        asked.append(agent)
        return agent == "agent/1"

    async def stranger(agent: str) -> bool:
        return agent == "theirs"

    [opened] = await service.download([large], owner)
    assert opened.data == f'"{LARGE}"'.encode()
    assert set(asked) == {"agent/1"}
    claimed = Payload()
    claimed.CopyFrom(large)
    claimed.metadata[SEALED_FOR] = b"theirs"
    assert await service.download([claimed], stranger) == [claimed]
    # The same object under a place of their own, as whoever may write to the store could put it.
    if codec:
        elsewhere = run_prefix("n", "theirs", "r") + (referenced_key(large) or "").rpartition("/")[2]
        store.objects.put(elsewhere, store.objects.get(referenced_key(large) or ""))
        moved = Payload()
        moved.CopyFrom(large)
        claim = claim_in(large)
        assert claim is not None
        for old, new in (
            (claim.claim_data["key"], elsewhere),
            (claim.claim_data["signature"], codec.cipher.sign(elsewhere.encode())),
        ):
            moved.data = moved.data.replace(old.encode(), new.encode())
        [got] = await service.download([moved], stranger)
        assert LARGE.encode() not in got.SerializeToString()
    # A store that two namespaces share.
    other = CodecService(codec, store, "another")
    assert await other.download([large], owner) == [large]


NOW = datetime(2026, 11, 24, tzinfo=UTC)


def stored(run: str, name: str, hours: float = 100) -> StoredObject:
    return StoredObject(f"payloads/n/a/{run}/{name}", 1, NOW - timedelta(hours=hours))


def test_a_sweep_takes_what_ended_runs_left_and_nothing_else() -> None:
    """What is referred to, what an open run wrote, and what was just written under no run stays."""
    going = {stored("ended", "x"), stored("ended", "y", 0), stored("-", "old", 1.5)}
    staying = {
        stored("ended", "input-of-the-next"),
        stored("open", "x"),
        stored("open", "old", 999),
        stored("-", "new", 0.5),
        stored("-", "input", 999),
    }
    referenced = {"payloads/n/a/ended/input-of-the-next", "payloads/n/a/-/input"}
    found = collectable([*going, *staying], {"open"}, referenced, NOW - timedelta(hours=1))
    assert set(found) == going
