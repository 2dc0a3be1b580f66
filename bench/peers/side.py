"""One side of a bench: its worker process, its agents, and how an entry point starts and wakes them."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from temporalio.client import Client, WorkflowHandle

from bench.harness import started_worker
from bench.peers.effects import FILE_SETTING, SLOWNESS_SETTING
from bench.peers.rpc import RpcClient
from bench.peers.tasks import APPROVER, Approval, BareInput, KitInput, Plan
from cli.children import end_child
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.approval.types import Decision, Verdict
from common.client.client import AgentClient
from common.digest import digest
from common.settings import Settings

RESULT_WITHIN = 120.0
# Concurrent client calls; half as many keep the server busy.
AT_ONCE = 20
OWNER = "owner-1"


class Side:
    """What all sides have in common; subclasses start and wake agents.

    Attributes:
        name: the side's name, also that of its worker's log.
        patience: time limit of one attempt at a call, if the side has one.
    """

    name: str

    def __init__(self, logs: Path) -> None:
        self._log = logs / f"{self.name}.log"
        self._process: Process | None = None
        self._effects: dict[str, str] = {}
        self.patience = timedelta(minutes=1)

    def count_effects(self, file: Path, slowness: float) -> None:
        """Make workers started from now on record their effects; each takes `slowness` seconds."""
        self._effects = {FILE_SETTING: str(file), SLOWNESS_SETTING: str(slowness)}

    @property
    def pid(self) -> int:
        """The process id of the worker that was started last."""
        assert self._process
        return self._process.pid

    async def start_worker(self) -> None:
        """Start the worker process and wait until it is ready."""
        self._log.unlink(missing_ok=True)
        environment = {**self._environment(), **self._effects}
        self._process = await started_worker(self._command(), environment, self._log)

    async def kill_worker(self) -> None:
        """Kill the worker, like a crash."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def end_worker(self) -> None:
        """Stop the worker gracefully."""
        if self._process:
            await end_child(self._process, 10)

    async def start_agents(self, count: int, steps: int, local: bool = False) -> list[str]:
        """Start agents, wait until all of them sleep, and return their ids."""
        ids = [f"{self.name}-{uuid.uuid4().hex[:8]}" for _ in range(count)]
        await throttled(ids, lambda id: self.start(id, steps, local))
        for id in ids:
            await self.asleep(id)
        return ids

    async def wake(self, id: str) -> float:
        """Wake an agent and wait for its result; return the milliseconds since just before the approval."""
        before = perf_counter()
        try:
            await asyncio.wait_for(self.approve(id), RESULT_WITHIN)
        except TimeoutError:
            raise RuntimeError(f"{id} has not ended {RESULT_WITHIN:g} s after its approval") from None
        return (perf_counter() - before) * 1000

    async def start(self, id: str, steps: int, local: bool = False) -> None:
        """Start an agent."""
        raise NotImplementedError

    async def asleep(self, id: str) -> None:
        """Wait until an agent sleeps."""
        raise NotImplementedError

    async def approve(self, id: str) -> None:
        """Approve, and wait for the agent's result."""
        raise NotImplementedError

    def _command(self) -> Sequence[str]:
        raise NotImplementedError

    def _environment(self) -> Mapping[str, str]:
        return {}


class TemporalSide(Side):
    """Agents on Temporal."""

    def __init__(self, client: Client, settings: Settings, server: str) -> None:
        super().__init__(settings.data_dir / "logs")
        self.client = client
        self.settings = settings.but(task_queue=f"bench-{self.name}")
        self._server = server

    async def approve(self, id: str) -> None:
        """See the base class."""
        handle: WorkflowHandle[Any, Any] = self.client.get_workflow_handle(id)
        await self._signal(handle)
        await handle.result()

    async def history(self, id: str) -> list[int]:
        """The size of each event in the agent's history, in bytes as received from the server."""
        fetched = await self.client.get_workflow_handle(id).fetch_history()
        return [event.ByteSize() for event in fetched.events]

    async def asleep(self, id: str) -> None:
        """See the base class. About one poll per agent, as they fall asleep in the order of their starts."""
        while True:
            found = (await self.client.get_workflow_handle(id).describe()).raw_description
            if not found.HasField("pending_workflow_task") and not found.pending_activities:
                return
            await asyncio.sleep(0.1)

    async def _signal(self, handle: WorkflowHandle[Any, Any]) -> None:
        raise NotImplementedError

    def _command(self) -> Sequence[str]:
        return [sys.executable, "-m", "bench.peers.worker", self.name]

    def _environment(self) -> Mapping[str, str]:
        return {
            "TEMPORAL_ADDRESS": self._server,
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "HIBERNAUT_DATA_DIR": str(self.settings.data_dir),
            "HIBERNAUT_TASK_QUEUE": self.settings.task_queue,
        }


class KitSide(TemporalSide):
    """Agents on the kit."""

    name = "kit"

    def __init__(self, client: Client, settings: Settings, server: str) -> None:
        super().__init__(client, settings, server)
        write_alone(settings)
        self._signer = Signer.load(settings, create=True)
        unlimited = self.settings.but(working_agents=None)
        self._agent_client = AgentClient(client, unlimited, self._signer)
        self._digest = digest(Plan().model_dump(mode="json"))

    async def start(self, id: str, steps: int, local: bool = False) -> None:
        """See the base class."""
        input = KitInput(steps=steps, local=local, patience=self.patience)
        await self._agent_client.start("bench-kit", input, id=id, owner=OWNER)

    async def _signal(self, handle: WorkflowHandle[Any, Any]) -> None:
        # Sign and send like an entry point. That would first look up the open request and its digest; here
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


class BareSide(TemporalSide):
    """Agents on the bare SDK."""

    name = "bare"

    async def start(self, id: str, steps: int, local: bool = False) -> None:
        """See the base class."""
        input = BareInput(steps=steps, local=local, patience=self.patience)
        await self.client.start_workflow("bench-bare", input, id=id, task_queue=self.settings.task_queue)

    async def _signal(self, handle: WorkflowHandle[Any, Any]) -> None:
        await handle.signal("approve", Approval(by=APPROVER))


class PeerSide(Side):
    """Agents on a library that keeps them in PostgreSQL; its worker takes requests over a socket."""

    def __init__(self, name: str, python: Path, folder: Path, database: str) -> None:
        self.name = name
        super().__init__(folder)
        self._python, self._database = python, database
        self._socket = folder / f"{name}.socket"
        self._rpc = RpcClient(self._socket)

    async def start_worker(self) -> None:
        """See the base class."""
        await super().start_worker()
        await self._rpc.connect()

    async def start(self, id: str, steps: int, local: bool = False) -> None:
        """See the base class; the agent sleeps when this returns."""
        await self._rpc.ask("start", id=id, steps=steps)

    async def asleep(self, id: str) -> None:
        """See the base class."""

    async def approve(self, id: str) -> None:
        """See the base class."""
        await self._rpc.ask("wake", id=id, by=APPROVER)

    def _command(self) -> Sequence[str]:
        module = f"bench.peers.{self.name}_worker"
        return [str(self._python), "-m", module, str(self._socket), self._database]


async def throttled(ids: Sequence[str], do: Callable[[str], Awaitable[Any]]) -> list[Any]:
    """Call `do` for each id, with bounded concurrency."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(id: str) -> Any:
        async with room:
            return await do(id)

    return await asyncio.gather(*map(one, ids))
