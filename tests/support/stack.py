"""A Temporal server and a worker as separate processes that tests kill and restart."""

from __future__ import annotations

import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path

from cli.children import end_child, start_child
from cli.dev_server import DevServer
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.client.client import AgentClient
from common.settings import Settings
from common.temporal.connect import connect
from testing.fixtures import open_all
from tests.support.limits import QUICK_TASKS

ROOT = Path(__file__).parents[2]


class Stack:
    """A Temporal server with its own database, and one worker."""

    def __init__(self, folder: Path, limits: Mapping[str, str] = QUICK_TASKS) -> None:
        open_all(folder)
        self.settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder)})
        self.server = DevServer(self.settings, ui_port=None, limits=limits, scratch=True)
        write_alone(self.settings)
        self.signer = Signer.load(self.settings, create=True)
        self.worker: Process | None = None
        self.log = folder / "logs" / "worker.log"

    async def __aenter__(self) -> Stack:
        await self.server.start()
        os.environ["TEMPORAL_ADDRESS"] = self.server.address
        await self.start_worker()
        return self

    async def __aexit__(self, *_: object) -> None:
        # Killed without a shutdown period, which would only take time.
        if self.worker:
            await end_child(self.worker, 0)
        self.server.kill()
        await self.server.wait()

    async def start_worker(self) -> None:
        """Start the worker, possibly before the server."""
        self.worker = await start_child(
            [sys.executable, str(ROOT / "worker.py")],
            environment={
                **os.environ,
                "TEMPORAL_ADDRESS": self.server.address,
                "HIBERNAUT_DATA_DIR": str(self.settings.data_dir),
            },
            log=self.log,
        )

    async def kill_worker(self) -> None:
        """SIGKILL, and proof that it hit."""
        assert self.worker is not None
        self.worker.kill()
        assert await self.worker.wait() == -signal.SIGKILL

    async def kill_server(self) -> None:
        """SIGKILL, and proof that it hit."""
        self.server.kill()
        assert await self.server.wait() == -signal.SIGKILL

    async def agents(self) -> AgentClient:
        """A client of the agents here."""
        return AgentClient(await connect(self.settings), self.settings, self.signer)
