"""A user's desk for CLI tests: a shell, a stand-in agent, and a worker to switch on and off."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

import worker
from activities.calls.interceptor import ReliableReports
from activities.decisions import DecisionChecks
from activities.delivery.notices import Notices
from cli.dev_server import DevServer
from common.agents.agent import Progress
from common.agents.auditor import AuditInput
from common.approval.floors import write_alone
from common.approval.signing import Authority, Signer
from common.approval.types import ApprovalPolicy
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError
from common.client.rows import row_of
from common.settings import Settings
from common.temporal.connect import connect
from testing.fixtures import open_all
from testing.waiting import eventually
from tests.support.commands import Ran, run_command
from workflows.core.agent import Agent

ROOT = Path(__file__).parents[2]


class Plan(BaseModel):
    files: int
    skip: list[str] = []


class Memory(BaseModel):
    runs: int = 0


class Counter:
    """A long activity that reports its progress."""

    @activity.defn(name="count")
    async def count(self, upto: Progress) -> Progress:
        while not activity.is_cancelled():
            activity.heartbeat(upto)
            await asyncio.sleep(0.1)
        return upto


@workflow.defn(name="code-auditor", sandboxed=False)
class StandIn(Agent[AuditInput, Memory]):
    """Stands in for the code auditor; the folder's name says what it does."""

    @workflow.init
    def __init__(self, input: AuditInput) -> None:
        super().__init__(input, Memory)

    @workflow.run
    async def run(self, input: AuditInput) -> dict[str, Any]:
        errand = Path(input.path).name
        with self.node("look"):
            self.note("looked at \x1b[31m[bold]things", run=self.memory.runs)
        if errand == "fails":
            raise ApplicationError("no folder\nthere", type="PathMissing", non_retryable=True)
        if errand == "chain" and not self.memory.runs:
            self.memory.runs = 1
            await self.carry_over(now=True)
        if errand in ("sleeps", "chain"):
            with self.node("rest"):
                woken = await self.hibernate(workflow.now() + timedelta(days=9))
            return {"woken": woken, "wishes": list(self.instructions)}
        if errand == "counts":
            self.progress(10, 100)
            await workflow.execute_activity_method(
                Counter.count,
                Progress(done=7, total=20),
                start_to_close_timeout=timedelta(minutes=5),
                heartbeat_timeout=timedelta(seconds=5),
            )
        if input.apply:
            policy = ApprovalPolicy(approvers=tuple(input.approvers), editable=("skip",))
            with self.node("approval"):
                outcome = await self.ask("Fix [red]them?", Plan(files=3), policy, evidence=["seen"])
            return {"verdict": outcome.verdict, "skip": outcome.plan.skip}
        return {"looked": errand}


class Desk:
    """A user's shell, a worker that can be switched off, and the server both use."""

    def __init__(self, settings: Settings, address: str) -> None:
        self.settings = settings
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("HIBERNAUT_", "TEMPORAL_"))},
            "TEMPORAL_ADDRESS": address,
            "HIBERNAUT_DATA_DIR": str(settings.data_dir),
            "HIBERNAUT_TASK_QUEUE": settings.task_queue,
            "HIBERNAUT_USER": "me",
        }
        write_alone(settings)
        self.signer = Signer.load(settings, create=True)
        self._worker = AsyncExitStack()
        self.spawned: list[asyncio.subprocess.Process] = []
        # Whether commands wait for agents as long as a busy worker may take; true while one is at work.
        self.patient = False
        self.client: Client

    async def connect(self) -> None:
        os.environ["TEMPORAL_ADDRESS"] = self.environment["TEMPORAL_ADDRESS"]
        self.client = await connect(self.settings)

    async def work(self) -> None:
        authority = Authority.load(self.settings)
        built = worker.build(
            self.client,
            self.settings,
            reports=ReliableReports(self.client),
            workflows=[StandIn],
            objects=[DecisionChecks(authority), Notices(), Counter()],
        )
        await self._worker.enter_async_context(built)
        self.patient = True

    async def rest(self) -> None:
        self.patient = False
        await self._worker.aclose()

    async def run(self, *words: str, say: str = "", **environment: str) -> Ran:
        """Run a command in a process forked from one that has loaded it."""
        environment = {**self.environment, **environment}
        return await run_command(*words, environment=environment, say=say.encode(), patient=self.patient)

    async def spawn(self, *words: str, **environment: str) -> asyncio.subprocess.Process:
        """Run a command as a separate process that can be interacted with."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "starter.py"), *words),
            env={**self.environment, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self.spawned.append(process)
        return process

    async def start(self, errand: str, *words: str, fails: bool = False) -> str:
        ran = await self.run("start", "code-auditor", "--set", f"path=/x/{errand}", *words)
        # A start waits a moment, and reports an agent that fails within it.
        assert ran.code in ((0, 1) if fails else (0,)), ran.err
        return ran.out.strip()

    async def asking(self, *approvers: str) -> str:
        return await self.until(
            await self.start("asks", "apply=true", f"approvers={','.join(approvers)}", "--owner", "boss"),
            "awaiting_approval",
        )

    async def until(self, id: str, state: str) -> str:
        """Wait until an agent is in a state, and lists, which lag a little, show it."""
        agents = AgentClient(self.client, self.settings, self.signer)

        async def there() -> bool:
            # A batch's agent may not have been started yet.
            with contextlib.suppress(NoSuchAgentError):
                return (await agents.view(id)).state == state and await listed(self.client, id, state)
            return False

        await eventually(there, every=0.1)
        return id


async def listed(client: Client, id: str, state: str) -> bool:
    """Whether visibility shows the agent's latest run in this state, and no other run."""
    runs = client.list_workflows(f"WorkflowId = '{id}' AND ExecutionStatus != 'ContinuedAsNew'")
    return [row_of(each).state async for each in runs] == [state]


async def heard(process: asyncio.subprocess.Process, text: str) -> str:
    """A process's output up to and including `text`."""
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(120):
        while text not in said:
            line = await process.stdout.readline()
            assert line, f"it ended without saying {text!r}: {said}"
            said += line.decode()
    return said


@pytest.fixture(scope="module")
async def desk(server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A desk with a running worker, shared by the tests of a file."""
    async with open_desk(server, tmp_path_factory.mktemp("desk")) as desk:
        await desk.work()
        yield desk


@contextlib.asynccontextmanager
async def open_desk(server: DevServer, folder: Path) -> AsyncIterator[Desk]:
    open_all(folder)
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder), "HIBERNAUT_TASK_QUEUE": folder.name})
    desk = Desk(settings, server.address)
    await desk.connect()
    try:
        yield desk
    finally:
        for process in desk.spawned:
            if process.returncode is None:
                process.kill()
        await desk.rest()
