"""Simulates several machines: each worker and the gateway has its own, initially empty data folder.

They share only Temporal, an object store, and what an operator gives to each: keys, roots, a policy.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
from temporalio.client import Client

from cli.children import end_child, start_child
from cli.dev_server import DevServer, free_port
from common.approval.floors import policy_file, write_alone
from common.client.tokens import Scope, TokenFile
from common.lifecycle import GATEWAY_READY, WORKER_READY
from common.settings import Settings
from common.temporal.connect import connect
from testing.fixtures import open_all
from testing.waiting import eventually
from tests.support.limits import QUICK_TASKS
from tests.support.stack import ROOT

PERSON = "local"


class Machines:
    """The processes; `http` is a gateway client for `PERSON`, `settings` are those of one more machine."""

    def __init__(self, folder: Path, environment: Mapping[str, str], ending: AsyncExitStack) -> None:
        self.folder, self.environment, self._ending = folder, environment, ending
        self.settings = self.settings_of("here")
        self.workers: dict[str, Process] = {}
        self.http: httpx.AsyncClient
        self.client: Client

    def data(self, machine: str) -> Path:
        """The data folder of a machine."""
        return self.folder / machine / "data"

    def settings_of(self, machine: str) -> Settings:
        return Settings.read({**self.environment, "HIBERNAUT_DATA_DIR": str(self.data(machine))})

    async def start_worker(self, machine: str) -> None:
        """Start a worker with a new data folder."""
        log = self.folder / machine / "worker.log"
        self.workers[machine] = await self._start(machine, log, str(ROOT / "worker.py"))
        await eventually(lambda: WORKER_READY in log.read_text(), every=0.1)

    async def working_for(self, id: str, activity: str) -> str | None:
        """A machine whose worker is running this activity of an agent."""
        description = await self.client.get_workflow_handle(id).describe()
        busy = [
            each.last_worker_identity
            for each in description.raw_description.pending_activities
            if each.activity_type.name == activity and each.last_started_time.seconds
        ]
        at_work = {each.partition("@")[0] for each in busy}
        return next((name for name, each in self.workers.items() if str(each.pid) in at_work), None)

    async def kill_worker(self, machine: str) -> None:
        """SIGKILL a worker and check that the signal ended it."""
        process = self.workers.pop(machine)
        process.kill()
        assert await process.wait() == -signal.SIGKILL

    async def start_gateway(self) -> None:
        machine, port = "gateway", free_port()
        tokens = TokenFile.of(self.settings_of(machine))
        token = tokens.add(PERSON, [Scope.OPERATOR])
        log = self.folder / machine / "gateway.log"
        await self._start(machine, log, "-m", "gateway", HIBERNAUT_HTTP=f"127.0.0.1:{port}")
        await eventually(lambda: GATEWAY_READY in log.read_text(), every=0.1)
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}, timeout=30
        )
        self.http = await self._ending.enter_async_context(client)

    def on(self, machine: str) -> dict[str, str]:
        """The environment of a process on that machine."""
        return {**os.environ, **self.environment, "HIBERNAUT_DATA_DIR": str(self.data(machine))}

    async def _start(self, machine: str, log: Path, *program: str, **more: str) -> Process:
        self.data(machine).mkdir(parents=True, exist_ok=True)
        process = await start_child(
            [sys.executable, *program], environment={**self.on(machine), **more}, log=log
        )
        self._ending.push_async_callback(end_child, process, 20)
        return process


@asynccontextmanager
async def machines(folder: Path, environment: Mapping[str, str]) -> AsyncIterator[Machines]:
    """Start Temporal; the machines share nothing but it and what `environment` names."""
    operator = Settings.read({"HIBERNAUT_DATA_DIR": str(folder / "operator")})
    open_all(operator.data_dir)
    write_alone(operator)
    server = DevServer(operator, ui_port=None, limits=QUICK_TASKS, scratch=True)
    async with AsyncExitStack() as ending:
        await server.start()
        ending.push_async_callback(server.stop)
        shared = {
            "TEMPORAL_ADDRESS": server.address,
            "HIBERNAUT_APPROVAL_KEYS": f"a:{secrets.token_hex(32)}",
            "HIBERNAUT_PAYLOAD_KEYS": f"p:{secrets.token_hex(32)}",
            "HIBERNAUT_ROOTS": str(operator.data_dir / "roots.json"),
            "HIBERNAUT_POLICY": str(policy_file(operator)),
            **environment,
        }
        found = Machines(folder, shared, ending)
        os.environ["TEMPORAL_ADDRESS"] = server.address
        found.client = await connect(found.settings)
        yield found
