"""A worker that logs what it reads: `python -m tests.support.contracts.worker LOG PAUSE`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import worker
from activities.calls.interceptor import ReliableReports
from activities.contracts.activities import Contracts
from activities.contracts.records import Audit
from bench.harness import work_until_stopped
from common.artifacts import ArtifactStore
from common.lifecycle import exit_now
from common.settings import Settings
from common.temporal.connect import connect
from tests.support.contracts.stage import Witness


class SlowWitness(Witness):
    """A slow witness, so that a kill hits contracts being read."""

    def __init__(self, log: Path, pause: float) -> None:
        super().__init__(log)
        self._pause = pause

    def __call__(self, *contract: Any) -> Audit:
        audit = super().__call__(*contract)
        time.sleep(self._pause)
        return audit


async def work(witness: Witness, settings: Settings) -> None:
    """Work until SIGTERM, with a real worker's activities except for the reader."""
    client = await connect(settings)
    reports = ReliableReports(client)
    artifacts = ArtifactStore.of(settings)
    objects = [
        Contracts(artifacts, settings.model, witness) if isinstance(each, Contracts) else each
        for each in worker.all_activity_objects(client, settings)
    ]
    await work_until_stopped(worker.build(client, settings, reports=reports, objects=objects), reports)


if __name__ == "__main__":
    asyncio.run(work(SlowWitness(Path(sys.argv[1]), float(sys.argv[2])), Settings.read(os.environ)))
    exit_now(0)
