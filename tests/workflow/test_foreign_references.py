"""References in signals that cannot be followed: the agent notes why, and goes on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.sdk.v1 import ExternalStorageReference
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.converter import JSONProtoPayloadConverter

from common.approval.types import Verdict
from common.settings import Settings
from common.temporal.codec import load_codec
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.agents.doubles import ErrandInput
from tests.support.stage import Stage, noted

REFERENCE = ExternalStorageReference.DESCRIPTOR.full_name.encode()


@pytest.fixture(params=["plain", "encrypted"])
async def stage(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[Stage]:
    """A stage with keys and without."""
    if request.param == "encrypted":
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        (settings.data_dir / "payload.keys").write_text("k1:" + "ab" * 32)
    stage = Stage(await connect(settings), settings)
    async with stage.at_work():
        yield stage


def reference(driver: str, **claim: str) -> RawValue:
    found = JSONProtoPayloadConverter().to_payload(
        ExternalStorageReference(driver_name=driver, claim_data=claim)
    )
    assert found is not None
    return RawValue(found)


def raw(encoding: bytes, data: bytes) -> RawValue:
    return RawValue(Payload(metadata={"encoding": encoding, "messageType": REFERENCE}, data=data))


async def test_a_reference_that_cannot_be_followed_does_not_stop_the_agent(stage: Stage) -> None:
    """To another store, to nothing, to what is gone though its signature is good, or no reference at all."""
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    run_id = (await agent.describe()).run_id
    codec = load_codec(stage.settings)
    forged = (await Client.connect(stage.client.service_client.config.target_host)).get_workflow_handle(
        agent.id
    )
    for run in ("-", run_id):
        key = f"payloads/default/{agent.id}/{run}/{'0' * 64}"
        signature = {"signature": codec.cipher.sign(key.encode())} if codec else {}
        await forged.signal("tell", reference("hibernaut", key=key, **signature))
    legacy = {"driver_name": "s3", "driver_claim": {"claim_data": {"key": "x"}}}
    for value in (
        reference("s3.elsewhere", bucket="b"),
        raw(b"json/protobuf", b"{"),
        raw(b"json/protobuf", b'{"claimData": 7}'),
        raw(b"json/external-storage-reference", b"nothing"),
        raw(b"json/external-storage-reference", json.dumps(legacy).encode()),
    ):
        await forged.signal("tell", value)
    await agent.signal("tell", "be brief")
    for reason in ("names an object that is not there", "its reference is to another store"):
        await eventually(lambda reason=reason: noted(stage, agent, reason))
    await eventually(lambda: noted(stage, agent, "be brief"))
    refused = [note for note in await stage.notes(agent) if "refused the signal 'tell'" in note]
    assert len(refused) == 7, refused
    await stage.rest()
    await stage.work()
    await stage.decide(agent, request, Verdict.REJECT)
    assert (await agent.result())["words"].startswith("approval-1: rejected by ann")


async def test_an_update_that_cannot_be_read_does_not_stop_the_agent(stage: Stage) -> None:
    """It fails, and its sender hears so."""
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    forged = (await Client.connect(stage.client.service_client.config.target_host)).get_workflow_handle(
        agent.id
    )
    for value in (
        reference("s3.elsewhere", bucket="b"),
        reference("hibernaut", key=f"payloads/default/{agent.id}/-/{'0' * 64}"),
    ):
        with pytest.raises(Exception, match=r"."):
            await forged.execute_update("look", value)
    await stage.decide(agent, request, Verdict.REJECT)
    assert (await agent.result())["words"].startswith("approval-1: rejected by ann")
