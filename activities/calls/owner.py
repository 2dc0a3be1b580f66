"""Whom the workflow that calls an activity works for."""

from __future__ import annotations

from collections import OrderedDict

from temporalio import activity
from temporalio.client import Client

from common.temporal.search_attributes import OWNER

# Of so many runs it is remembered, as a run's owner never changes: a batch asks for each of its items.
REMEMBERED = 10_000
_OWNERS = OrderedDict[str, str]()


async def owner_of_caller(client: Client) -> str:
    """The owner as Temporal knows it since the start, whatever an argument says; empty for nobody."""
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
