"""A worker process for the drift agent, to be killed.

Run it with `python -m tests.support.drift.worker`.

Arguments: data folder, task queue, folder of the world. The address comes from `TEMPORAL_ADDRESS`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import worker
from activities.calls.interceptor import ReliableReports
from activities.decisions import DecisionChecks
from common.approval.signing import Authority
from common.settings import Settings
from common.temporal.connect import connect
from tests.support.agents.doubles import NoticeBoard
from tests.support.drift.agent import DriftAgent
from tests.support.drift.world import DriftWorld


async def work(data: str, queue: str, folder: Path) -> None:
    """Work until killed."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": data, "HIBERNAUT_TASK_QUEUE": queue})
    client = await connect(settings)
    authority = Authority.load(settings)
    objects = [DriftWorld(folder, authority), DecisionChecks(authority), NoticeBoard()]
    built = worker.build(
        client, settings, reports=ReliableReports(client), workflows=[DriftAgent], objects=objects
    )
    await built.run()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
