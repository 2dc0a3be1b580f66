"""Permanently deletes runs from Temporal, then the payload objects that nothing refers to any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from common.archive.payload_sweep import ForeignStoreError, sweep
from common.errors import permanent
from common.object_store import ObjectStore

POLL_SECONDS = 0.2


async def delete_runs(client: Client, id: str, runs: Sequence[str]) -> None:
    """Ask the server to delete these runs of an agent, in this order; skip runs that are already gone."""
    for run in runs:
        await _delete(client, id, run)


async def clear_payloads(client: Client, objects: ObjectStore, id: str, runs: Sequence[str]) -> None:
    """Wait until these runs of an agent are gone, then delete what nothing refers to any more.

    The server deletes asynchronously; a run that closed a moment ago may take a minute.
    """
    for run in runs:
        while await is_there(client, id, run):  # noqa: ASYNC110 -- another process does it
            await asyncio.sleep(POLL_SECONDS)
    try:
        await sweep(client, objects, datetime.now(UTC), workflow_id=id)
    except ForeignStoreError as error:
        raise permanent("ForeignStore", str(error)) from error


async def _delete(client: Client, id: str, run_id: str) -> None:
    run = WorkflowExecution(workflow_id=id, run_id=run_id)
    request = DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=run)
    try:
        await client.workflow_service.delete_workflow_execution(request)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


async def is_there(client: Client, id: str, run_id: str | None = None) -> bool:
    """Whether Temporal knows the run; without a run id, any run of the id."""
    try:
        await client.get_workflow_handle(id, run_id=run_id).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True
