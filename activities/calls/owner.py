"""Whom the workflow that calls an activity works for."""

from __future__ import annotations

from temporalio import activity
from temporalio.client import Client

from common.temporal.search_attributes import OWNER


async def owner_of_caller(client: Client) -> str:
    """The owner as Temporal knows it since the start, whatever an argument says; empty for nobody."""
    info = activity.info()
    if not info.workflow_id:
        return ""
    handle = client.get_workflow_handle(info.workflow_id, run_id=info.workflow_run_id)
    return (await handle.describe()).typed_search_attributes.get(OWNER) or ""
