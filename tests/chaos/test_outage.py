"""Thirty seconds without Temporal: what had ended stays ended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

import worker
from activities.calls.interceptor import ReliableReports
from activities.decisions import DecisionChecks
from activities.delivery.notices import Notices
from cli.dev_server import DevServer
from common.approval.floors import write_alone
from common.approval.signing import Authority
from common.approval.types import ApprovalsView
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.agents.agents import ErrandAgent
from tests.support.agents.doubles import ErrandInput, World
from workflows.replayer import sandbox

OUTAGE_SECONDS = 15  # the SDK by itself gives up after some ten


# That the SDK alone runs it again shows that the outage bites. The bench of outages asks the same of more
# activities, in small with every run of the tests.
@pytest.mark.soak
@pytest.mark.parametrize("reliable", [pytest.param(True, id="ours"), pytest.param(False, id="the SDK's own")])
async def test_an_activity_that_ends_while_temporal_is_away_is_not_run_again(
    reliable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its result is reported until it is heard."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)})
    async with DevServer(settings, ui_port=None, scratch=True) as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        client = await connect(settings)
        write_alone(settings)
        authority = Authority.load(settings, create=True)
        world = World(authority)
        world.hold = asyncio.Event()
        objects = [world, DecisionChecks(authority), Notices()]
        async with _worker(client, settings, objects, reliable=reliable):
            agent = await client.start_workflow(
                "errand", ErrandInput(), id="errand-1", task_queue=settings.task_queue
            )
            await eventually(lambda: world.fact_fetches == 1)
            server.kill()
            await server.wait()
            world.hold.set()
            await asyncio.sleep(OUTAGE_SECONDS)
            await server.start()

            async def asked() -> bool:
                return bool((await agent.query("approvals", result_type=ApprovalsView)).open)

            # Its start-to-close time-out is a minute; after it Temporal would hand it out again.
            if reliable:
                await eventually(asked, 50)
                assert world.fact_fetches == 1
            else:
                await eventually(lambda: world.fact_fetches == 2, 90)


def _worker(client: Client, settings: Settings, objects: list[object], *, reliable: bool) -> Worker:
    if reliable:
        return worker.build(
            client, settings, reports=ReliableReports(client), workflows=[ErrandAgent], objects=objects
        )
    return Worker(
        client,
        task_queue=settings.task_queue,
        workflows=[ErrandAgent],
        activities=worker.activity_methods(objects),
        workflow_runner=sandbox(),
    )
