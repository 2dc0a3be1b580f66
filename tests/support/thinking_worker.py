"""A worker process for an agent that uses a model, to kill: `python -m tests.support.thinking_worker`."""

from __future__ import annotations

import asyncio
import os

import worker
from activities.calls.interceptor import ReliableReports
from activities.decisions import DecisionChecks
from activities.llm.activities import ModelActivities
from activities.llm.runner import ModelRunner
from common.approval.signing import Authority
from common.artifacts import ArtifactStore
from common.settings import Settings
from common.temporal.connect import connect
from tests.support.agents.doubles import NoticeBoard
from tests.support.agents.talker import Talker


async def work(settings: Settings) -> None:
    """Work until killed."""
    client = await connect(settings)
    authority = Authority.load(settings)
    runner = ModelRunner(settings, ArtifactStore.of(settings))
    objects = [ModelActivities(runner, authority), DecisionChecks(authority), NoticeBoard()]
    reports = ReliableReports(client)
    await worker.build(client, settings, reports=reports, workflows=[Talker], objects=objects).run()


if __name__ == "__main__":
    asyncio.run(work(Settings.read(os.environ)))
