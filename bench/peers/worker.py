"""The worker process of one side of the bench: `python -m bench.peers.worker kit|bare`."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta

import uvloop
from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

import worker
from activities.calls.interceptor import ReliableReports
from activities.decisions import DecisionChecks
from activities.delivery.notices import Notices
from bench.harness import work_until_stopped
from bench.peers.bare import BareAgent
from bench.peers.effects import Effects
from bench.peers.kit import KitAgent
from bench.peers.tasks import BareDeeds, KitDeeds, Steps
from common.approval.signing import Authority
from common.lifecycle import exit_now
from common.settings import Settings
from common.temporal.connect import connect
from common.temporal.waiting_proxy import WaitingProxy
from workflows.replayer import RESTRICTIONS


def kit_worker(client: Client, settings: Settings, reports: ReliableReports) -> Worker:
    """The real worker, with the bench's agent and activities in place of its own."""
    authority, effects = Authority.load(settings), Effects.of(os.environ)
    return worker.build(
        client,
        settings,
        reports=reports,
        workflows=[KitAgent],
        objects=[Steps(effects), KitDeeds(authority, effects), DecisionChecks(authority), Notices()],
    )


def bare_worker(client: Client, settings: Settings) -> Worker:
    """The SDK's own worker.

    Three of the kit's settings apply here, too: any user of the SDK can choose them, and a difference in them
    would distort the kit's cost. They are the sandbox's pass-through modules (otherwise 30 ms a start), how
    long an agent's task waits for a dead worker (otherwise 10 s; only cold wake-ups feel it), and the data
    converter, since both clients come from `common.temporal.connect`. Both caches hold 1,000 agents, the
    default.
    """
    effects = Effects.of(os.environ)
    return Worker(
        client,
        task_queue=settings.task_queue,
        workflows=[BareAgent],
        activities=worker.activity_methods([Steps(effects), BareDeeds(effects)]),
        workflow_runner=SandboxedWorkflowRunner(RESTRICTIONS),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
    )


async def work(side: str, settings: Settings) -> None:
    """Work until SIGTERM."""
    client = await connect(settings, proxy=WaitingProxy() if side == "kit" else None)
    reports = ReliableReports(client)
    built = kit_worker(client, settings, reports) if side == "kit" else bare_worker(client, settings)
    if side == "kit":
        worker.tune_gc()
    await work_until_stopped(built, reports)


if __name__ == "__main__":
    # Each on its usual event loop: ours on uvloop, the SDK's samples on asyncio's.
    run = uvloop.run if sys.argv[1] == "kit" else asyncio.run
    run(work(sys.argv[1], Settings.read(os.environ)))
    exit_now(0)
