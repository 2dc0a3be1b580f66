"""What a worker runs, and how: every workflow, its sandbox, and what replays a history as a worker does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Self

from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Interceptor, Replayer, WorkflowReplayResult, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxRestrictions

from common.agents.kinds import KINDS
from common.temporal.fork_header import ForkHeader
from common.temporal.guard import PayloadGuard
from common.temporal.kept_code import keep_code
from common.temporal.recording import Recording, RecordingSandbox
from common.temporal.sandbox import AgentSandbox
from workflows.archivist import Archivist, Eraser
from workflows.batch_page import BatchPage
from workflows.core.ending import TellEnd
from workflows.courier import Courier
from workflows.mailroom import Mailroom

# The sandbox runs an agent's own file afresh at every start and replay. What that file imports is passed
# through: the kit has no state of its own, and importing it each time would cost more than the agent.
PASSED_THROUGH = ("common", "activities", "workflows.core", "pydantic", "pydantic_core")
RESTRICTIONS = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)

# In the message of what failed because it took too long to yield. A task has two seconds by the clock, and a
# machine may be busy: only what seems so this many times is so.
DEADLOCK, ATTEMPTS = "TMPRL1101", 4


def workflow_classes() -> list[type]:
    """Every agent, and what serves them: archive, delivery of notices, mail listener, pages of batches."""
    return [
        *(kind.workflow_class() for kind in KINDS.values()),
        Archivist,
        Eraser,
        Courier,
        Mailroom,
        BatchPage,
    ]


def sandbox() -> AgentSandbox:
    """The sandbox that agents run in, on a worker and in every replay; from now on with the code as it is."""
    keep_code("workflows")
    return AgentSandbox(RESTRICTIONS)


def interceptors() -> list[Interceptor]:
    """What stands around every workflow, on a worker and in every replay."""
    return [PayloadGuard(), TellEnd(), ForkHeader()]


def replayer(
    workflows: Sequence[type],
    data_converter: DataConverter,
    *,
    namespace: str = "default",
    runner: WorkflowRunner | None = None,
    watching: Sequence[Interceptor] = (),
    runtime: Runtime | None = None,
) -> Replayer:
    """What replays histories of `workflows` as a worker of this program would.

    A replay stores large payloads: give it a converter that does not write.

    Args:
        workflows: their classes.
        data_converter: reads their payloads.
        namespace: theirs.
        runner: runs them, in place of a worker's sandbox.
        watching: interceptors besides a worker's own.
        runtime: the SDK's, in place of the process's.
    """
    return Replayer(
        workflows=workflows,
        data_converter=data_converter,
        namespace=namespace,
        workflow_runner=runner or sandbox(),
        interceptors=[*interceptors(), *watching],
        runtime=runtime,
    )


def silent() -> Runtime:
    """A runtime that logs nothing: the SDK would tell of every failed replay on stdout."""
    return Runtime(telemetry=TelemetryConfig(logging=None))


def told(failure: Exception) -> str:
    """What the SDK says of a failed replay, without the message it is packed in."""
    found = re.search(r'message: "((?:[^"\\]|\\.)+)"', str(failure))
    return " ".join((found[1] if found else str(failure)).split())


class RecordingReplayer:
    """Replays histories of every workflow, silently, and records what the code does: `async with` it.

    All by one worker of the SDK's, as making one takes three times as long as a replay.
    """

    def __init__(self, data_converter: DataConverter, namespace: str = "default") -> None:
        self._sandbox = RecordingSandbox(RESTRICTIONS)
        self._replayer = replayer(
            workflow_classes(),
            data_converter,
            namespace=namespace,
            runner=self._sandbox,
            runtime=silent(),
        )
        self._given: asyncio.Queue[WorkflowHistory] = asyncio.Queue()
        self._open = AsyncExitStack()
        self._results: AsyncIterator[WorkflowReplayResult] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def replay(self, history: WorkflowHistory) -> tuple[Recording, Exception | None]:
        """What the code does, and why it cannot go on from this history; None where it can."""
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
            # Given up amidst a replay; the next begins with a worker of its own.
            await self._close()
            raise
        return self._sandbox.recording, result.replay_failure

    async def _histories(self) -> AsyncIterator[WorkflowHistory]:
        while True:
            yield await self._given.get()

    async def _close(self) -> None:
        self._results = None
        await self._open.aclose()
