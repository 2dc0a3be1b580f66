"""What a workflow's code does in a replay, step by step: every command in full.

A replay itself compares little with history: the order of commands by type, and the ids and types of
activities and child workflows. How long a timer runs, what a fresh history begins with, which queue a call
goes to: all that may change unnoticed. What is recorded here can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.workflow_activation import QueryWorkflow, WorkflowActivation
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails

from common.temporal.sandbox import AgentSandbox

# The queries that every agent is asked at the end. Answers to others depend on the time or on who asks.
QUERIES = ("status", "notebook", "approvals")


@dataclass(frozen=True)
class Step:
    """An activation: what came, and the commands that followed.

    `task` is the event with which its workflow task started.
    """

    task: int
    came: WorkflowActivation
    commands: list[WorkflowCommand]


@dataclass
class Recording:
    """What the code of one run did.

    Attributes:
        queue: the run's own task queue.
        steps: every activation in order.
        failure: what the code raised, if that failed a workflow task.
        answers: an agent's answers at the end, by query; empty if the workflow is not an agent.
    """

    queue: str = ""
    steps: list[Step] = field(default_factory=list)
    failure: Failure | None = None
    answers: dict[str, Payload] = field(default_factory=dict)


class RecordingSandbox(AgentSandbox):
    """The sandbox of every worker; it records what runs in it, one run after another, and keeps the last."""

    recording = Recording()

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """An instance of a workflow, recorded from now on."""
        self.recording = Recording(det.info.task_queue)
        return cast(WorkflowInstance, _Recorded(super().create_instance(det), self.recording))


class _Recorded:
    def __init__(self, run: WorkflowInstance, recording: Recording) -> None:
        self._run = run
        self._recording = recording

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        if any(job.HasField("remove_from_cache") for job in act.jobs):
            self._ask()
            return self._run.activate(act)
        completion = self._run.activate(act)
        if completion.HasField("failed"):
            self._recording.failure = completion.failed.failure
        # A copy: the payloads are encoded in place afterwards.
        made = WorkflowActivationCompletion()
        made.CopyFrom(completion)
        step = Step(act.history_length, act, list(made.successful.commands))
        self._recording.steps.append(step)
        return completion

    def _ask(self) -> None:
        """Record the answers to every agent's queries, as they are at the end."""
        if not self._recording.steps:
            return
        last = WorkflowActivation()
        last.CopyFrom(self._recording.steps[-1].came)
        del last.jobs[:]
        for name in QUERIES:
            last.jobs.add().query_workflow.MergeFrom(QueryWorkflow(query_id=name, query_type=name))
        for command in self._run.activate(last).successful.commands:
            answer = command.respond_to_query
            if answer.HasField("succeeded"):
                self._recording.answers[answer.query_id] = answer.succeeded.response
