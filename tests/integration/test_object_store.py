"""One interface, three stores: a folder, moto for breadth, rclone as a real process that checks keys."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import boto3
import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)
from temporalio.exceptions import ApplicationError

from activities.mail.outbox import FAILED, LetterState, Outbox
from common.approval.signing import Signer
from common.key_ring import KeyRing
from common.mail import Sent, SentStatus
from common.object_store import ObjectMissingError, ObjectStore, StoreUnavailableError, open_store
from common.s3_store import S3Store
from common.settings import Settings
from common.temporal.payload_store import PayloadStore
from tests.support.s3 import BUCKET, Rclone, credentials, moto, rclone, settings_for

__all__ = ["credentials", "moto", "rclone"]


@pytest.fixture(params=["folder", "moto", "rclone"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return open_store(Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)}))
    if request.param == "moto":
        return open_store(settings_for(request.getfixturevalue("moto")))
    return open_store(settings_for(f"http://127.0.0.1:{request.getfixturevalue('rclone').port}"))


async def test_a_store_keeps_lists_and_deletes_objects(store: ObjectStore) -> None:
    """The whole interface, in the same way everywhere."""

    def use() -> None:
        data = secrets.token_bytes(300_000)
        names = ["a/b/1", "a/b/2", "a/bc/3", "a%2F b/4", "a/b-/5"]
        for name in names:
            assert store.put(name, data + name.encode())
        assert store.get("a/bc/3") == data + b"a/bc/3"
        head = store.head("a/b/1")
        assert head is not None
        assert (head.key, head.size) == ("a/b/1", 300_005)
        assert {each.key for each in store.list("a/")} == {"a/b/1", "a/b/2", "a/bc/3", "a/b-/5"}
        assert [each.key for each in store.list("a/b/")] == ["a/b/1", "a/b/2"]
        assert [each.key for each in store.list("a/b/2")] == ["a/b/2"]
        assert list(store.list("none/")) == []
        assert store.put("a/b/1", b"other")
        assert store.get("a/b/1") == b"other"
        assert store.head("a/x") is None
        assert store.head("a/b/1/deeper") is None
        with pytest.raises(ObjectMissingError, match="a/x"):
            store.get("a/x")
        store.delete(["a/b/1", "a/b/2", "a/b/missing"])
        assert [each.key for each in store.list("a/b/")] == []
        assert store.get("a%2F b/4") == data + b"a%2F b/4"

    await asyncio.to_thread(use)


@pytest.mark.parametrize("store", ["folder", "moto"], indirect=True)
async def test_a_conditional_write_leaves_what_is_there(store: ObjectStore) -> None:
    """Where the service knows conditions."""
    assert await asyncio.to_thread(store.put, "k/1", b"first", if_absent=True)
    assert not await asyncio.to_thread(store.put, "k/1", b"second", if_absent=True)
    assert await asyncio.to_thread(store.get, "k/1") == b"first"


def test_of_many_that_write_an_object_at_once_one_does(tmp_path: Path) -> None:
    """A claim in the folder is one process' alone."""
    store = open_store(Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)}))
    with ThreadPoolExecutor(8) as pool:
        for number in range(50):
            key = f"claims/{number}"
            won = list(pool.map(lambda who, key=key: store.put(key, b"%d" % who, if_absent=True), range(8)))
            assert sum(won) == 1
            assert store.get(key) == b"%d" % won.index(True)
    assert len(list(store.list("claims/"))) == 50
    assert [file.name for file in tmp_path.rglob("*.hibernaut")] == []


@pytest.mark.parametrize("store", ["folder", "moto", "rclone"], indirect=True)
async def test_the_outbox_stands_on_each_store(store: ObjectStore) -> None:
    """A letter's facts, one after the other, as another worker sees them."""

    def use() -> None:
        here, there = (Outbox(store, Signer(KeyRing.of({"k": b"k" * 32}))) for _ in range(2))
        about = {
            "agent": "a",
            "thread": "t",
            "to": "Bob@example.com",
            "content": "c",
            "domain": "example.com",
        }
        record = here.enter("key", **about)
        assert there.enter("key", **{**about, "to": "bob@EXAMPLE.com"}) == record
        assert there.find(record.token.upper()) == record
        assert there.state(record.id, record.message_id) == LetterState(None, 1)
        assert here.claim(record.id, 1)
        with pytest.raises(ApplicationError, match="under way"):
            there.state(record.id, record.message_id)
        here.settle(record.id, 1, FAILED)
        assert there.state(record.id, record.message_id) == LetterState(None, 2)
        assert there.counts() == {"sent": 0, "refused": 0, "unknown": 0, "open": 1}
        assert there.claim(record.id, 2)
        there.settle(record.id, 2, SentStatus.REFUSED, "550 no – such user")
        fate = here.state(record.id, record.message_id)
        assert fate.sent == Sent(
            status=SentStatus.REFUSED, message_id=record.message_id, reason="550 no – such user"
        )
        assert here.counts() == {"sent": 0, "refused": 1, "unknown": 0, "open": 0}

    await asyncio.to_thread(use)


