"""A worker for an agent that thinks, as a process to be killed: `python -m tests.chaos.thinking_worker`."""

from __future__ import annotations

import asyncio
import os

import worker
from activities.decisions import DecisionChecks
from activities.interceptor import ReliableReports
from activities.llm.mind import Mind
from activities.llm.thinking import Thinking
from common.artifacts import ArtifactStore
from common.connect import connect
from common.envelope import Authority
from common.settings import Settings
from tests.workflow.doubles import NoticeBoard
from tests.workflow.thinking_agents import Talker


async def work(settings: Settings) -> None:
    """Work until killed."""
    client = await connect(settings)
    authority = Authority.load(settings)
    mind = Mind(settings, ArtifactStore.of(settings))
    objects = [Thinking(mind, authority), DecisionChecks(authority), NoticeBoard()]
    reports = ReliableReports(client)
    await worker.build(client, settings, reports=reports, workflows=[Talker], objects=objects).run()


if __name__ == "__main__":
    asyncio.run(work(Settings.read(os.environ)))
