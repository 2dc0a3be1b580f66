"""One side of the bench: its worker process, its agents, and how an entry point starts and wakes them."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from temporalio.client import Client, WorkflowHandle

from bench.peers.tasks import APPROVER, Approval, BareInput, KitInput, Plan
from bench.peers.worker import READY
from cli.children import end_child, last_line, start_child
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.approval.types import Decision, Verdict
from common.client.client import AgentClient
from common.digest import digest
from common.settings import Settings

ROOT = Path(__file__).parents[2]
READY_WITHIN = 30.0
RESULT_WITHIN = 120.0
# So many calls of the client under way at once; the server is busy with half as many.
AT_ONCE = 20
OWNER = "owner-1"


class Side:
    """What both sides do alike; how each starts and wakes an agent is below."""

    name: str

    def __init__(self, client: Client, settings: Settings, server: str) -> None:
        self.client = client
        self.settings = settings.but(task_queue=f"bench-{self.name}")
        self._server = server
        self._log = settings.data_dir / "logs" / f"{self.name}.log"
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """The process id of the worker that was started last."""
        assert self._process
        return self._process.pid

    async def start_worker(self) -> None:
        """Start the worker process and wait until it works."""
        self._log.unlink(missing_ok=True)
        # Compiled files are written: the sandbox reads an agent's at each start.
        dropped = ("TEMPORAL_", "HIBERNAUT_", "PYTHONDONTWRITEBYTECODE")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        self._process = await start_child(
            [sys.executable, "-m", "bench.peers.worker", self.name],
            environment={
                **kept,
                "PYTHONPATH": str(ROOT),
                "TEMPORAL_ADDRESS": self._server,
                "TEMPORAL_CONFIG_FILE": os.devnull,
                "HIBERNAUT_DATA_DIR": str(self.settings.data_dir),
                "HIBERNAUT_TASK_QUEUE": self.settings.task_queue,
            },
            log=self._log,
        )
        async with asyncio.timeout(READY_WITHIN):
            while READY not in self._log.read_text():
                if self._process.returncode is not None:
                    raise RuntimeError(f"the {self.name} worker ended: {last_line(self._log)}")
                await asyncio.sleep(0.05)

    async def kill_worker(self) -> None:
        """End the worker as a crash does."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def end_worker(self) -> None:
        """End the worker in order."""
        if self._process:
            await end_child(self._process, 10)

    async def start_agents(self, count: int, steps: int, local: bool) -> list[str]:
        """Start agents and wait until all of them sleep; their ids."""
        ids = [f"{self.name}-{uuid.uuid4().hex[:8]}" for _ in range(count)]
        await throttled(ids, lambda id: self._start(id, steps, local))
        for id in ids:
            await self._asleep(id)
        return ids

    async def wake(self, id: str) -> float:
        """Wake an agent and wait for its result; milliseconds from before the signal until then."""
        handle: WorkflowHandle[Any, Any] = self.client.get_workflow_handle(id)
        before = perf_counter()
        async with asyncio.timeout(RESULT_WITHIN):
            await self._approve(handle)
            await handle.result()
        return (perf_counter() - before) * 1000

    async def history(self, id: str) -> list[int]:
        """The size of each event of the agent's history, in bytes as they come from the server."""
        fetched = await self.client.get_workflow_handle(id).fetch_history()
        return [event.ByteSize() for event in fetched.events]

    async def _asleep(self, id: str) -> None:
        # About one look an agent, as they fall asleep in the order they were started.
        while True:
            found = (await self.client.get_workflow_handle(id).describe()).raw_description
            if not found.HasField("pending_workflow_task") and not found.pending_activities:
                return
            await asyncio.sleep(0.1)

    async def _start(self, id: str, steps: int, local: bool) -> None:
        raise NotImplementedError

    async def _approve(self, handle: WorkflowHandle[Any, Any]) -> None:
        raise NotImplementedError


class KitSide(Side):
    """Agents on the kit."""

    name = "kit"

    def __init__(self, client: Client, settings: Settings, server: str) -> None:
        super().__init__(client, settings, server)
        write_alone(settings)
        self._signer = Signer.load(settings, create=True)
        self._door = AgentClient(client, self.settings, self._signer)
        self._digest = digest(Plan().model_dump(mode="json"))

    async def _start(self, id: str, steps: int, local: bool) -> None:
        await self._door.start("bench-kit", KitInput(steps=steps, local=local), id=id, owner=OWNER)

    async def _approve(self, handle: WorkflowHandle[Any, Any]) -> None:
        # As an entry point signs and sends it. It has looked up what is open, and on which digest; here
        # all agents ask the same, and the bare side has nothing to look up.
        now = datetime.now(UTC)
        decision = Decision(
            id=uuid.uuid4().hex[:16],
            request_id="approval-1",
            digest=self._digest,
            verdict=Verdict.APPROVE,
            by=APPROVER,
            through="cli",
            at=now,
        )
        signed = self._signer.sign(decision, handle.id, now)
        await handle.signal("decide", signed.model_dump(mode="json", exclude_defaults=True))


class BareSide(Side):
    """Agents on nothing but the SDK."""

    name = "bare"

    async def _start(self, id: str, steps: int, local: bool) -> None:
        await self.client.start_workflow(
            "bench-bare",
            BareInput(steps=steps, local=local),
            id=id,
            task_queue=self.settings.task_queue,
        )

    async def _approve(self, handle: WorkflowHandle[Any, Any]) -> None:
        await handle.signal("approve", Approval(by=APPROVER))


async def throttled(ids: Sequence[str], do: Callable[[str], Awaitable[Any]]) -> list[Any]:
    """Do something for each id, a bounded number at once."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(id: str) -> Any:
        async with room:
            return await do(id)

    return await asyncio.gather(*map(one, ids))
