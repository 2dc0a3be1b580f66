"""The owner of the workflow that calls an activity."""

from __future__ import annotations

from collections import OrderedDict

from temporalio import activity
from temporalio.client import Client

from common.temporal.search_attributes import OWNER

# Runs whose owner is cached; it never changes. A batch asks once per item.
REMEMBERED = 10_000
_OWNERS = OrderedDict[str, str]()


async def owner_of_caller(client: Client) -> str:
    """The owner that Temporal recorded at the start, never one taken from an argument; empty if none."""
    info = activity.info()
    if not info.workflow_id or not info.workflow_run_id:
        return ""
    run = info.workflow_run_id
    if run not in _OWNERS:
        handle = client.get_workflow_handle(info.workflow_id, run_id=run)
        _OWNERS[run] = (await handle.describe()).typed_search_attributes.get(OWNER) or ""
        if len(_OWNERS) > REMEMBERED:
            _OWNERS.popitem(last=False)
    return _OWNERS[run]
