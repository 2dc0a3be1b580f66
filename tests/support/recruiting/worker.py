"""A worker process for recruiters: `python -m tests.support.recruiting.worker OUTBOX`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import worker
from activities.calendars import Calendars
from activities.calls.interceptor import ReliableReports
from activities.decisions import DecisionChecks
from activities.delivery.notices import Notices
from activities.documents.extract import text_of
from activities.llm.activities import ModelActivities
from activities.llm.offline import OfflineAnalyst
from activities.llm.runner import ModelRunner
from activities.recruiting.activities import RecruitingActivities
from activities.recruiting.sending import LetterActivities
from activities.recruiting.understanding import OUTPUTS
from bench.harness import work_until_stopped
from common.agent_files import AgentFiles
from common.approval.signing import Authority
from common.artifacts import ArtifactStore
from common.lifecycle import exit_now
from common.settings import Settings
from common.temporal.connect import connect
from tests.support.recruiting.outbox import LedgerOutbox
from tests.support.stage import prepared
from workflows.recruiter.recruiter import Recruiter


async def work(outbox: LedgerOutbox, settings: Settings) -> None:
    """Work until SIGTERM."""
    client = await connect(settings)
    reports = ReliableReports(client)
    authority = Authority.load(settings)
    artifacts = ArtifactStore.of(settings)
    objects = [
        DecisionChecks(authority),
        Notices(),
        Calendars(),
        prepared(settings),
        RecruitingActivities(
            artifacts, OfflineAnalyst(), text_of, AgentFiles.of(settings), settings.data_dir / "recruiting"
        ),
        LetterActivities(artifacts, authority, outbox),
        ModelActivities(ModelRunner(settings, artifacts, outputs=OUTPUTS), authority),
    ]
    built = worker.build(client, settings, reports=reports, workflows=[Recruiter], objects=objects)
    worker.tune_gc()
    await work_until_stopped(built, reports)


if __name__ == "__main__":
    asyncio.run(work(LedgerOutbox(Path(sys.argv[1])), Settings.read(os.environ)))
    exit_now(0)
