"""The worker process of the bench of batches: `python -m bench.peers.batch_worker`."""

from __future__ import annotations

import asyncio
import os

import worker
from activities.calls.interceptor import ReliableReports
from activities.delivery.notices import Notices
from activities.starts import StartChecks
from bench.harness import work_until_stopped
from bench.peers.batching import BatchAgent, Sleeper
from bench.peers.batching_types import Jobs, Nap
from common.agents.kinds import KINDS, Kind
from common.approval.signing import Signer
from common.lifecycle import exit_now
from common.settings import Settings
from common.temporal.connect import connect
from workflows.batch_page import BatchPage

SLEEPER = Kind("bench-sleeper", "sleeps", Nap, "bench.peers.batching:Sleeper")


async def work(settings: Settings) -> None:
    """Work until SIGTERM, as the real worker does."""
    KINDS[SLEEPER.name] = SLEEPER
    client = await connect(settings)
    reports = ReliableReports(client)
    signer = Signer.load(settings)
    objects = [Jobs(), StartChecks(signer), Notices(), *worker.batch_objects(client, settings)]
    workflows = [BatchAgent, Sleeper, BatchPage]
    built = worker.build(client, settings, reports=reports, workflows=workflows, objects=objects)
    worker.tune_gc()
    await work_until_stopped(built, reports)


if __name__ == "__main__":
    asyncio.run(work(Settings.read(os.environ)))
    exit_now(0)
