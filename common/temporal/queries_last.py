"""Leaves a query that comes amidst a local activity for after it, so that an agent replays as it ran.

The SDK answers such a query at once, and the answer ends the workflow task: what the local activity came to
is then told in the next task, beside whatever came meanwhile, and by its time and its size of history. A
replay knows of no query; it tells the result in the task that asked for it. An agent that does one thing in
the one order and another in the other could never be replayed again. The server knows that queries stay open
while a local activity is under way, and asks again right after the task.
"""

from __future__ import annotations

from typing import Any, cast

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

# A query that is a task of its own goes by this id; nothing else would bring it again.
ALONE = "legacy_query"


class QueriesLast(SandboxedWorkflowRunner):
    """The sandbox whose workflows answer no query while a local activity of theirs is under way."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """One run of a workflow."""
        return cast(WorkflowInstance, _QueriesLast(super().create_instance(det)))


class _QueriesLast:
    def __init__(self, run: WorkflowInstance) -> None:
        self._run = run
        self._local: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        for job in act.jobs:
            if job.HasField("resolve_activity") and job.resolve_activity.is_local:
                self._local.discard(job.resolve_activity.seq)
        if self._local and all(
            job.HasField("query_workflow") and job.query_workflow.query_id != ALONE for job in act.jobs
        ):
            left = WorkflowActivationCompletion()
            left.successful.SetInParent()
            return left
        completion = self._run.activate(act)
        for command in completion.successful.commands:
            if command.HasField("schedule_local_activity"):
                self._local.add(command.schedule_local_activity.seq)
        return completion
