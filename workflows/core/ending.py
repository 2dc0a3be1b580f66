"""Notifies people when an agent ends. A fresh history or a bug does not count as an end.

It also renders an agent's details for the Web UI when somebody looks: writing them at each step costs more.
"""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.exceptions import FailureError, is_cancelled_exception
from temporalio.worker import (
    ExecuteWorkflowInput,
    HandleQueryInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from common.notices.types import NoticeEvent
from workflows.core.agent import Agent
from workflows.core.display import cause_of


class EndNotifier(Interceptor):
    """Has each agent report its end and show its details in the Web UI; for every worker and replay."""

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[_EndNotifier]:
        """The interceptor around each workflow."""
        return _EndNotifier


class _EndNotifier(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        agent = workflow.instance()
        if not isinstance(agent, Agent):
            return await super().execute_workflow(input)
        try:
            result = await super().execute_workflow(input)
        except (FailureError, TimeoutError, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                await agent.tell_end(NoticeEvent.FINISHED, "ended: cancelled")
            else:
                await agent.tell_end(NoticeEvent.FAILED, f"failed: {cause_of(error)}")
            raise
        await agent.tell_end(NoticeEvent.FINISHED, "ended: done")
        return result

    async def handle_query(self, input: HandleQueryInput) -> Any:
        answer = await super().handle_query(input)
        if isinstance(answer, WorkflowMetadata) and isinstance(agent := workflow.instance(), Agent):
            answer.current_details = agent.details()
        return answer
