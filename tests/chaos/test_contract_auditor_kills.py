"""The contract auditor with real processes: workers are killed, the server is taken away, it is paused."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError
from temporalio.testing import TimeSkipper

from activities.batch.records import ItemResults
from cli.children import start_child
from common.agents.batch import page_prefix
from common.agents.contracts import ContractsInput, ContractsResult
from common.digest import digest_bytes
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.contracts.formats import unreadable, write_contracts
from tests.support.contracts.stage import Witness
from tests.support.stack import ROOT, Stack

AT_ONCE = 8
WEEKEND = timedelta(hours=60)


class ContractsStack(Stack):
    """A stack whose worker writes down what it reads."""

    def __init__(self, folder: Path, pause: float) -> None:
        super().__init__(folder)
        self.readings = folder / "readings.log"
        self.pause = pause

    async def start_worker(self) -> None:
        self.worker = await start_child(
            [sys.executable, "-m", "tests.support.contracts.worker", str(self.readings), str(self.pause)],
            environment={
                **os.environ,
                "TEMPORAL_ADDRESS": self.server.address,
                "HIBERNAUT_DATA_DIR": str(self.settings.data_dir),
                "PYTHONPATH": str(ROOT),
            },
            log=self.log,
        )


async def pages(client: Client, id: str) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """The pages of the agent's batch so far."""
    described = await client.get_workflow_handle(id).describe()
    prefix = page_prefix(id, described.raw_description.workflow_execution_info.first_run_id)
    number = 1
    while True:
        page = client.get_workflow_handle(f"{prefix}{number}")
        try:
            await page.describe()
        except RPCError:
            return
        yield page
        number += 1


async def over_the_weekend(client: Client, id: str) -> None:
    """Sixty hours pass for the agent and for whatever of its batch runs."""
    skipper = TimeSkipper(client)
    running = [
        page
        async for page in pages(client, id)
        if (await page.describe()).status is WorkflowExecutionStatus.RUNNING
    ]
    assert running
    for each in (client.get_workflow_handle(id), *running):
        assert await skipper.fast_forward(each, WEEKEND)


async def completions(client: Client, id: str) -> dict[str, float]:
    """When Temporal took note of each contract's result: by the digest of what was read."""
    found: dict[str, float] = {}
    async for page in pages(client, id):
        events = [event async for event in page.fetch_history_events()]
        kinds = {
            each.event_id: each.activity_task_scheduled_event_attributes.activity_type.name
            for each in events
            if each.HasField("activity_task_scheduled_event_attributes")
        }
        for event in events:
            completed = event.activity_task_completed_event_attributes
            if kinds.get(completed.scheduled_event_id) != "audit_contracts":
                continue
            [audited] = await client.data_converter.decode(completed.result.payloads, [ItemResults])
            at = event.event_time.ToDatetime().timestamp()
            # The page's clock is ahead by the weekend.
            at = at if at < time.time() else at - WEEKEND.total_seconds()
            for each in audited.results:
                found[(each.result if each.reason else each.result["result"])["digest"]] = at
    return found


def verdicts(result: ContractsResult) -> Counter[str]:
    lines = [json.loads(line) for line in Path(result.report["jsonl"]).read_text().splitlines()]
    return Counter(line["name"] for line in lines)


async def audit_under_fire(
    tmp_path: Path,
    count: int,
    *,
    kills: int,
    every: float,
    outage: float,
    pause: float,
    weekend: bool = False,
) -> tuple[int, Counter[str]]:
    """Audit while workers are killed; how many kills hit, and how often each contract was read."""
    folder = tmp_path / "contracts"
    made = write_contracts(folder, count, hostile=True)
    digests = {digest_bytes((folder / name).read_bytes()): name for name in (*made, *unreadable())}
    async with ContractsStack(tmp_path / "data", pause) as stack:
        agents = await stack.agents()
        input = ContractsInput(folder=str(folder), at_once=AT_ONCE, decide=False)
        id = await agents.start("contract-auditor", input, owner="local")
        hit = 0
        await eventually(lambda: Witness(stack.readings).readings())
        await agents.pause(id)
        client = await connect(stack.settings)
        await paused(stack, client, id)
        before = len(Witness(stack.readings).readings())
        if weekend:
            await over_the_weekend(client, id)
        assert len(Witness(stack.readings).readings()) == before, "a pause outlasts a weekend"
        await agents.resume(id)
        for number in range(kills):
            before = len(Witness(stack.readings).readings())

            async def goes_on(seen: int = before) -> bool:
                return len(Witness(stack.readings).readings()) > seen + 2 or not await runs(client, id)

            await eventually(goes_on, every=0.1)
            await asyncio.sleep(every)
            if not await runs(client, id):
                break
            await stack.kill_worker()
            hit += 1
            if outage and number == kills // 2:
                await stack.kill_server()
                await asyncio.sleep(outage)
                await stack.server.start()
            await stack.start_worker()
        result = ContractsResult.model_validate(
            await asyncio.wait_for(client.get_workflow_handle(id).result(), 1800)
        )
        assert result.contracts == count
        assert result.quarantined == len(unreadable())
        found = verdicts(result)
        assert set(found) == set(digests.values())
        assert set(found.values()) == {1}, "every contract has exactly one verdict"
        readings = Witness(stack.readings).readings()
        ended = await completions(client, id)
        late = [digests[digest] for at, digest in readings if at > ended.get(digest, float("inf")) + 0.5]
        assert late == [], "none was read again after it was done"
        return hit, Counter(digest for _, digest in readings)


async def runs(client: Client, id: str) -> bool:
    return (await client.get_workflow_handle(id).describe()).status is WorkflowExecutionStatus.RUNNING


async def is_at_rest(page: WorkflowHandle[Any, Any]) -> bool:
    """Whether a page has neither a call nor a task of its own under way."""
    described = (await page.describe()).raw_description
    return not described.pending_activities and not described.HasField("pending_workflow_task")


async def paused(stack: ContractsStack, client: Client, id: str) -> None:
    """While it is paused no contract is begun, once what was under way has ended."""
    witness = Witness(stack.readings)

    async def rests() -> bool:
        before = len(witness.readings())
        await asyncio.sleep(2 + stack.pause)
        at_rest = [await is_at_rest(page) async for page in pages(client, id)]
        return all(at_rest) and 0 < before == len(witness.readings())

    await eventually(rests)
    before = len(witness.readings())
    await asyncio.sleep(3)
    assert len(witness.readings()) == before


async def test_forty_contracts_get_one_verdict_each_though_every_worker_is_killed(tmp_path: Path) -> None:
    """Two kills while contracts are being read, and before them a pause."""
    hit, read = await audit_under_fire(tmp_path, 40, kills=2, every=0, outage=0, pause=0.5)
    assert hit == 2
    assert max(read.values()) <= 1 + hit, "only what a worker that died had not reported is read again"


@pytest.mark.soak
async def test_a_thousand_contracts_under_kills_and_an_outage(tmp_path: Path) -> None:
    """A kill every twenty seconds, the server away for thirty, and a pause over a weekend."""
    hit, read = await audit_under_fire(tmp_path, 1000, kills=12, every=20, outage=30, pause=1.5, weekend=True)
    twice = read.total() - len(read)
    print(f"{hit} kills, {twice} contracts read twice")
    assert hit >= 5
    assert twice <= hit * AT_ONCE
