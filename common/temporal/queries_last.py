"""Defers a query that arrives during a local activity until after it, so that an agent replays as it ran.

The SDK answers such a query at once, and the answer ends the workflow task: the local activity's result is
then delivered in the next task, together with whatever arrived meanwhile. A replay knows of no query and
delivers the result in the task that scheduled the activity. An agent for which that order matters could never
be replayed. The server keeps unanswered queries open, and asks again right after the task.
"""

from __future__ import annotations

from typing import Any, cast

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

# The id of a query that is a task of its own, which the server would not ask again.
ALONE = "legacy_query"


class QueriesLast(SandboxedWorkflowRunner):
    """The sandbox, except that workflows answer no query while a local activity of theirs runs."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """An instance of a workflow."""
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
            unanswered = WorkflowActivationCompletion()
            unanswered.successful.SetInParent()
            return unanswered
        completion = self._run.activate(act)
        for command in completion.successful.commands:
            if command.HasField("schedule_local_activity"):
                self._local.add(command.schedule_local_activity.seq)
        return completion
