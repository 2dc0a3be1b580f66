"""A worker that logs what it reads: `python -m tests.support.contracts.worker LOG PAUSE`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import worker
from activities.calls.interceptor import ReliableReports
from activities.contracts.activities import Contracts
from activities.contracts.records import Audit
from common.artifacts import ArtifactStore
from common.exiting import exit_now
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
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with worker.build(client, settings, reports=reports, objects=objects):
        print("worker ready", file=sys.stderr, flush=True)
        await stopped.wait()
    await reports.drain(5)


if __name__ == "__main__":
    asyncio.run(work(SlowWitness(Path(sys.argv[1]), float(sys.argv[2])), Settings.read(os.environ)))
    exit_now(0)
