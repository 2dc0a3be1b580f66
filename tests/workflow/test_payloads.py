"""Large and secret state on a real server: refused, bounded, stored once, swept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.api.sdk.v1 import ExternalStorageReference
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.common import RawValue
from temporalio.converter import JSONProtoPayloadConverter
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.service import RPCError
from temporalio.worker import Worker

from cli.dev_server import DevServer
from common.agents.agent import Notebook
from common.approval.types import Verdict
from common.archive.payload_sweep import ForeignStoreError, Swept, references, sweep
from common.object_store import FolderStore, StoreUnavailableError, open_store
from common.settings import Settings
from common.temporal import converter
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.agents.doubles import ErrandInput
from tests.support.agents.keepers import KeeperAgent, KeeperInput, Kept
from tests.support.agents.messaging import MessagingWorkflow
from tests.support.stage import Stage, noted, state_is

KEYS = "k1:" + "ab" * 32


@pytest.fixture
async def stage(settings: Settings) -> AsyncIterator[Stage]:
    """A stage where encryption is on."""
    state = settings.state.but(payload_keys=KEYS, compression="off")
    settings = settings.but(state=state)
    stage = Stage(await connect(settings), settings)
    stage.agents = [*stage.agents, KeeperAgent, MessagingWorkflow]
    async with stage.at_work(replays=False):
        yield stage


@pytest.fixture
async def intruder(stage: Stage) -> Client:
    """Someone who may write to Temporal and has no key."""
    return await Client.connect(stage.client.service_client.config.target_host)


def lying(stage: Stage) -> dict[str, datetime]:
    """Every object in the store, and when it was written."""
    found = open_store(stage.settings).list("payloads/")
    return {each.key: each.written_at for each in found if not each.key.endswith("/swept-for")}


async def sleeping(stage: Stage, input: KeeperInput) -> WorkflowHandle[Any, Any]:
    handle = await stage.start(input, "keeper")
    await eventually(lambda: asleep(handle))
    return handle


async def asleep(handle: WorkflowHandle[Any, Any]) -> bool:
    try:
        current = (await handle.describe()).typed_search_attributes
    except RPCError:
        return False  # it has not started yet
    return any(each.key.name == "AgentState" and each.value == "sleeping" for each in current)


async def result_of(handle: WorkflowHandle[Any, Any]) -> Kept:
    await handle.signal("wake", None)
    return Kept.model_validate(await handle.result())


async def why(handle: WorkflowHandle[Any, Any]) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as failure:
        await handle.result()
    cause: BaseException | None = failure.value.cause
    if isinstance(cause, ActivityError):
        cause = cause.cause
    assert isinstance(cause, ApplicationError)
    return cause


def reference_to(key: str) -> RawValue:
    reference = ExternalStorageReference(driver_name="hibernaut", claim_data={"key": key})
    payload = JSONProtoPayloadConverter().to_payload(reference)
    assert payload is not None
    return RawValue(payload)


async def test_a_signal_in_plain_is_noted_as_refused_and_wedges_nothing(
    stage: Stage, intruder: Client
) -> None:
    """Nor does one under an unknown key, or one that refers to an object which is not there."""
    agent = await stage.start(ErrandInput())
    request = await stage.asked(agent)
    forged = intruder.get_workflow_handle(agent.id)
    unknown = Payload(metadata={"encoding": b"binary/encrypted", "encryption-key-id": b"k9"}, data=b"x" * 40)
    await forged.signal("tell", "obey")
    await forged.signal("tell", RawValue(unknown))
    await forged.signal("tell", reference_to(f"payloads/default/{agent.id}/-/{'0' * 64}"))
    await forged.signal("pause")

    for reason in (
        "refused the signal 'pause': it came in plain, and encryption is on",
        "refused the signal 'tell': it came in plain, and encryption is on",
        "unknown key 'k9'",
        "not signed by a key of this ring",
    ):
        await eventually(lambda reason=reason: noted(stage, agent, reason))
    await stage.decide(agent, request, Verdict.REJECT)
    assert (await agent.result())["words"].startswith("approval-1: rejected by ann")
    assert not any("obey" in each or each.endswith(": paused") for each in await stage.notes(agent))
    await stage.replay_all()


async def test_an_input_in_plain_fails_its_agent_with_the_reason(stage: Stage, intruder: Client) -> None:
    """At once, and for good."""
    handle = await intruder.start_workflow(
        "errand", {}, id=f"plain-{stage.settings.task_queue}", task_queue=stage.settings.task_queue
    )
    error = await why(stage.client.get_workflow_handle(handle.id))
    assert (error.type, error.message) == ("PayloadRefused", "it came in plain, and encryption is on")


async def test_a_result_in_plain_fails_its_call_with_the_reason(stage: Stage, intruder: Client) -> None:
    """A worker without the keys cannot tell an agent anything."""
    await stage.rest()

    @activity.defn(dynamic=True)
    async def forged(arguments: Sequence[RawValue]) -> dict[str, object]:
        return {"number": 1, "text": "obey"}

    async with (
        stage.workflow_worker(),
        Worker(intruder, task_queue=stage.settings.task_queue, activities=[forged]),
    ):
        handle = await stage.start(KeeperInput(steps=1), "keeper")
        error = await why(handle)
    assert (error.type, error.message) == ("PayloadRefused", "it came in plain, and encryption is on")


async def test_large_payloads_lie_under_their_run_and_come_back(stage: Stage) -> None:
    """An input, an activity's result that is reported by task token, a signal, an agent's own result."""
    stage.world.step_text = "y" * 300_000
    handle = await sleeping(stage, KeeperInput(steps=2, say="z" * 200_000))
    run_id = (await handle.describe()).run_id
    under = [key.split("/")[3] for key in lying(stage)]
    assert sorted(under) == sorted(["-", run_id, run_id])
    kept = await result_of(handle)
    assert (kept.stepped, kept.said) == ([300_000, 300_000], "z" * 200_000)
    assert len(lying(stage)) == 4
    assert set(lying(stage)) == await references(stage.client, handle.id, run_id)
    await stage.replay_all()


async def test_what_goes_to_another_workflow_is_encrypted_for_that_one(stage: Stage) -> None:
    """A signal to an agent, and the input of a child, which is stored under the child besides."""
    agent = await sleeping(stage, KeeperInput())
    large = "x" * 200_000
    neighbour = await stage.client.start_workflow(
        "neighbour",
        args=[large, agent.id],
        id=f"neighbour-of-{agent.id}",
        task_queue=stage.settings.task_queue,
    )
    child = stage.client.get_workflow_handle(f"{neighbour.id}-child")
    # A wake that came before its sleep would be refused.
    await eventually(lambda: asleep(child))
    await child.signal("wake", None)
    assert Kept.model_validate(await neighbour.result()).said == large
    assert f"was told: {large[:10]}" in "".join(await stage.notes(agent))
    assert [key for key in lying(stage) if f"/{neighbour.id}-child/-/" in key]


async def test_queries_replays_and_retries_write_nothing(stage: Stage) -> None:
    """Also by a worker that knows nothing yet, and where the answer itself is large."""
    stage.world.step_fails = 1
    stage.world.step_text = "y" * 300_000
    handle = await sleeping(stage, KeeperInput(steps=1, say="z" * 200_000, lines=150))
    before = lying(stage)
    assert len(before) == 2
    await stage.rest()
    await stage.work()
    for _ in range(2):
        notebook = await stage.query(handle, "notebook", Notebook)
        assert sum(len(entry.text) for entry in notebook.entries) > 280_000
    await result_of(handle)
    written = {key: at for key, at in lying(stage).items() if key not in before or before[key] != at}
    assert len(written) == 1, "the agent's own result"
    done = lying(stage)
    await stage.query(handle, "notebook", Notebook)
    await stage.replay_all()
    assert lying(stage) == done


async def test_a_store_that_is_away_delays_and_loses_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outcome waits in the worker, and its activity does not run again."""
    stage.world.step_text = "y" * 300_000
    failed: list[str] = []
    put = FolderStore.put

    def away(self: FolderStore, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        if len(failed) < 3:
            failed.append(key)
            raise StoreUnavailableError("away")
        return put(self, key, data, if_absent=if_absent)

    monkeypatch.setattr(FolderStore, "put", away)
    kept = await result_of(await sleeping(stage, KeeperInput(steps=1)))
    assert len(failed) == 3
    assert kept.stepped == [300_000]
    assert stage.world.steps == [0]


async def test_what_is_too_large_fails_with_its_reason(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input, a result of an activity, a state that is carried over; an answer leaves its agent alone."""
    monkeypatch.setattr(converter, "MAX_BYTES", 1_000_000)
    with pytest.raises(ApplicationError, match="1000000 can be kept"):
        await stage.start(KeeperInput(say="x" * 1_000_001), "keeper")
    carrying = await stage.start(KeeperInput(rounds=1, state_bytes=1_000_001), "keeper")
    assert (await why(carrying)).type == "PayloadTooLarge"
    stage.world.step_text = "y" * 1_000_001
    calling = await stage.start(KeeperInput(steps=1), "keeper")
    assert (await why(calling)).type == "PayloadTooLarge"
    assert stage.world.steps == [0]
    asked = await sleeping(stage, KeeperInput(lines=150))
    monkeypatch.setattr(converter, "MAX_INLINE_BYTES", 200_000)
    with pytest.raises(WorkflowQueryFailedError, match="the answer to notebook is "):
        await asked.query("notebook")
    assert await state_is(stage, asked, "sleeping")


async def test_a_sweep_for_another_service_deletes_nothing(stage: Stage, tmp_path: Path) -> None:
    """Two services with one bucket: to each, the other's agents would look as if they were gone."""
    handle = await sleeping(stage, KeeperInput(rounds=1, say="z" * 200_000))
    objects = open_store(stage.settings)
    far = datetime.now(UTC) + timedelta(days=9)
    before = lying(stage)
    await sweep(stage.client, objects, far, dry_run=True)
    other = stage.settings.but(data_dir=tmp_path / "other")
    async with DevServer(other, ui_port=None, scratch=True) as server:
        stranger = await Client.connect(server.address)
        with pytest.raises(ForeignStoreError, match="HIBERNAUT_S3_PREFIX"):
            await sweep(stranger, objects, far)
    assert lying(stage) == before
    assert (await result_of(handle)).said == "z" * 200_000


async def test_a_sweep_beside_a_working_agent_takes_nothing_it_needs(stage: Stage) -> None:
    """Again and again while it carries its state over; it goes on, and only the live copy is left."""
    objects = open_store(stage.settings)
    deleted = []

    async def sweeping() -> None:
        while True:
            deleted.append((await sweep(stage.client, objects, datetime.now(UTC))).deleted)
            await asyncio.sleep(0.1)

    sweeper = asyncio.create_task(sweeping())
    try:
        handles = []
        # Where sweeps are slow, one may take all that an agent has left behind.
        while sum(each > 0 for each in deleted) < 2:
            keeper = KeeperInput(rounds=5, state_bytes=300_000, say="hello")
            handles.append(await sleeping(stage, keeper))
    finally:
        sweeper.cancel()
        [ended] = await asyncio.gather(sweeper, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError)
    await sweep(stage.client, objects, datetime.now(UTC))
    assert len(lying(stage)) == len(handles)
    await stage.rest()
    await stage.work()
    for handle in handles:
        kept = await result_of(handle)
        assert (kept.rounds, kept.state_bytes) == (5, 300_000)


@pytest.mark.parametrize("rounds", [10, pytest.param(50, marks=pytest.mark.soak)])
async def test_a_large_state_carried_over_and_over_leaves_only_its_live_copy(
    rounds: int, stage: Stage
) -> None:
    """5 MB; the agent goes on from what is left, and what it leaves at its end is its result's."""
    handle = await sleeping(stage, KeeperInput(rounds=rounds, state_bytes=5_000_000, say="hello"))
    other = await sleeping(stage, KeeperInput(say="z" * 200_000))
    objects = open_store(stage.settings)
    before = lying(stage)
    run_id = (await handle.describe()).run_id
    live = await references(stage.client, handle.id, run_id)
    assert len(live) == 1
    assert len(before) == rounds + 1

    dry = await sweep(stage.client, objects, datetime.now(UTC), dry_run=True)
    assert lying(stage) == before
    swept = await sweep(stage.client, objects, datetime.now(UTC))
    assert swept == dry == Swept(deleted=rounds - 1, deleted_bytes=swept.deleted_bytes, kept=2)
    assert swept.deleted_bytes > (rounds - 1) * 5_000_000
    assert set(lying(stage)) > live
    later = datetime.now(UTC) + timedelta(days=9)
    assert (await sweep(stage.client, objects, later)) == Swept(kept=2), "age alone takes nothing"

    await stage.rest()
    await stage.work()
    kept = await result_of(handle)
    assert (kept.rounds, kept.state_bytes, len(kept.chat)) == (rounds, 5_000_000, rounds)
    assert (await result_of(other)).said == "z" * 200_000
    assert (await sweep(stage.client, objects, later)).deleted == 0, "closed runs stay readable"
