"""Agents that process the items of a batch page, each as a child workflow."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import FailureError, is_cancelled_exception

from activities.batch.pages import BatchPages
from activities.batch.records import CheckedItem, ItemCheck, PageRequest
from common.agents.agent import about
from common.agents.batch import ITEM_OF, BatchItem, item_agent_id
from common.temporal import search_attributes
from workflows.core.calls import READ

STEP = workflow.ActivityConfig(start_to_close_timeout=READ.start_to_close, retry_policy=READ.retry)
# The rules for a start are checked inside the workflow task, or by an ordinary activity if that fails.
CHECK_ONCE = workflow.LocalActivityConfig(
    start_to_close_timeout=timedelta(seconds=5),
    schedule_to_close_timeout=timedelta(seconds=5),
    retry_policy=RetryPolicy(maximum_attempts=1),
)


class ItemAgents:
    """Starts an agent for an item, under the same rules as any other start."""

    def __init__(self, request: PageRequest) -> None:
        self._request = request
        self._checks = asyncio.Lock()

    async def do(self, item: BatchItem) -> Any:
        """Run the agent of this item, and return its result.

        Raises:
            FailureError: it may not be started, or has failed.
        """
        kind = self._request.work.kind
        checked = await self._check(ItemCheck(kind=kind, input=item.argument))
        subject = checked.subject if checked else None
        info = workflow.info()
        owner = info.typed_search_attributes.get(search_attributes.OWNER)
        pairs = [
            SearchAttributePair(search_attributes.BATCH_ID, self._request.batch),
            *([SearchAttributePair(search_attributes.OWNER, owner)] if owner else []),
        ]
        return await workflow.execute_child_workflow(
            kind,
            item.argument,
            id=item_agent_id(self._request.parent, item.key),
            # Only a failed agent may be tried again.
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
            # The items of a fork's batch are marked as forks too.
            memo={**workflow.memo(), ITEM_OF: info.workflow_id, **about(subject)},
            static_summary=subject,
            priority=info.priority,
            search_attributes=TypedSearchAttributes(pairs),
        )

    async def _check(self, check: ItemCheck) -> CheckedItem | None:
        # One at a time: if two local activities end in different tasks, a replay may swap their results.
        async with self._checks:
            try:
                return await workflow.execute_local_activity_method(
                    BatchPages.check_item, check, **CHECK_ONCE
                )
            except FailureError as error:
                if is_cancelled_exception(error):
                    raise
        return await workflow.execute_activity_method(BatchPages.check_item, check, **STEP)
