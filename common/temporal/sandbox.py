"""The sandbox that agents run in: the SDK's, except for five things.

An agent answers no query while one of its local activities runs. The SDK would answer at once, and the answer
would end the workflow task: the local activity's result is then delivered in the next task, together with
whatever arrived meanwhile. A replay has no queries, and delivers the result in the task that scheduled the
activity. An agent for which that order matters could never be replayed. The server keeps unanswered queries
open, and asks again right after the task.

No events reach an agent with a query, before the task that they are for has begun. While that task waits for
a busy worker, the server may send a query first, with the events; the SDK would apply them at the time of the
task before. A replay applies them at the time of their own task: an agent that had set a deadline by the
earlier time could never be replayed again. The query fails, the SDK forgets the agent's state, and the task
brings it back from history. An agent that was terminated meanwhile has no next task and is not replayed for
one: it gets the events, and answers. Only the server knows which of both it is.

Which workflow a payload belongs to is determined outside the sandbox. The SDK enters the sandbox three or
four times for each payload to find that out, which was a quarter of a worker's CPU. The codec and the store
only need the agent's id and run, which are the same for everything except what goes to another workflow.

A start with the wrong number of arguments, or an input of another kind, fails the workflow. The SDK would
fail the workflow task, which the server hands out again for ever.

A worker without a build does not report a workflow's versioning behavior. The SDK would report that of the
class, which the server refuses from such a worker: the task would fail again and again.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import CancelledError
from datetime import timedelta
from functools import cache
from typing import Any, cast

from temporalio.api.enums.v1 import CommandType
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.converter import (
    SerializationContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
    WorkflowSerializationContext,
)
from temporalio.service import RPCError
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker._command_aware_visitor import CommandInfo
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import Info, _Definition

from common.temporal.converter import BEGINNING, refused

# The workflow classes that were found to be able to run.
_PREPARED: set[type] = set()
# The id of a query sent as a task of its own, which the server would not send again.
ALONE = "legacy_query"
# The failure of a query that brought events whose task has not begun.
TOO_EARLY = "it was asked ahead of a task; ask again"
# The SDK gives an activation two seconds.
ENDED_KNOWN_WITHIN = timedelta(seconds=1)
# Whether the run of an agent, given by both ids, has ended; called in a thread, as it blocks.
HasEnded = Callable[[str, str], bool]


def ended_by(client: Client) -> HasEnded:
    """Asks the server, on the event loop that runs now; if it does not answer in time: not ended."""
    loop = asyncio.get_running_loop()

    async def asked(id: str, run_id: str) -> bool:
        handle = client.get_workflow_handle(id, run_id=run_id)
        return (
            await handle.describe(rpc_timeout=ENDED_KNOWN_WITHIN)
        ).status != WorkflowExecutionStatus.RUNNING

    def ask(id: str, run_id: str) -> bool:
        answer = asyncio.run_coroutine_threadsafe(asked(id, run_id), loop)
        try:
            return answer.result(ENDED_KNOWN_WITHIN.total_seconds())
        except (RPCError, TimeoutError, CancelledError):
            answer.cancel()
            return False

    return ask


def _unknown(id: str, run_id: str) -> bool:
    return False


class AgentSandbox(SandboxedWorkflowRunner):
    """Runs each workflow in a sandbox of its own."""

    def __init__(self, restrictions: SandboxRestrictions, has_ended: HasEnded = _unknown) -> None:
        super().__init__(restrictions)
        self.has_ended = has_ended

    def prepare_workflow(self, defn: _Definition) -> None:
        """Check that a workflow can run here, once per process: every worker and replay asks for it."""
        if defn.cls not in _PREPARED:
            super().prepare_workflow(defn)
            _PREPARED.add(defn.cls)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """An instance of a workflow."""
        run, arguments = super().create_instance(det), _arguments_of(det.defn.run_fn)
        instance = _Instance(run, det.info, arguments, self.has_ended)
        return cast(WorkflowInstance, instance)


class _Instance:
    def __init__(self, run: WorkflowInstance, info: Info, arguments: range, has_ended: HasEnded) -> None:
        self._run = run
        self._arguments = arguments
        self._has_ended = has_ended
        self._ids = info.workflow_id, info.run_id
        self._local: set[int] = set()
        # Of the last activation: the length of its history, in events and bytes, and the time.
        self._length, self._size, self._time = 0, 0, 0
        self._context = WorkflowSerializationContext(namespace=info.namespace, workflow_id=info.workflow_id)
        self._target = StorageDriverStoreContext(
            target=StorageDriverWorkflowInfo(
                id=info.workflow_id, run_id=info.run_id, type=info.workflow_type, namespace=info.namespace
            )
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        for job in act.jobs:
            if job.HasField("resolve_activity") and job.resolve_activity.is_local:
                self._local.discard(job.resolve_activity.seq)
            elif job.HasField("initialize_workflow"):
                given = job.initialize_workflow.arguments
                if len(given) not in self._arguments:
                    reason = refused(f"it was started with {len(given)} arguments")
                    del given[:]
                    given.extend([reason] * self._arguments.start)
                continues = job.initialize_workflow.continued_from_execution_run_id
                BEGINNING.set(not act.is_replaying and not continues)
        if self._local and all(
            job.HasField("query_workflow") and job.query_workflow.query_id != ALONE for job in act.jobs
        ):
            unanswered = WorkflowActivationCompletion()
            unanswered.successful.SetInParent()
            return unanswered
        if not self._is_ahead(act):
            self._length, self._size = act.history_length, act.history_size_bytes
            self._time = act.timestamp.ToNanoseconds()
        elif any(not job.HasField("query_workflow") for job in act.jobs) and not self._has_ended(*self._ids):
            early = WorkflowActivationCompletion()
            early.failed.failure.message = TOO_EARLY
            return early
        try:
            completion = self._run.activate(act)
        finally:
            BEGINNING.set(False)
        versioned = act.deployment_version_for_current_task.deployment_name
        if completion.HasField("successful") and not versioned:
            completion.successful.ClearField("versioning_behavior")
        for command in completion.successful.commands:
            if command.HasField("schedule_local_activity"):
                self._local.add(command.schedule_local_activity.seq)
        return completion

    def _is_ahead(self, act: WorkflowActivation) -> bool:
        """Whether history has events for a task that has not begun, which no field of an activation says.

        A task that begins has a later time than the task before, and a history of more bytes. Both are
        compared, because a server's clock may be set back.
        """
        return (
            not act.is_replaying
            and 0 < self._length < act.history_length
            and act.history_size_bytes == self._size
            and act.timestamp.ToNanoseconds() <= self._time
        )

    def get_serialization_context(self, command_info: CommandInfo | None) -> SerializationContext | None:
        if _stays(command_info):
            return self._context
        return self._run.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: CommandInfo | None) -> StorageDriverStoreContext:
        if _stays(command_info):
            return self._target
        return self._run.get_external_store_context(command_info)


def _stays(command: CommandInfo | None) -> bool:
    """Whether a payload belongs to the workflow itself or its activity, not to another workflow."""
    return command is None or command.command_type == CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK


@cache
def _arguments_of(run: Callable[..., Any]) -> range:
    """How many arguments a workflow with this run method may be started with."""
    parameters = [*inspect.signature(run).parameters.values()][1:]
    required = sum(each.default is each.empty for each in parameters)
    return range(required, len(parameters) + 1)
