"""Moves agents that are pinned to another build to the current one."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from google.protobuf.field_mask_pb2 import FieldMask
from pydantic import BaseModel
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflow.v1 import WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import UpdateWorkflowExecutionOptionsRequest
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.common import (
    AutoUpgradeVersioningOverride,
    OneTimeVersioningOverride,
    VersioningBehavior,
    VersioningOverride,
    WorkerDeploymentVersion,
)

from common.agents.batch import PAGE
from common.client.builds import Builds
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError
from common.client.pollers import name_of
from common.client.rows import row_of

PATIENCE = timedelta(seconds=10)
LOOK_AGAIN = 0.2


class Moved(BaseModel):
    """The outcome of a move: whether the agent is on the current build now, and in words."""

    id: str
    moved: bool
    words: str


class Moves:
    """Moves agents to the current build, forwards or, after a rollback, backwards.

    An agent that can start its history afresh does so there. Any other moves as it is, so its history has to
    replay on that build; if it does not, the agent is left where it was.

    Every method may raise `RPCError`: Temporal was out of reach for longer than the client's patience.
    """

    def __init__(self, client: Client, agents: AgentClient, builds: Builds) -> None:
        self._client, self._agents, self._builds = client, agents, builds

    async def move(self, id: str) -> Moved:
        """Move an agent, or a page of a batch.

        Raises:
            NoSuchAgentError: there is none with that id, or it has ended.
            TooMuchSaidError: its history takes no more signals.
        """
        described = await self._agents.describe(id)
        row = row_of(described)
        if not row.running:
            raise NoSuchAgentError(f"agent {id} has ended: it is {row.status}.")
        workers = await self._builds.workers()
        target, here = workers.current, build_of(described)
        there = _named(target)
        if not here:
            return Moved(id=id, moved=True, words=f"pinned to no build: it goes on with {there}")
        if here == target:
            return Moved(id=id, moved=True, words=f"on {there} already")
        if not workers.serve(""):
            return Moved(id=id, moved=False, words=f"left on {_named(here)}: no worker of {there} polls")
        if row.kind == PAGE:
            why = "a page of a batch cannot start afresh"
        elif workers.serve(here):
            if (moved := await self._started_afresh(described, target)) is not None:
                return moved
            why = "it has no memory to start afresh from"
        else:
            why = f"no worker of {_named(here)} polls"
        return await self._gone_over(described, target, why)

    async def _started_afresh(self, described: WorkflowExecutionDescription, target: str) -> Moved | None:
        """Ask the agent to start its history afresh; None if it cannot."""
        id, there = described.id, _named(target)
        receipt = await self._agents.upgrade(id)
        end, taken = time.monotonic() + PATIENCE.total_seconds(), False
        while time.monotonic() < end:
            now = await self._agents.describe(id)
            if now.run_id != described.run_id and build_of(now) in ("", target):
                return Moved(id=id, moved=True, words=f"started afresh on {there}")
            if not taken and now.run_id == described.run_id:
                answer = await self._agents.receipt(id, receipt, timedelta(seconds=1))
                if answer is not None and not answer.taken:
                    return None
                taken = answer is not None
            await asyncio.sleep(LOOK_AGAIN)
        words = f"to start afresh on {there}" + (" once nothing is under way" if taken else "; not confirmed")
        return Moved(id=id, moved=taken, words=words)

    async def _gone_over(self, described: WorkflowExecutionDescription, target: str, why: str) -> Moved:
        """Have the other build do an agent's next task, which pins the agent there."""
        id, there = described.id, _named(target)
        override: VersioningOverride = AutoUpgradeVersioningOverride()
        if target:
            name, _, build = target.partition(":")
            override = OneTimeVersioningOverride(WorkerDeploymentVersion(name, build))
        await self._override(described, override)
        # This gives it a next task; a page of a batch ignores signals it does not know.
        await self._agents.upgrade(id)
        end = time.monotonic() + PATIENCE.total_seconds()
        attempts = max(1, described.raw_description.pending_workflow_task.attempt)
        while time.monotonic() < end:
            now = await self._agents.describe(id)
            done = name_of(now.raw_info.versioning_info.deployment_version)
            if done == target or now.run_id != described.run_id:
                if not target:  # this override would stay; the one-time one ends with the task
                    await self._override(now, None)
                return Moved(id=id, moved=True, words=f"went over to {there}: {why}")
            if now.raw_description.pending_workflow_task.attempt > attempts:
                await self._override(described, None)
                here = _named(build_of(described))
                words = f"left on {here}: its history does not replay on {there}"
                return Moved(id=id, moved=False, words=words)
            await asyncio.sleep(LOOK_AGAIN)
        return Moved(id=id, moved=False, words=f"to go over to {there}, not confirmed: {why}")

    async def _override(
        self, described: WorkflowExecutionDescription, override: VersioningOverride | None
    ) -> None:
        request = UpdateWorkflowExecutionOptionsRequest(
            namespace=self._client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=described.id, run_id=described.run_id),
            workflow_execution_options=WorkflowExecutionOptions(
                versioning_override=override._to_proto() if override else None
            ),
            update_mask=FieldMask(paths=["versioning_override"]),
            identity=self._client.identity,
        )
        await self._client.workflow_service.update_workflow_execution_options(request, retry=True)


def build_of(described: WorkflowExecutionDescription) -> str:
    """The build that a workflow is pinned to, as `deployment:build`; empty for none."""
    found = described.raw_info.versioning_info
    override = found.versioning_override.pinned
    if override.HasField("version"):
        return name_of(override.version)
    pinned = int(found.behavior) == VersioningBehavior.PINNED
    return name_of(found.deployment_version) if pinned else ""


def _named(build: str) -> str:
    return f"build {build.partition(':')[2]}" if build else "unversioned workers"