async def test_more_objects_than_one_page_are_listed_and_deleted(moto: str) -> None:
    """A page of S3 holds 1,000."""
    store = open_store(settings_for(moto))

    def use() -> int:
        for number in range(1050):
            store.put(f"p/{number:04}", b"x")
        found = [each.key for each in store.list("p/")]
        assert found == [f"p/{number:04}" for number in range(1050)]
        store.delete(found)
        return len(list(store.list("p/")))

    assert await asyncio.to_thread(use) == 0


async def test_a_wrong_key_is_one_clear_error(rclone: Rclone, credentials: Callable[[str], None]) -> None:
    """It names the bucket, the address and what was answered; nothing is written."""
    credentials("wrong")
    store = open_store(settings_for(f"http://127.0.0.1:{rclone.port}"))
    for use in (
        lambda: store.put("a/1", b"x"),
        lambda: store.get("a/1"),
        lambda: store.head("a/1"),
        lambda: list(store.list("a/")),
        lambda: store.delete(["a/1"]),
    ):
        with pytest.raises(
            StoreUnavailableError, match=rf"HIBERNAUT_S3_BUCKET={BUCKET} at http://127"
        ) as error:
            await asyncio.to_thread(use)
        assert "wrong" not in str(error.value)
    assert list((rclone.folder / BUCKET).iterdir()) == []


async def test_a_missing_bucket_is_no_missing_object(moto: str) -> None:
    """A misspelt setting must not look as if everything were gone."""
    settings = Settings.read(
        {"HIBERNAUT_S3_BUCKET": "nowhere", "HIBERNAUT_S3_ENDPOINT": moto, "HIBERNAUT_S3_REGION": "us-east-1"}
    )
    with pytest.raises(StoreUnavailableError, match="NoSuchBucket"):
        await asyncio.to_thread(open_store(settings).get, "a/1")


async def test_a_service_that_is_away_is_said_at_once_and_its_objects_outlive_it(tmp_path: Path) -> None:
    """One attempt, for Temporal tries again; after the restart everything is there, as files on disk."""
    server = Rclone(tmp_path / "served")
    store = PayloadStore(open_store(settings_for(f"http://127.0.0.1:{server.port}")))
    to = StorageDriverStoreContext(target=StorageDriverWorkflowInfo(namespace="n", id="a", run_id="r"))
    payload = Payload(data=b"x" * 200_000)
    with pytest.raises(StoreUnavailableError, match="EndpointConnectionError"):
        await store.store(to, [payload])
    async with server.running():
        [claim] = await store.store(to, [payload])
        file = server.folder / BUCKET / "team" / claim.claim_data["key"]
        assert file.read_bytes() == payload.SerializeToString()
    async with server.running():
        assert await store.retrieve(StorageDriverRetrieveContext(), [claim]) == [payload]


async def test_the_rule_for_colder_storage_leaves_other_rules(moto: str) -> None:
    """Set, changed and taken back; only its own prefix, and only once."""
    store = open_store(settings_for(moto))
    assert isinstance(store, S3Store)
    client = boto3.session.Session().client("s3", endpoint_url=moto, region_name="us-east-1")
    other = {"ID": "other", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 9}}
    client.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [other]})
    for days in (90, 30):
        await asyncio.to_thread(store.move_when_cold, "archive/v1/agents/", timedelta(days=days))
        rules = client.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
        assert [rule["ID"] for rule in rules] == ["other", "hibernaut team/archive/v1/agents/"]
        assert rules[1]["Filter"]["Prefix"] == "team/archive/v1/agents/"
        [move] = rules[1]["Transitions"]
        assert (move["Days"], move["StorageClass"]) == (days, "GLACIER_IR")
    await asyncio.to_thread(store.move_when_cold, "archive/v1/agents/", None)
    assert [rule["ID"] for rule in client.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]] == [
        "other"
    ]


async def test_a_service_without_rules_keeps_its_bucket(rclone: Rclone, credentials: object) -> None:
    """One that takes the deletion of rules for that of the bucket is asked to delete nothing."""
    store = open_store(settings_for(f"http://127.0.0.1:{rclone.port}"))
    assert isinstance(store, S3Store)
    await asyncio.to_thread(store.move_when_cold, "archive/v1/agents/", None)
    assert (rclone.folder / BUCKET).is_dir()
