"""What a worker runs: every workflow class, the sandbox, and a replayer that behaves like a worker."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Self

from temporalio.client import Client, WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Interceptor, Replayer, WorkflowReplayResult, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxRestrictions

from common.agents.kinds import KINDS
from common.temporal.code_snapshot import snapshot_code
from common.temporal.fork_header import ForkHeader
from common.temporal.guard import PayloadGuard
from common.temporal.recording import Recording, RecordingSandbox
from common.temporal.sandbox import AgentSandbox, ended_by
from workflows.archivist import Archivist, Eraser
from workflows.batch_page import BatchPage
from workflows.core.ending import EndNotifier
from workflows.courier import Courier
from workflows.mailroom import Mailroom

# The sandbox executes an agent's own file at every start and replay. Its imports are passed through: the kit
# has no state of its own, and importing it each time would cost more than the agent.
PASSED_THROUGH = ("common", "activities", "workflows.core", "pydantic", "pydantic_core")
RESTRICTIONS = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)

# In the error message of a workflow task that took too long to yield. The limit is two seconds of wall-clock
# time, and the machine may be busy: believe it only after this many attempts.
DEADLOCK, ATTEMPTS = "TMPRL1101", 4


def workflow_classes() -> list[type]:
    """Every agent, and what serves them: archive, notice delivery, mail listener, batch pages."""
    return [
        *(kind.workflow_class() for kind in KINDS.values()),
        Archivist,
        Eraser,
        Courier,
        Mailroom,
        BatchPage,
    ]


def sandbox(client: Client | None = None) -> AgentSandbox:
    """The sandbox for agents, on a worker with its client and in replays; it keeps the code as it is now."""
    snapshot_code("workflows")
    return AgentSandbox(RESTRICTIONS, ended_by(client)) if client else AgentSandbox(RESTRICTIONS)


def interceptors() -> list[Interceptor]:
    """The interceptors around every workflow, on a worker and in every replay."""
    return [PayloadGuard(), EndNotifier(), ForkHeader()]


def replayer(
    workflows: Sequence[type],
    data_converter: DataConverter,
    *,
    namespace: str = "default",
    runner: WorkflowRunner | None = None,
    watching: Sequence[Interceptor] = (),
    runtime: Runtime | None = None,
) -> Replayer:
    """A replayer of histories of `workflows`, set up like a worker of this program.

    A replay stores large payloads: give it a converter that does not write.

    Args:
        workflows: the workflow classes.
        data_converter: reads their payloads.
        namespace: their namespace.
        runner: replaces the worker's sandbox.
        watching: interceptors besides a worker's own.
        runtime: an SDK runtime to use instead of the process's.
    """
    return Replayer(
        workflows=workflows,
        data_converter=data_converter,
        namespace=namespace,
        workflow_runner=runner or sandbox(),
        interceptors=[*interceptors(), *watching],
        runtime=runtime,
    )


def silent_runtime() -> Runtime:
    """A runtime that logs nothing: the SDK would report every failed replay on stdout."""
    return Runtime(telemetry=TelemetryConfig(logging=None))


def failure_message(failure: Exception) -> str:
    """The SDK's message about a failed replay, without its wrapping."""
    found = re.search(r'message: "((?:[^"\\]|\\.)+)"', str(failure))
    return " ".join((found[1] if found else str(failure)).split())


class RecordingReplayer:
    """Replays histories of every workflow, silently, and records what the code does. Use with `async with`.

    One SDK worker does all replays, as creating one takes three times as long as a replay.
    """

    def __init__(self, data_converter: DataConverter, namespace: str = "default") -> None:
        self._sandbox = RecordingSandbox(RESTRICTIONS)
        self._replayer = replayer(
            workflow_classes(),
            data_converter,
            namespace=namespace,
            runner=self._sandbox,
            runtime=silent_runtime(),
        )
        self._given: asyncio.Queue[WorkflowHistory] = asyncio.Queue()
        self._open = AsyncExitStack()
        self._results: AsyncIterator[WorkflowReplayResult] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def replay(self, history: WorkflowHistory) -> tuple[Recording, Exception | None]:
        """What the code does, and why it cannot go on from this history; None if it can."""
        for _ in range(ATTEMPTS):
            recording, failure = await self._replayed(history)
            if DEADLOCK not in str(failure):
                break
        return recording, failure

    async def _replayed(self, history: WorkflowHistory) -> tuple[Recording, Exception | None]:
        if self._results is None:
            replays = self._replayer.workflow_replay_iterator(self._histories())
            self._results = await self._open.enter_async_context(replays)
        self._sandbox.recording = Recording()
        self._given.put_nowait(history)
        try:
            result = await anext(self._results)
        except BaseException:
            # Given up in the middle of a replay: the next one gets a new worker.
            await self._close()
            raise
        return self._sandbox.recording, result.replay_failure

    async def _histories(self) -> AsyncIterator[WorkflowHistory]:
        while True:
            yield await self._given.get()

    async def _close(self) -> None:
        self._results = None
        await self._open.aclose()
